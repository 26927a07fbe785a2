import Dispatch
import PantlerModel
import Synchronization

/// `PendingWrites` between threads: the store's threads put in, the writer's thread takes out.
final class WriteQueue: Sendable {
    private let state: Mutex<PendingWrites>
    /// Wakes the writer. May be signalled once too often; the writer then looks and finds nothing.
    private let signal = DispatchSemaphore(value: 0)

    init(limits: PendingWrites.Limits) {
        state = Mutex(PendingWrites(limits: limits))
    }

    func add(_ change: Change) -> WriteTicket {
        let now = monotonicNanoseconds() / 1000
        let (ticket, wake) = state.withLock { $0.add(change, at: now) }
        if wake { signal.signal() }
        return ticket
    }

    func change(of address: EntryAddress) -> EntryChange? {
        state.withLock { $0.change(of: address) }
    }

    func read<Answer: Sendable>(_ body: @Sendable (borrowing PendingWrites) -> Answer) -> Answer {
        state.withLock { body($0) }
    }

    func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool {
        answer(state.withLock { $0.settle(ticket, durability, completion) }, completion)
    }

    /// Waits for all that came so far; see `PendingWrites.flush`.
    ///
    /// - Returns: `true` if there is nothing to wait for: `completion` is then not called.
    func flush(completion: @escaping @Sendable (TierFault?) -> Void) -> Bool {
        answer(state.withLock { $0.flush(completion) }, completion)
    }

    private func answer(_ settling: PendingWrites.Settling, _ completion: @Sendable (TierFault?) -> Void) -> Bool {
        switch settling {
        case .settled: return true
        case .failed(let fault):
            completion(fault)
            return false
        case .waiting(let wake):
            if wake { signal.signal() }
            return false
        }
    }

    func close() {
        state.withLock { $0.close() }
        signal.signal()
    }

    /// Makes the writer look, because there is other work for it.
    func wake() { signal.signal() }

    // MARK: The writer's thread

    /// What to do now; see `PendingWrites.take`.
    func take() -> PendingWrites.Work {
        let now = monotonicNanoseconds() / 1000
        return state.withLock { $0.take(at: now) }
    }

    /// Sleeps until a signal, or that many microseconds.
    func wait(microseconds: UInt64) {
        _ = signal.wait(timeout: .now() + .microseconds(Int(clamping: microseconds)))
    }

    /// - Returns: changes that are lost.
    func succeed(synced: Bool, rejected: [WriteTicket: TierFault]) -> Int {
        let (answers, lost) = state.withLock { $0.succeed(synced: synced, rejected: rejected) }
        for answer in answers { answer.completion(answer.fault) }
        return lost
    }

    /// - Returns: changes that are lost.
    func fail(_ fault: TierFault, done: Set<WriteTicket>) -> Int {
        let now = monotonicNanoseconds() / 1000
        let (answers, lost) = state.withLock { $0.fail(fault, done: done, at: now) }
        for answer in answers { answer.completion(answer.fault) }
        return lost
    }

    func end() {
        let answers = state.withLock { $0.end() }
        for answer in answers { answer.completion(answer.fault) }
    }
}
