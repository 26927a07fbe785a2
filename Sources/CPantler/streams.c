// pipe2 is Linux's own.
#define _GNU_SOURCE

#include "pantler.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void pantler_open_standard_streams(void) {
    for (int stream = 0; stream <= 2; stream++) {
        if (fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
        // The lowest number that is free is this one. The other way round than it will be used, so that a command that was
        // given no output still fails to write it.
        if (open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY) != stream) return;
    }
}

int pantler_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
