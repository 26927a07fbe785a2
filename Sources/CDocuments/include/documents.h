#ifndef PANTLER_DOCUMENTS_H
#define PANTLER_DOCUMENTS_H

#include <stddef.h>

/// The bytes of `openapi/openapi.yaml`, in the executable so that it is all there is to install.
const unsigned char *pantler_openapi(void);
size_t pantler_openapi_size(void);

#endif
