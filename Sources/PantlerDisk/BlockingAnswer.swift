import Dispatch
import Synchronization

/// Blocks a thread until another one has the answer.
final class BlockingAnswer<Answer: Sendable>: Sendable {
    private let answered = DispatchSemaphore(value: 0)
    private let value = Mutex<Answer?>(nil)

    /// Called once.
    func answer(_ answer: Answer) {
        value.withLock { $0 = answer }
        answered.signal()
    }

    func wait() -> Answer {
        while true {
            answered.wait()
            if let answer = value.withLock({ $0 }) { return answer }
        }
    }
}
