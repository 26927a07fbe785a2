internal import CPantler
internal import Glibc
internal import PantlerModel
internal import Synchronization

/// How a command that was started, or could not be, has ended.
enum CommandEnd: Error, Hashable, Sendable {
    case exited(Int32)
    case signalled(Int32)
    /// The error's number: ENOENT where there is no such command.
    case notStarted(name: String, error: Int32)

    /// As a shell says it.
    var status: Int32 {
        switch self {
        case .exited(let status): status
        case .signalled(let number): 128 + number
        case .notStarted(_, ENOENT): 127
        case .notStarted: 126
        }
    }

    /// What nobody else has told the user.
    var reason: String? {
        switch self {
        case .exited, .signalled: nil
        case .notStarted(let name, ENOENT): "\(name): there is no such command."
        case .notStarted(let name, let error): "\(name) cannot be run: \(systemReason(error))."
        }
    }
}

/// A command that runs with this process's input, errors and terminal, and whose output is kept.
///
/// It stays in the process group, so that it may read from the terminal and gets its Ctrl-C.
final class CommandProcess: Sendable {
    /// The most that is kept of what it prints. Hardly a service takes larger values.
    static let keptBytes = 256 << 20

    /// Told by threads of the process's own.
    enum Event: Sendable {
        /// It has printed more than is kept: that, and all else that it prints, is passed on.
        case outgrew
        case outputEnded
        case ended(CommandEnd)
    }

    private let pid: pid_t
    /// `nil` once it has ended: its number may be somebody else's by then.
    private let running: Mutex<pid_t?>
    private let kept = Mutex<[UInt8]>([])

    /// What it has printed, once that has ended, and unless it has outgrown what is kept.
    var output: [UInt8] { kept.withLock { $0 } }

    /// - Parameters:
    ///   - words: the command and its arguments, at least one, without NUL.
    ///   - limit: the most bytes of its output that are kept.
    ///   - passOn: takes what it prints beyond that, and what was kept before; throws where nobody takes any more.
    /// - Throws: why it could not be started.
    init(
        _ words: [[UInt8]],
        keeping limit: Int = keptBytes,
        passOn: @escaping @Sendable ([UInt8]) throws -> Void = Terminal.write,
        tell: @escaping @Sendable (Event) -> Void
    ) throws(CommandEnd) {
        let name = String(decoding: words.first ?? [], as: UTF8.self)
        var ends: [Int32] = [-1, -1]
        guard pantler_pipe(&ends) == 0 else { throw .notStarted(name: name, error: errno) }
        let reading = ends[0]
        OpenFiles.keepOwn()
        let (pid, error) = Self.spawn(words, output: ends[1])
        close(ends[1])
        guard error == 0 else {
            close(reading)
            throw .notStarted(name: name, error: error)
        }
        self.pid = pid
        running = Mutex(pid)
        do throws(ThreadFault) {
            try FreeThread.begin(name: "output") { [self] in
                keepOutput(of: reading, limit, passOn, tell)
                close(reading)
                tell(.outputEnded)
            }
            try FreeThread.begin(name: "wait") { [self] in tell(.ended(wait())) }
        } catch {
            kill(pid, SIGKILL)
            throw .notStarted(name: name, error: EAGAIN)
        }
    }

    /// Sends it a signal, unless it has ended.
    func send(_ signal: Int32) {
        running.withLock { if let pid = $0 { _ = kill(pid, signal) } }
    }

    private static func spawn(_ words: [[UInt8]], output: Int32) -> (pid: pid_t, error: Int32) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The threads that Swift's tasks run on block signals, and the client's library ignores SIGPIPE: a command would inherit both.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigaddset(&signals, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var arguments = words.map { word in strdup(word.map { CChar(bitPattern: $0) } + [0]) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        guard let file = arguments[0] else { return (0, ENOENT) }
        let error = posix_spawnp(&pid, file, &actions, &attributes, &arguments, environ)
        return (pid, error)
    }

    private func keepOutput(
        of pipe: Int32,
        _ limit: Int,
        _ passOn: ([UInt8]) throws -> Void,
        _ tell: (Event) -> Void
    ) {
        var output: [UInt8] = []
        var isKept = true
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(pipe, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            output.append(contentsOf: chunk[..<count])
            if isKept, output.count > limit {
                isKept = false
                tell(.outgrew)
            }
            if isKept { continue }
            // Where nobody takes it, the command is told so by its next write.
            guard (try? passOn(output)) != nil else { return }
            output.removeAll(keepingCapacity: output.count <= chunk.count)
        }
        if isKept { kept.withLock { $0 = output } }
    }

    /// Waits for its end. Its number stays taken until `send` knows of that.
    private func wait() -> CommandEnd {
        var information = siginfo_t()
        while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        return running.withLock { running in
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            running = nil
            let signal = status & 0x7f
            return signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
        }
    }
}

/// The files that a command inherits: those that this process was started with, and none of its own.
enum OpenFiles {
    /// The numbers of those that were open when this was first asked for: to be done before the process opens its own.
    static let inherited = Set(numbers)

    /// Has what was opened since closed where another program begins. SwiftNIO's sockets and epoll(7) would stay open in it.
    static func keepOwn() {
        for number in numbers where !inherited.contains(number) { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
    }

    private static var numbers: [Int32] {
        guard let folder = opendir("/proc/self/fd") else { return [] }
        defer { closedir(folder) }
        var numbers: [Int32] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let number = Int32(name), number != dirfd(folder) { numbers.append(number) }
        }
        return numbers
    }
}
