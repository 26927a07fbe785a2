// preadv2 is Linux's own.
#define _GNU_SOURCE

#include "pantler.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local bool waits_not;
static _Thread_local bool is_unsupported;

void pantler_set_reads_wait(bool wait) {
    waits_not = !wait;
    is_unsupported = false;
}

bool pantler_reads_must_wait(void) { return is_unsupported; }

ssize_t pantler_pread(int file, void *bytes, size_t count, off_t offset) {
    if (!waits_not) return pread(file, bytes, count, offset);
    struct iovec piece = {bytes, count};
    ssize_t read = preadv2(file, &piece, 1, offset, RWF_NOWAIT);
    if (read < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)) is_unsupported = true;
    return read;
}
