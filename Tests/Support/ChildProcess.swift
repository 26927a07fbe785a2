internal import Glibc
internal import Synchronization

/// How a process ended.
package enum Ending: Hashable, Sendable {
    case exited(Int32)
    case signalled(Int32)
}

/// A process of the test's own, with files for its three streams. Killed with the object.
package final class ChildProcess: Sendable {
    package let pid: Int32
    /// `nil` until it is known to have ended; no signal goes out after that, since the number may be someone else's by then.
    private let ending = Mutex<Ending?>(nil)

    package init(
        _ arguments: [String],
        environment: [String: String],
        folder: String,
        input: String = "/dev/null",
        output: String,
        errors: String
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        // The threads that tests run on block signals, and a child would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        // `env` changes the folder and then becomes the program, under the same number.
        var argumentPointers = (["env", "-C", folder] + arguments).map { strdup($0) } + [nil]
        var environmentPointers = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in argumentPointers + environmentPointers { free(pointer) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, "env", &actions, &attributes, &argumentPointers, &environmentPointers)
        guard code == 0 else { throw Failure("\(arguments[0]): \(String(cString: strerror(code)))") }
        self.pid = pid
    }

    deinit {
        guard poll() == nil else { return }
        kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// Sends a signal, unless the process has ended.
    package func send(_ signal: Int32) {
        ending.withLock { if $0 == nil { _ = kill(pid, signal) } }
    }

    /// How it ended; `nil` while it runs.
    package func poll() -> Ending? {
        ending.withLock { ending in
            var status: Int32 = 0
            if ending == nil, waitpid(pid, &status, WNOHANG) == pid {
                let signal = status & 0x7f
                ending = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
            }
            return ending
        }
    }

    package func wait(within seconds: Double) throws -> Ending {
        try eventually(within: seconds, "process \(pid) ends") { poll() }
    }

    /// A line of /proc/…/status that is told in kB, in bytes; 0 where there is none.
    package func memory(_ name: String) -> Int {
        let line = text(of: "/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first).flatMap { Int($0) }.map { $0 * 1024 }
            ?? 0
    }
}
