#ifndef PANTLER_H
#define PANTLER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// Glibc's Swift module has none of these.
#include <malloc.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// What only C can say.

/// The bytes of `openapi/openapi.yaml`, in the executable so that it is all there is to install.
const unsigned char *pantler_openapi(void);
size_t pantler_openapi_size(void);

/// The commit that was built, as PANTLER_COMMIT had it in the environment of the build; empty without that.
const char *pantler_commit(void);

/// Opens /dev/null in the place of each standard stream that the process was started without, so that no file or socket gets
/// its number. To be called first of all.
void pantler_open_standard_streams(void);

/// pipe2(2): the end to read from and the end to write to, both closed on exec. -1 and `errno` where there is none to be had.
int pantler_pipe(int ends[2]);

/// Has malloc give back what is freed, so that the process is not much larger than what it holds. To be called before the
/// first thread is made.
void pantler_keep_heap_small(void);

/// From now on SIGHUP, SIGINT and SIGTERM do not end the process, but are told by a pipe: two bytes a signal, its number and whether the
/// kernel has sent it by itself, as for a terminal's Ctrl-C. Those that are ignored stay so. To be called once.
///
/// The pipe's end to read from; -1 and `errno` where there is none to be had.
int pantler_catch_endings(void);

/// From now on those signals end the process again.
void pantler_release_endings(void);

/// sched_getaffinity(2) of a thread, 0 = the calling one. False with more cores than a `cpu_set_t` has room for.
bool pantler_get_affinity(pid_t thread, cpu_set_t *cores);

/// sched_setaffinity(2) of the calling thread.
bool pantler_set_affinity(const cpu_set_t *cores);

/// Names the calling thread, as `top -H` shows it: the first 15 bytes of `name`.
void pantler_name_thread(const char *name);

/// Who is at a connection's other end.
typedef struct {
    enum { pantler_peer_local, pantler_peer_ipv4, pantler_peer_ipv6 } family;
    unsigned short port;
    /// In the order of the network; IPv4's are the first four.
    unsigned char address[16];
} pantler_peer;

/// accept4(2): the next connection of a listening socket, closed on exec, and not blocking.
int pantler_accept(int listener, pantler_peer *peer);

/// pread(2), but on a thread that has asked for it only of what is in the system's page cache: else it fails with EAGAIN.
ssize_t pantler_pread(int file, void *bytes, size_t count, off_t offset);

/// Whether the calling thread's reads wait for the disk, as they do until they are told otherwise.
void pantler_set_reads_wait(bool wait);

/// Whether the file system cannot read without waiting (RWF_NOWAIT), as a read of this thread has shown since it asked for that.
bool pantler_reads_must_wait(void);

/// Asks for the cache line of an address, which may be any: nothing is read.
static inline void pantler_prefetch(const void *address) { __builtin_prefetch(address); }

#endif
