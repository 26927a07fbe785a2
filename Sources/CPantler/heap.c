#include "pantler.h"

#include <malloc.h>

// Bodies and values of some kilobytes to megabytes come and go on several threads. With glibc's defaults each thread keeps a heap
// of its own, and the size from which on a block has pages of its own grows with the largest that was ever freed, so that what
// is freed stays with the process: up to 60 % more than is held. Four heaps are enough for small blocks, which mostly come
// from each thread's own cache (with two, event loops and the disk's writer wait for each other: 6 % fewer durable writes a
// second), and blocks of 64 KiB always have pages of their own.
void pantler_keep_heap_small(void) {
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
    mallopt(M_TRIM_THRESHOLD, 128 << 10);
}
