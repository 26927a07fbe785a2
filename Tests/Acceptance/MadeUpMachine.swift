import Support
import Testing

/// A machine whose wall clock and whose boots a test makes up, for one service: a library that is loaded before the system's own.
struct MadeUpMachine {
    private let folder: TemporaryDirectory
    private let library: String

    init() throws {
        folder = try TemporaryDirectory()
        library = folder.file("machine.so")
        let source = try folder.write(Self.source, to: "machine.c")
        let result = try Command.run(program: ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"])
        try #require(result.status == 0, "\(result)")
        try setWall(aheadBy: 0)
        try boot("one")
    }

    func remove() { folder.remove() }

    var environment: [String: String] {
        ["LD_PRELOAD": library, "TEST_WALL": folder.file("wall"), "TEST_BOOT_ID": folder.file("boot")]
    }

    /// Sets the wall clock to so many seconds ahead of the true one.
    func setWall(aheadBy seconds: Int) throws {
        // By a rename, so that nobody reads half of it.
        let new = try folder.write("\(seconds)", to: "wall.new")
        try #require(Command.run(program: ["mv", new, folder.file("wall")]).status == 0)
    }

    /// Has the next start believe that the machine was started anew since the last.
    func boot(_ name: String) throws {
        _ = try folder.write("\(name)\n", to: "boot")
    }

    private static let source = #"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdarg.h>
        #include <stdlib.h>
        #include <string.h>
        #include <time.h>
        #include <unistd.h>

        typedef int (*open_t)(const char *, int, ...);

        static int real_open(const char *path, int flags, mode_t mode) {
            static open_t next;
            if (!next) next = (open_t)dlsym(RTLD_NEXT, "open");
            return next(path, flags, mode);
        }

        int open(const char *path, int flags, ...) {
            va_list rest;
            va_start(rest, flags);
            mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
            va_end(rest);
            const char *boot = getenv("TEST_BOOT_ID");
            if (boot && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) path = boot;
            return real_open(path, flags, mode);
        }

        static long ahead(void) {
            const char *path = getenv("TEST_WALL");
            int file = path ? real_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
            if (file < 0) return 0;
            char text[32] = {0};
            ssize_t count = read(file, text, sizeof text - 1);
            close(file);
            return count > 0 ? atol(text) : 0;
        }

        int clock_gettime(clockid_t clock, struct timespec *now) {
            static int (*next)(clockid_t, struct timespec *);
            if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
            int code = next(clock, now);
            if (code == 0 && clock == CLOCK_REALTIME) now->tv_sec += ahead();
            return code;
        }
        """#
}
