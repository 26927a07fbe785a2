import Glibc
import PantlerModel

/// A thread of the tier's own: SQLite blocks, and must not do so on anyone else's.
final class WorkerThread: Sendable {
    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    private let thread: pthread_t

    /// - Parameter name: up to 15 bytes, for `top -H`.
    /// - Throws: when the system has no thread left.
    init(name: String, _ body: @escaping @Sendable () -> Void) throws(TierFault) {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                WorkerThread.name(start.name)
                start.body()
                return nil
            },
            start.toOpaque()
        )
        guard code == 0 else {
            start.release()
            throw TierFault(
                .unavailable,
                "No thread for \(name): raise the limit of threads with `ulimit -u`, or TasksMax in a systemd unit (\(systemReason(code)))"
            )
        }
        self.thread = thread
    }

    /// Names the calling thread. Where there is no /proc it stays nameless.
    private static func name(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        let bytes = Array(name.utf8.prefix(15))
        _ = write(file, bytes, bytes.count)
        close(file)
    }

    /// Gives the calling thread a smaller part of a core that others want too.
    ///
    /// - Parameter nice: see setpriority(2); on Linux it is the thread's own.
    static func stepBack(nice: Int32) {
        // It can only fail where it would be a step forward.
        _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice)
    }

    /// Waits for its end. Called once.
    func join() {
        pthread_join(thread, nil)
    }
}
