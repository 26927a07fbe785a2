import Dispatch
import PantlerModel

/// Work that walks over many entries: one piece after the other, off the event loops.
struct BackgroundQueue: Sendable {
    private let queue = DispatchQueue(label: "pantler.store")
    /// Of whoever makes the store: all that the process has.
    private let cores = Cores.ofThisThread()

    func async(_ work: @escaping @Sendable () -> Void) { queue.async { run(work) } }

    func async(afterMilliseconds milliseconds: Int, _ work: @escaping @Sendable () -> Void) {
        queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { run(work) }
    }

    /// On any core: the thread may have been started by an event loop that keeps to one, and would be in its way there.
    private func run(_ work: () -> Void) {
        cores.keepThisThread()
        work()
    }
}
