// See failing-disk.h.
//
// Each interposed call does the real one, found behind this library by dlsym, and keeps account of files of the folder. One mutex guards
// the account; a file's writes are noted after they were made, so that a sync that runs beside them covers either.
#define _GNU_SOURCE
#include "failing-disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// MARK: State

struct range {
    off_t offset;
    size_t count;
};

// A regular file of the folder.
struct file {
    dev_t device;
    ino_t inode;
    // Relative to the folder; empty once it is removed.
    char name[NAME_MAX + 1];
    // The durable image's file; -1 until something of it is durable or it was there from the beginning.
    int image;
    // Whether an older file of that name may still be in the image, which is another file.
    int is_fresh;
    // What no sync has covered yet.
    struct range *dirty;
    size_t dirty_count, dirty_capacity;
    // The smallest size since the last sync; OFF_MAX if it was not cut.
    off_t least_size;
    struct file *next;
};

// Names that are changed, and durable once their folder is synced.
struct name_change {
    char from[NAME_MAX + 1];
    // Empty = removed.
    char to[NAME_MAX + 1];
    struct name_change *next;
};

#define DESCRIPTORS 65536
#define OFF_MAX ((off_t)INT64_MAX)
#define PAGE 4096

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct failing_disk_control *control;
static char folder[PATH_MAX], image_folder[PATH_MAX];
static size_t folder_length;
static struct file *files;
static struct name_change *name_changes, **last_name_change = &name_changes;
// By descriptor: the file, or `the_folder` for the folder itself.
static struct file *opened[DESCRIPTORS];
static struct file the_folder;
// Descriptors whose every write is to be durable (O_SYNC, O_DSYNC).
static unsigned char writes_through[DESCRIPTORS];

static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_renameat)(int, const char *, int, const char *);
static int (*real_dup)(int);
static int (*real_fcntl)(int, int, ...);

static void *find(const char *name) {
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol) {
        fprintf(stderr, "failing-disk: no %s\n", name);
        abort();
    }
    return symbol;
}

__attribute__((constructor)) static void begin(void) {
    real_openat = find("openat64");
    real_close = find("close");
    real_pread = find("pread64");
    real_pwrite = find("pwrite64");
    real_pwritev = find("pwritev64");
    real_write = find("write");
    real_writev = find("writev");
    real_ftruncate = find("ftruncate64");
    real_fallocate = find("fallocate64");
    real_fsync = find("fsync");
    real_fdatasync = find("fdatasync");
    real_unlinkat = find("unlinkat");
    real_renameat = find("renameat");
    real_dup = find("dup");
    real_fcntl = find("fcntl64");
    const char *where = getenv("FAILING_DISK_FOLDER");
    const char *image = getenv("FAILING_DISK_IMAGE");
    const char *control_path = getenv("FAILING_DISK_CONTROL");
    if (!where || !image || !control_path) return;
    snprintf(folder, sizeof folder, "%s", where);
    folder_length = strlen(folder);
    snprintf(image_folder, sizeof image_folder, "%s", image);
    int descriptor = real_openat(AT_FDCWD, control_path, O_RDWR | O_CLOEXEC);
    void *mapped = MAP_FAILED;
    if (descriptor >= 0) mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "failing-disk: %s: %s\n", control_path, strerror(errno));
        abort();
    }
    real_close(descriptor);
    control = mapped;
}

// MARK: What fails

// SplitMix64.
static uint64_t draw(void) {
    uint64_t mixed = atomic_fetch_add(&control->random, 0x9e3779b97f4a7c15u) + 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static int happens(uint64_t rate) { return rate && draw() % 100000 < rate; }

static int fails(
    _Atomic uint64_t *count, _Atomic uint64_t *failed, uint64_t first, uint64_t last, uint64_t rate
) {
    if (!control->is_armed) return 0;
    uint64_t number = atomic_fetch_add(count, 1) + 1;
    if (!(first && number >= first && number <= last) && !happens(rate)) return 0;
    atomic_fetch_add(failed, 1);
    return 1;
}

static int write_fails(void) {
    return fails(
        &control->writes, &control->failed_writes, control->first_failing_write, control->last_failing_write,
        control->write_failure_rate
    );
}

static int sync_fails(void) {
    return fails(
        &control->syncs, &control->failed_syncs, control->first_failing_sync, control->last_failing_sync,
        control->sync_failure_rate
    );
}

// MARK: Files

// The name of a path within the folder; NULL where it is elsewhere, or deeper, or is memory that only looks like a file.
static const char *name_of(const char *path) {
    if (!control || strncmp(path, folder, folder_length) || path[folder_length] != '/') return NULL;
    const char *name = path + folder_length + 1;
    size_t length = strlen(name);
    if (!length || length > NAME_MAX || strchr(name, '/')) return NULL;
    if (length > 4 && !strcmp(name + length - 4, "-shm")) return NULL;
    return name;
}

static int image_openat(const char *name, int flags) {
    char path[PATH_MAX + NAME_MAX + 2];
    snprintf(path, sizeof path, "%s/%s", image_folder, name);
    return real_openat(AT_FDCWD, path, flags | O_RDWR | O_CLOEXEC, 0644);
}

static void image_unlink(const char *name) {
    char path[PATH_MAX + NAME_MAX + 2];
    snprintf(path, sizeof path, "%s/%s", image_folder, name);
    real_unlinkat(AT_FDCWD, path, 0);
}

// Whether a file that was removed, or renamed, still has the name in the image.
static int is_taken(const char *name) {
    for (struct name_change *change = name_changes; change; change = change->next)
        if (!strcmp(change->from, name)) return 1;
    return 0;
}

static struct file *named(const char *name) {
    for (struct file *file = files; file; file = file->next)
        if (!strcmp(file->name, name)) return file;
    return NULL;
}

// Takes a descriptor that was just opened into the account. The mutex is held.
static void note_opened(int descriptor, const char *path, int flags) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS) return;
    opened[descriptor] = NULL;
    writes_through[descriptor] = (flags & (O_SYNC | O_DSYNC)) != 0;
    if (control && !strncmp(path, folder, folder_length) && (!path[folder_length] || !strcmp(path + folder_length, "/"))) {
        opened[descriptor] = &the_folder;
        return;
    }
    const char *name = name_of(path);
    struct stat status;
    if (!name || fstat(descriptor, &status) || !S_ISREG(status.st_mode)) return;
    struct file *file = named(name);
    if (!file || file->inode != status.st_ino || file->device != status.st_dev) {
        // Another file has the name now, by a way that this library does not see.
        if (file) file->name[0] = 0;
        file = calloc(1, sizeof *file);
        file->device = status.st_dev;
        file->inode = status.st_ino;
        snprintf(file->name, sizeof file->name, "%s", name);
        file->is_fresh = is_taken(name);
        file->image = file->is_fresh ? -1 : image_openat(name, 0);
        file->least_size = OFF_MAX;
        file->next = files;
        files = file;
    }
    // What a cut at the opening did away with.
    if (flags & O_TRUNC) file->least_size = 0;
    opened[descriptor] = file;
}

static struct file *file_of(int descriptor) {
    return control && descriptor >= 0 && descriptor < DESCRIPTORS ? opened[descriptor] : NULL;
}

// The regular file of a descriptor, if it is one of the folder's.
static struct file *written(int descriptor) {
    struct file *file = file_of(descriptor);
    return file == &the_folder ? NULL : file;
}

// Makes the file's image, and with it its name durable.
static void attach_image(struct file *file) {
    if (file->image >= 0 || !file->name[0]) return;
    if (file->is_fresh) image_unlink(file->name);
    file->image = image_openat(file->name, O_CREAT);
    file->is_fresh = 0;
}

// Copies what is in the file now to its image.
static void copy_range(struct file *file, int descriptor, struct range range) {
    char page[PAGE];
    while (range.count) {
        size_t count = range.count < PAGE ? range.count : PAGE;
        ssize_t read = real_pread(descriptor, page, count, range.offset);
        if (read <= 0) return;
        if (real_pwrite(file->image, page, (size_t)read, range.offset) != read) abort();
        range.offset += read;
        range.count -= (size_t)read;
    }
}

static int descriptor_for_reading(int descriptor) {
    // The one at hand may be for writing alone.
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return real_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static void note_written(struct file *file, int descriptor, off_t offset, size_t count) {
    pthread_mutex_lock(&mutex);
    struct range *last = file->dirty_count ? &file->dirty[file->dirty_count - 1] : NULL;
    if (last && last->offset + (off_t)last->count == offset) {
        last->count += count;
    } else {
        if (file->dirty_count == file->dirty_capacity) {
            file->dirty_capacity = file->dirty_capacity ? file->dirty_capacity * 2 : 64;
            file->dirty = realloc(file->dirty, file->dirty_capacity * sizeof *file->dirty);
        }
        file->dirty[file->dirty_count++] = (struct range){offset, count};
    }
    if (control->is_armed && control->writeback_rate) {
        // Whole pages, as the kernel writes them.
        int readable = descriptor_for_reading(descriptor);
        for (off_t page = offset / PAGE * PAGE; page < offset + (off_t)count; page += PAGE) {
            if (!happens(control->writeback_rate)) continue;
            attach_image(file);
            if (file->image >= 0) copy_range(file, readable, (struct range){page, PAGE});
        }
        if (readable >= 0) real_close(readable);
    }
    pthread_mutex_unlock(&mutex);
}

static void note_size(struct file *file, off_t size) {
    pthread_mutex_lock(&mutex);
    if (size < file->least_size) file->least_size = size;
    pthread_mutex_unlock(&mutex);
}

static void sync_names(void) {
    while (name_changes) {
        struct name_change *change = name_changes;
        name_changes = change->next;
        if (change->to[0]) {
            char from[PATH_MAX + NAME_MAX + 2], to[PATH_MAX + NAME_MAX + 2];
            snprintf(from, sizeof from, "%s/%s", image_folder, change->from);
            snprintf(to, sizeof to, "%s/%s", image_folder, change->to);
            real_renameat(AT_FDCWD, from, AT_FDCWD, to);
        } else {
            struct file *file = named(change->from);
            // A newer file of that name took its place in the image already.
            if (!file || file->is_fresh) image_unlink(change->from);
        }
        free(change);
    }
    last_name_change = &name_changes;
    for (struct file *file = files; file; file = file->next) {
        file->is_fresh = 0;
        attach_image(file);
    }
}

static int sync_file(struct file *file, int descriptor) {
    if (sync_fails()) {
        pthread_mutex_lock(&mutex);
        // Clean, and not on the disk. Sizes are the file system's own, and come there with the next sync.
        file->dirty_count = 0;
        pthread_mutex_unlock(&mutex);
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    if (file == &the_folder) {
        sync_names();
    } else {
        attach_image(file);
        struct stat status;
        int readable = descriptor_for_reading(descriptor);
        if (file->image >= 0 && readable >= 0 && !fstat(readable, &status)) {
            struct stat durable;
            if (!fstat(file->image, &durable) && durable.st_size > file->least_size)
                real_ftruncate(file->image, file->least_size);
            for (size_t index = 0; index < file->dirty_count; index++) copy_range(file, readable, file->dirty[index]);
            real_ftruncate(file->image, status.st_size);
        }
        if (readable >= 0) real_close(readable);
        file->dirty_count = 0;
        file->least_size = OFF_MAX;
    }
    pthread_mutex_unlock(&mutex);
    return 0;
}

static ssize_t finish_write(struct file *file, int descriptor, ssize_t result, off_t offset) {
    if (result <= 0) return result;
    note_written(file, descriptor, offset, (size_t)result);
    if (writes_through[descriptor] && sync_file(file, descriptor)) return -1;
    return result;
}

// A write fails: every other time a part of it has come to the file all the same.
static ssize_t fail_write(struct file *file, int descriptor, const void *bytes, size_t count, off_t offset) {
    if (atomic_load(&control->failed_writes) % 2 == 0 && count > 1) {
        ssize_t part = real_pwrite(descriptor, bytes, count / 2, offset);
        if (part > 0) note_written(file, descriptor, offset, (size_t)part);
    }
    errno = (int)control->write_error;
    return -1;
}

// MARK: Opening and closing

static int open_file(int at, const char *path, int flags, mode_t mode) {
    int descriptor = real_openat(at, path, flags, mode);
    if (!control || descriptor < 0) return descriptor;
    int error = errno;
    pthread_mutex_lock(&mutex);
    // Relative paths are not the folder's: its path is absolute.
    note_opened(descriptor, path, flags);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return descriptor;
}

#define MODE(flags)                                                                                                            \
    mode_t mode = 0;                                                                                                           \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                                     \
        va_list arguments;                                                                                                     \
        va_start(arguments, flags);                                                                                            \
        mode = va_arg(arguments, mode_t);                                                                                      \
        va_end(arguments);                                                                                                     \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_file(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return open_file(at, path, flags, mode);
}

int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }

int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }

int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int descriptor) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS) opened[descriptor] = NULL;
    return real_close(descriptor);
}

static int note_copy(int descriptor, int copy) {
    if (copy >= 0 && copy < DESCRIPTORS && descriptor >= 0 && descriptor < DESCRIPTORS) {
        opened[copy] = opened[descriptor];
        writes_through[copy] = writes_through[descriptor];
    }
    return copy;
}

int dup(int descriptor) { return note_copy(descriptor, real_dup(descriptor)); }

static int control_file(int descriptor, int command, void *argument) {
    int result = real_fcntl(descriptor, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) note_copy(descriptor, result);
    return result;
}

int fcntl(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return control_file(descriptor, command, argument);
}

int fcntl64(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return control_file(descriptor, command, argument);
}

// MARK: Writing

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off_t offset) {
    struct file *file = written(descriptor);
    if (!file) return real_pwrite(descriptor, bytes, count, offset);
    if (write_fails()) return fail_write(file, descriptor, bytes, count, offset);
    return finish_write(file, descriptor, real_pwrite(descriptor, bytes, count, offset), offset);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return pwrite64(descriptor, bytes, count, offset);
}

ssize_t pwritev64(int descriptor, const struct iovec *vectors, int count, off_t offset) {
    struct file *file = written(descriptor);
    if (!file) return real_pwritev(descriptor, vectors, count, offset);
    if (write_fails()) return fail_write(file, descriptor, vectors[0].iov_base, vectors[0].iov_len, offset);
    return finish_write(file, descriptor, real_pwritev(descriptor, vectors, count, offset), offset);
}

ssize_t pwritev(int descriptor, const struct iovec *vectors, int count, off_t offset) {
    return pwritev64(descriptor, vectors, count, offset);
}

// Where a write without an offset goes.
static off_t place(int descriptor) {
    struct stat status;
    if (real_fcntl(descriptor, F_GETFL) & O_APPEND) return fstat(descriptor, &status) ? 0 : status.st_size;
    return lseek(descriptor, 0, SEEK_CUR);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    struct file *file = written(descriptor);
    if (!file) return real_write(descriptor, bytes, count);
    off_t offset = place(descriptor);
    if (write_fails()) return fail_write(file, descriptor, bytes, count, offset);
    return finish_write(file, descriptor, real_write(descriptor, bytes, count), offset);
}

ssize_t writev(int descriptor, const struct iovec *vectors, int count) {
    struct file *file = written(descriptor);
    if (!file) return real_writev(descriptor, vectors, count);
    off_t offset = place(descriptor);
    if (write_fails()) return fail_write(file, descriptor, vectors[0].iov_base, vectors[0].iov_len, offset);
    return finish_write(file, descriptor, real_writev(descriptor, vectors, count), offset);
}

int ftruncate64(int descriptor, off_t size) {
    struct file *file = written(descriptor);
    if (!file) return real_ftruncate(descriptor, size);
    if (write_fails()) {
        errno = (int)control->write_error;
        return -1;
    }
    int result = real_ftruncate(descriptor, size);
    if (!result) note_size(file, size);
    return result;
}

int ftruncate(int descriptor, off_t size) { return ftruncate64(descriptor, size); }

int fallocate64(int descriptor, int mode, off_t offset, off_t count) {
    struct file *file = written(descriptor);
    if (!file) return real_fallocate(descriptor, mode, offset, count);
    if (write_fails()) {
        errno = (int)control->write_error;
        return -1;
    }
    int result = real_fallocate(descriptor, mode, offset, count);
    // Of its bytes only holes that were made matter; the size comes with the next sync.
    if (!result && mode & FALLOC_FL_PUNCH_HOLE) note_written(file, descriptor, offset, (size_t)count);
    return result;
}

int fallocate(int descriptor, int mode, off_t offset, off_t count) {
    return fallocate64(descriptor, mode, offset, count);
}

int posix_fallocate64(int descriptor, off_t offset, off_t count) {
    return fallocate64(descriptor, 0, offset, count) ? errno : 0;
}

int posix_fallocate(int descriptor, off_t offset, off_t count) {
    return posix_fallocate64(descriptor, offset, count);
}

// MARK: Syncing

int fsync(int descriptor) {
    struct file *file = file_of(descriptor);
    return file ? sync_file(file, descriptor) : real_fsync(descriptor);
}

int fdatasync(int descriptor) {
    struct file *file = file_of(descriptor);
    return file ? sync_file(file, descriptor) : real_fdatasync(descriptor);
}

// MARK: Names

static void note_name_change(const char *from, const char *to) {
    pthread_mutex_lock(&mutex);
    struct name_change *change = calloc(1, sizeof *change);
    snprintf(change->from, sizeof change->from, "%s", from);
    snprintf(change->to, sizeof change->to, "%s", to);
    *last_name_change = change;
    last_name_change = &change->next;
    struct file *replaced = to[0] ? named(to) : NULL;
    if (replaced) replaced->name[0] = 0;
    struct file *file = named(from);
    if (file) snprintf(file->name, sizeof file->name, "%s", to);
    pthread_mutex_unlock(&mutex);
}

int unlinkat(int at, const char *path, int flags) {
    int result = real_unlinkat(at, path, flags);
    const char *name = name_of(path);
    if (!result && name) note_name_change(name, "");
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int remove(const char *path) {
    struct stat status;
    return unlinkat(AT_FDCWD, path, !lstat(path, &status) && S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    int result = real_renameat(from_at, from, to_at, to);
    const char *from_name = name_of(from), *to_name = name_of(to);
    if (!result && from_name && to_name) note_name_change(from_name, to_name);
    return result;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }
