internal import CPantler
import Glibc

/// A thread of the service's own, with a name, and with all cores of the process. The event loops alone have threads that begin elsewhere
/// (`SocketLoop`), and so do libraries.
///
/// A thread begins with the cores and with the name of the one that makes it. Where event loops are pinned to cores (`server.pin_threads`) a
/// thread that one of them makes would keep to that loop's core, and be in its way there: so it gets the process's cores back first.
package final class FreeThread: Sendable {
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

    private let thread: pthread_t

    /// Begins a thread that is to be joined. What comes before the call is seen by `body`: `pthread_create` orders the two.
    ///
    /// - Parameters:
    ///   - name: up to 15 bytes, for `top -H`.
    ///   - nice: above 0, the thread gets a smaller part of a core that others want too: see setpriority(2); on Linux it is the thread's own.
    /// - Throws: when the system has no thread left.
    package init(name: String, nice: Int32 = 0, _ body: @escaping @Sendable () -> Void) throws(ThreadFault) {
        let start = Unmanaged.passRetained(Start(name, nice, body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                Cores.freeThisThread()
                pantler_name_thread(start.name)
                // It can only fail where it would be a step forward.
                if start.nice > 0 { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, start.nice) }
                start.body()
                return nil
            },
            start.toOpaque()
        )
        guard code == 0 else {
            start.release()
            throw ThreadFault(name: name, reason: systemReason(code))
        }
        self.thread = thread
    }

    /// Waits until the thread has ended. Called once for each thread, unless `begin` has made it.
    package func join() {
        pthread_join(thread, nil)
    }

    /// Begins a thread that nobody waits for.
    package static func begin(
        name: String,
        nice: Int32 = 0,
        _ body: @escaping @Sendable () -> Void
    ) throws(ThreadFault) {
        pthread_detach(try FreeThread(name: name, nice: nice, body).thread)
    }
}

/// The system has no thread left. The description says what to do about it.
package struct ThreadFault: Error, CustomStringConvertible {
    let name: String
    let reason: String

    package var description: String {
        "No thread for \(name): raise the limit of threads with `ulimit -u`, or TasksMax in a systemd unit (\(reason))"
    }
}
