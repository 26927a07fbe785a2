import Dispatch
import PantlerModel
import Synchronization

/// `PendingWrites` between threads: the store's threads put in, the writer's thread takes out.
final class WriteQueue: Sendable {
    private let state: Mutex<PendingWrites>
    /// Wakes the writer. May be signalled once too often; the writer then looks and finds nothing.
    private let signal = DispatchSemaphore(value: 0)
    private let figures: Figures

    init(_ pending: consuming sending PendingWrites, figures: Figures) {
        self.figures = figures
        state = Mutex(pending)
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

    /// What a read has to know before it looks into the file: the change of the entry that waits, if one does, and up to which version the
    /// rows of its namespace are void.
    func look(_ address: EntryAddress) -> (change: EntryChange?, voidThrough: Version) {
        state.withLock { ($0.change(of: address), $0.voidThrough(address.namespace)) }
    }

    func voidThrough(_ namespace: NamespaceID) -> Version {
        state.withLock { $0.voidThrough(namespace) }
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

    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        state.withLock { $0.isSettled(ticket, durability) }
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

    /// The changes of entries are in the journal; see `PendingWrites.noteJournaled`. A few at a time, so that nobody waits long for the lock.
    func noteJournaled(_ items: [Batch.Item], except rejected: [WriteTicket: TierFault]) {
        var next = items.startIndex
        while next < items.endIndex {
            let end = min(next + 64, items.endIndex)
            state.withLock { $0.noteJournaled(items[next..<end], except: rejected) }
            next = end
        }
    }

    /// See `JournaledChanges.beginMerge`.
    func beginMerge() -> JournaledChanges.Changes {
        state.withLock { $0.beginMerge() }
    }

    /// See `JournaledChanges.endMerge`.
    func endMerge() {
        let merged = state.withLock { $0.endMerge() }
        withExtendedLifetime(merged) {}
    }

    /// Nothing is in the journal any more.
    func endAllMerging() {
        let merged = state.withLock { $0.endAllMerging() }
        withExtendedLifetime(merged) {}
    }

    func succeed(synced: Bool, rejected: [WriteTicket: TierFault]) {
        let (answers, lost) = state.withLock { $0.succeed(synced: synced, rejected: rejected) }
        give(answers, lost: lost)
    }

    func fail(_ fault: TierFault, done: Set<WriteTicket>) {
        let now = monotonicNanoseconds() / 1000
        let (answers, lost) = state.withLock { $0.fail(fault, done: done, at: now) }
        give(answers, lost: lost)
    }

    private func give(_ answers: [PendingWrites.Answer], lost: Int) {
        // Counted first, so that whoever was answered finds it counted.
        if lost > 0 { figures.lostWrites.add(UInt64(lost), ordering: .relaxed) }
        for answer in answers { answer.completion(answer.fault) }
    }

    /// See `PendingWrites.endVoid`.
    func endVoid(_ namespace: NamespaceID, through version: Version) {
        state.withLock { $0.endVoid(namespace, through: version) }
    }

    func end() {
        let answers = state.withLock { $0.end() }
        for answer in answers { answer.completion(answer.fault) }
    }
}
