// A disk that is slow to sync: loaded before the C library (LD_PRELOAD), it lets fsync and fdatasync return no sooner than
// SLOW_SYNC_MS milliseconds after they were called. The real call is made as well. See through.py.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static int sync_slowly(const char *name, int descriptor) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(descriptor);
    const char *milliseconds = getenv("SLOW_SYNC_MS");
    long long nanoseconds = end.tv_nsec + (long long)(atof(milliseconds ? milliseconds : "0") * 1e6);
    end.tv_sec += nanoseconds / 1000000000;
    end.tv_nsec = nanoseconds % 1000000000;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL)) {}
    return result;
}

int fsync(int descriptor) { return sync_slowly("fsync", descriptor); }
int fdatasync(int descriptor) { return sync_slowly("fdatasync", descriptor); }
