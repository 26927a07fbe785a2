#ifndef PANTLER_H
#define PANTLER_H

#include <stddef.h>

// Glibc's Swift module has none of these.
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// What only C can say.

/// The bytes of `openapi/openapi.yaml`, in the executable so that it is all there is to install.
const unsigned char *pantler_openapi(void);
size_t pantler_openapi_size(void);

/// Has malloc give back what is freed, so that the process is not much larger than what it holds. To be called before the
/// first thread is made.
void pantler_keep_heap_small(void);

/// accept4(2): the next connection of a listening socket, closed on exec, and not blocking.
int pantler_accept(int listener);

/// Asks for the cache line of an address, which may be any: nothing is read.
static inline void pantler_prefetch(const void *address) { __builtin_prefetch(address); }

#endif
