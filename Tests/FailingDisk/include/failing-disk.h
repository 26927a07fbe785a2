// A disk that fails when it is told to, and forgets what was not synced: a library to preload into the service, for tests alone.
//
// What it stands between. Every call that writes, cuts, syncs, removes or renames files below one folder. What is mapped (SQLite's
// `-shm`) is memory, which no power cut leaves, and is let through. Reads always succeed.
//
// The durable image. A second folder, begun as a copy of the first, holds what the disk would have after a power cut: of a file's bytes
// only those that a successful sync of it covered; of names only those of files that were synced, or that their folder's sync covered.
// A failed sync marks its pages clean, as Linux does: what it should have covered is in the page cache, where reads find it, and no later
// sync writes it. With `writeback` some pages come to the disk by themselves before any sync, in any order, as they do in practice.
//
// A kill is the folder as it is; a power cut is the durable image without the `-shm`.
//
// Environment:
//   FAILING_DISK_FOLDER   the folder, as the service opens it, without a slash at its end
//   FAILING_DISK_IMAGE    the durable image's folder
//   FAILING_DISK_CONTROL  a file that holds `struct failing_disk_control`; whoever makes it fills in what is to fail
#ifndef FAILING_DISK_H
#define FAILING_DISK_H

#include <stdatomic.h>
#include <stdint.h>

// Mapped by the service and read and written by the test while it runs: words of 64 bits in the machine's order.
struct failing_disk_control {
    // Nothing fails, and nothing is counted, while it is 0.
    _Atomic uint64_t is_armed;
    // Calls so far, failed ones included: writes (pwrite, write, ftruncate, fallocate and their like), and syncs (of files and of folders).
    _Atomic uint64_t writes;
    _Atomic uint64_t syncs;
    // Of these the ones that failed.
    _Atomic uint64_t failed_writes;
    _Atomic uint64_t failed_syncs;
    // The writes and syncs that fail, by their numbers from 1 on: from the first, up to the last; none where the first is 0.
    _Atomic uint64_t first_failing_write;
    _Atomic uint64_t last_failing_write;
    _Atomic uint64_t first_failing_sync;
    _Atomic uint64_t last_failing_sync;
    // How many of 100,000 fail besides, drawn at random.
    _Atomic uint64_t write_failure_rate;
    _Atomic uint64_t sync_failure_rate;
    // What a failing write says: EIO or ENOSPC. A sync says EIO.
    _Atomic uint64_t write_error;
    // How many of 100,000 written pages are durable at once.
    _Atomic uint64_t writeback_rate;
    // The state of the random numbers; any seed.
    _Atomic uint64_t random;
};

#endif
