import Dispatch
import PantlerModel
import Synchronization

/// `PendingWrites`, shared between the store's threads, which put changes in, and the writer's, which takes them out. Beside it, under a lock of its own,
/// are the `JournaledChanges`: the writer puts hundreds in at a time, and no put of a caller's is to wait for that.
///
/// Whoever looks into both looks into the queue first. A change leaves the queue once the journal has it, and the journal once it is in its row: so it is
/// found somewhere, perhaps twice. The other way round it could be missed.
final class WriteQueue: Sendable {
    private let state: Mutex<PendingWrites>
    private let journaled: Mutex<JournaledChanges>
    /// `PendingWrites.holdsWriters`, for those who would rather not take the lock to see it. Relaxed: a bound of so many changes may be
    /// noticed one change later.
    private let holdsWriters = Atomic(false)
    /// Wakes the writer. May be signalled once too often; the writer then looks and finds nothing.
    private let signal = DispatchSemaphore(value: 0)
    private let counters: DiskCounters

    init(
        _ pending: consuming sending PendingWrites,
        journaled changes: consuming sending JournaledChanges = JournaledChanges(),
        counters: DiskCounters
    ) {
        self.counters = counters
        state = Mutex(pending)
        journaled = Mutex(changes)
    }

    /// Changes the state, and notes whether writers have to wait from now on.
    private func update<Answer: Sendable>(_ body: (inout PendingWrites) -> Answer) -> Answer {
        state.withLock { pending in
            let answer = body(&pending)
            holdsWriters.store(pending.holdsWriters, ordering: .relaxed)
            return answer
        }
    }

    func add(_ change: Change, _ durability: Durability = .behind) -> WriteTicket {
        let (ticket, wake) = update { $0.add(change, durability, at: monotonicNanoseconds() / 1000) }
        if wake { signal.signal() }
        return ticket
    }

    /// The latest change of an entry that waits, or is in the journal, if there is one.
    func change(of address: EntryAddress) -> EntryChange? {
        let (waiting, void) = state.withLock { ($0.change(of: address), $0.voidThrough(address.namespace)) }
        if let waiting { return waiting }
        // A change in the journal is void like the row that it would become.
        guard let change = journaled.withLock({ $0.change(of: address) }), change.version > void else { return nil }
        return change
    }

    /// What a read has to know before it looks into the file: what the changes of the entry come to that wait or are in the journal, and
    /// up to which version the rows of its namespace are void.
    func look(_ address: EntryAddress) -> (entry: EntryLookup, voidThrough: Version) {
        let (pending, inCommit, void) = state.withLock {
            ($0.pending.change(of: address), $0.inCommit?.change(of: address), $0.voidThrough(address.namespace))
        }
        var touches = EntryLookup.Touches()
        if let entry = touches.end(pending) ?? touches.end(inCommit) { return (.known(entry), void) }
        let (gathering, merging) = journaled.withLock { $0.changes(of: address) }
        for case let change? in [gathering, merging] where change.version > void {
            // A change in the journal is void like the row that it would become.
            if let entry = touches.end(change) { return (.known(entry), void) }
        }
        return (.below(touches), void)
    }

    /// The same for a namespace's entries whose keys begin with `prefix`. Complexity: O(queue + journal).
    func changes(
        in namespace: NamespaceID,
        prefix: [UInt8]
    ) -> (changes: [[UInt8]: EntryChange], voidThrough: Version) {
        let (waiting, void) = state.withLock {
            ($0.changes(in: namespace, prefix: prefix), $0.voidThrough(namespace))
        }
        var found: [[UInt8]: EntryChange] = [:]
        journaled.withLock {
            $0.visit { keyed in
                if keyed.address.isIn(namespace, prefix: prefix), keyed.version > void {
                    found[keyed.address.key] = keyed.change.following(found[keyed.address.key])
                }
            }
        }
        return (found.merging(waiting) { $1.following($0) }, void)
    }

    func voidThrough(_ namespace: NamespaceID) -> Version {
        state.withLock { $0.voidThrough(namespace) }
    }

    func read<Answer: Sendable>(_ body: @Sendable (borrowing PendingWrites) -> Answer) -> Answer {
        state.withLock { body($0) }
    }

    func readJournaled<Answer: Sendable>(_ body: @Sendable (borrowing JournaledChanges) -> Answer) -> Answer {
        journaled.withLock { body($0) }
    }

    /// Whether no change with this ticket or a smaller one waits, or is in the journal.
    func isMerged(_ ticket: WriteTicket) -> Bool {
        state.withLock { $0.isPast(ticket) } && journaled.withLock { $0.isMerged(ticket) }
    }

    func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool {
        answer(update { $0.settle(ticket, durability, completion) }, completion)
    }

    /// Looks without the lock. A `through` change is hardly ever committed by the time that this is asked, so that `settle` has to look.
    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        switch durability {
        case .memory: true
        case .behind: !holdsWriters.load(ordering: .relaxed)
        case .through: false
        }
    }

    /// Notes that the value of a change is deflated.
    func noteReady() {
        if update({ $0.noteReady() }) { signal.signal() }
    }

    /// Waits until all changes so far are synced; see `PendingWrites.flush`.
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
        update { $0.close() }
        signal.signal()
    }

    /// Makes the writer look, because there is other work for it.
    func wake() { signal.signal() }

    // MARK: The writer's thread

    /// What to do now; see `PendingWrites.take`.
    ///
    /// - Parameters:
    ///   - limit: bytes of one commit, if it has more than one change.
    ///   - isBound: whether no commit may have more.
    func take(limit: Int64 = .max, isBound: Bool = true) -> PendingWrites.Work {
        let now = monotonicNanoseconds() / 1000
        return update { $0.take(at: now, limit: limit, isBound: isBound) }
    }

    /// Sleeps until a signal, or that many microseconds.
    func wait(microseconds: UInt64) {
        _ = signal.wait(timeout: .now() + .microseconds(Int(clamping: microseconds)))
    }

    /// Takes the changes of entries among `items` in, which are in the journal now: a few at a time, so that no read waits long for the lock. To be followed by `succeed`, or
    /// `fail`.
    func noteJournaled(_ items: ArraySlice<Batch.Item>) {
        var next = items.startIndex
        while next < items.endIndex {
            let end = min(next + 64, items.endIndex)
            journaled.withLock { journaled in
                for place in next..<end {
                    guard case .entry(let keyed) = items[place].change else { continue }
                    journaled.add(keyed, ticket: items[place].ticket)
                }
            }
            next = end
        }
    }

    /// See `JournaledChanges.beginMerge`.
    func beginMerge() -> JournaledChanges.Changes {
        journaled.withLock { $0.beginMerge() }
    }

    /// See `JournaledChanges.endMerge`.
    func endMerge() {
        let merged = journaled.withLock { $0.endMerge() }
        withExtendedLifetime(merged) {}
    }

    /// Notes that nothing is in the journal any more.
    func endAllMerging() {
        let merged = journaled.withLock { $0.removeAll() }
        withExtendedLifetime(merged) {}
    }

    func succeed(synced: Bool, rejected: [WriteTicket: TierFault]) {
        let (answers, lost) = update {
            $0.succeed(synced: synced, rejected: rejected, at: monotonicNanoseconds() / 1000)
        }
        give(answers, lost: lost)
    }

    func fail(_ fault: TierFault, done: Set<WriteTicket>, isUndone: Bool) {
        let now = monotonicNanoseconds() / 1000
        let (answers, lost) = update { $0.fail(fault, done: done, isUndone: isUndone, at: now) }
        give(answers, lost: lost)
    }

    private func give(_ answers: [PendingWrites.Answer], lost: Int) {
        // Counted first, so that whoever was answered finds it counted.
        if lost > 0 { counters.lostWrites.add(UInt64(lost), ordering: .relaxed) }
        for answer in answers { answer.completion(answer.fault) }
    }

    /// Notes that writing goes well again, as a commit without any change of the queue has shown.
    func noteRecovered() {
        update { $0.noteRecovered() }
    }

    /// See `PendingWrites.endVoid`.
    func endVoid(_ namespace: NamespaceID, through version: Version) {
        state.withLock { $0.endVoid(namespace, through: version) }
    }

    func end() {
        let answers = update { $0.end() }
        for answer in answers { answer.completion(answer.fault) }
    }
}
