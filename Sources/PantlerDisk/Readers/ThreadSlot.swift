import PantlerModel
import Synchronization

/// Room for one thread at a time, until it is closed: no thread begins once `close` has, and none is left when it returns.
final class ThreadSlot: Sendable {
    private let thread = Mutex<FreeThread?>(nil)
    /// Set before the lock is taken to end the thread: whoever has it later sees that, and whoever had it before has left theirs there.
    private let isClosing = Atomic(false)

    /// Whether the thread is to end. Relaxed: it only has to see it some time.
    var isClosed: Bool { isClosing.load(ordering: .relaxed) }

    /// Begins a thread; one before it has to have ended, or to be about to. Blocks until it has.
    ///
    /// - Returns: `false` if the place is closed, and `body` will not run.
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
