internal import CPantler
internal import Glibc
internal import PantlerModel

/// A signal that would end the process (SIGINT, SIGTERM or SIGHUP), which has something to give back before.
struct EndingSignal: Hashable, Sendable {
    let number: Int32
    /// Whether the terminal has sent it, as for Ctrl-C: to this process and to those that it has started.
    let isFromTerminal: Bool

    /// From now on such signals are told to `body`, on a thread of their own, and end nothing by themselves. To be called once.
    static func catchAll(_ body: @escaping @Sendable (EndingSignal) -> Void) throws(CommandFailure) {
        let pipe = pantler_catch_endings()
        guard pipe >= 0 else {
            throw CommandFailure(.failed, code: "no_pipe", "There is no pipe to be had: \(systemReason(errno)).")
        }
        do throws(ThreadFault) {
            try FreeThread.begin(name: "signals") {
                var message: [UInt8] = [0, 0]
                while true {
                    let count = read(pipe, &message, message.count)
                    if count < 0, errno == EINTR { continue }
                    guard count == message.count else { return }
                    body(EndingSignal(number: Int32(message[0]), isFromTerminal: message[1] != 0))
                }
            }
        } catch {
            throw CommandFailure(.failed, code: "no_thread", "\(error).")
        }
    }

    /// From now on they end the process again.
    static func release() {
        pantler_release_endings()
    }

    /// Ends the process as the signal would have. A shell sees by that, and not by an exit status of 130, that a loop around the command is
    /// to end as well.
    static func die(of number: Int32) {
        signal(number, SIG_DFL)
        var only = sigset_t()
        sigemptyset(&only)
        sigaddset(&only, number)
        // Threads that are not the first one may block it.
        pthread_sigmask(SIG_UNBLOCK, &only, nil)
        raise(number)
    }
}
