import Glibc

/// A thread that all cores are open to, whoever makes it. A thread begins with the cores of the one that makes it, and with its name: one
/// that an event loop made would keep to that loop's core, and be in its way there.
package enum FreeThread {
    private final class Start {
        let name: String
        let nice: Int32
        let body: @Sendable () -> Void

        init(_ name: String, _ nice: Int32, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.nice = nice
            self.body = body
        }
    }

    /// Begins one, which nobody waits for.
    ///
    /// - Parameters:
    ///   - name: up to 15 bytes, for `top -H`.
    ///   - nice: see setpriority(2); on Linux it is the thread's own.
    /// - Returns: `false` where the system has no thread left.
    package static func begin(name: String, nice: Int32 = 0, _ body: @escaping @Sendable () -> Void) -> Bool {
        let start = Unmanaged.passRetained(Start(name, nice, body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                Cores.ofTheProcess().keepThisThread()
                FreeThread.nameThisThread(start.name)
                // It can only fail where it would be a step forward.
                if start.nice > 0 { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, start.nice) }
                start.body()
                return nil
            },
            start.toOpaque()
        )
        guard code == 0 else {
            start.release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    /// Where there is no /proc it keeps the name that it has.
    private static func nameThisThread(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        let bytes = Array(name.utf8.prefix(15))
        _ = write(file, bytes, bytes.count)
        close(file)
    }
}
