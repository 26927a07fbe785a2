// accept4 is Linux's own.
#define _GNU_SOURCE

#include "pantler.h"

#include <stddef.h>
#include <sys/socket.h>

int pantler_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }
