#ifndef PANTLER_H
#define PANTLER_H

#include <stddef.h>

// What only C can say.

/// The bytes of `openapi/openapi.yaml`, in the executable so that it is all there is to install.
const unsigned char *pantler_openapi(void);
size_t pantler_openapi_size(void);

/// Has malloc give back what is freed, so that the process is not much larger than what it holds. To be called before the
/// first thread is made.
void pantler_keep_heap_small(void);

#endif
