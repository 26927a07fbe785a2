#ifndef PANTLER_DOCUMENTS_H
#define PANTLER_DOCUMENTS_H

#include <stddef.h>

/// The bytes of `openapi/openapi.yaml`, in the executable so that it is all there is to install.
extern const unsigned char pantler_openapi[];
extern const size_t pantler_openapi_size;

#endif
