import PantlerModel
import Synchronization

/// Holds one thread at a time, until it is closed: no thread begins once `close` was called, and none is left when it returns.
final class ThreadSlot: Sendable {
    private let thread = Mutex<FreeThread?>(nil)
    /// Set before `close` takes the lock: a `begin` that has the lock later sees it, and one that had it before has left its thread there.
    private let isClosing = Atomic(false)

    /// Whether the thread is to end. Relaxed: the thread may see it a little later.
    var isClosed: Bool { isClosing.load(ordering: .relaxed) }

    /// Begins a thread; one before it has to have ended, or to be about to. Blocks until it has.
    ///
    /// - Returns: `false` if the slot is closed, and `body` will not run.
    /// - Throws: when the system has no thread left.
    func begin(
        name: String,
        nice: Int32 = 0,
        _ body: @escaping @Sendable () -> Void
    ) throws(ThreadFault) -> Bool {
        let (earlier, hasBegun) = try thread.withLock { (thread) throws(ThreadFault) -> (FreeThread?, Bool) in
            if isClosed { return (nil, false) }
            let earlier = thread
            thread = try FreeThread(name: name, nice: nice, body)
            return (earlier, true)
        }
        earlier?.join()
        return hasBegun
    }

    /// Blocks until the thread has ended.
    func close() {
        isClosing.store(true, ordering: .relaxed)
        thread.withLock { $0.take() }?.join()
    }
}
