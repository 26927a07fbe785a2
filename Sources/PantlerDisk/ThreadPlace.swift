import PantlerModel
import Synchronization

/// Room for one thread at a time, until it is closed: no thread begins once `close` has, and none is left when it returns.
final class ThreadPlace: Sendable {
    private struct State {
        var thread: WorkerThread?
        var isClosed = false
    }

    private let state = Mutex(State())
    /// The same as the state's, for the thread to look at without the lock.
    private let isClosing = Atomic(false)

    /// Whether the thread is to end. Relaxed: it only has to see it some time.
    var isClosed: Bool { isClosing.load(ordering: .relaxed) }

    /// Begins a thread; one before it has to have ended, or to be about to. Blocks until it has.
    ///
    /// - Returns: `false` if the place is closed, and `body` will not run.
    /// - Throws: when the system has no thread left.
    func begin(name: String, _ body: @escaping @Sendable () -> Void) throws(TierFault) -> Bool {
        let (earlier, hasBegun) = try state.withLock { (state) throws(TierFault) -> (WorkerThread?, Bool) in
            if state.isClosed { return (nil, false) }
            let earlier = state.thread
            state.thread = try WorkerThread(name: name, body)
            return (earlier, true)
        }
        earlier?.join()
        return hasBegun
    }

    /// Blocks until the thread has ended.
    func close() {
        isClosing.store(true, ordering: .relaxed)
        let last = state.withLock { state in
            state.isClosed = true
            return state.thread.take()
        }
        last?.join()
    }
}
