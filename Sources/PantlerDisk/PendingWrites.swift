import PantlerModel

/// The state of the write queue as a value: events in, what is to be done out. It knows no threads, no clock and no disk; see
/// `WriteQueue` and `Writer` for these.
///
/// A change is *pending*, then *in commit*, and then gone, or *journaled* until it is in its row. One that could not be committed becomes pending again, in front of what
/// came meanwhile, unless a `through` writer waited for it: that one is told, and the change is taken back.
///
/// A change of an entry that nobody waits for was answered long ago. When it has to be given up, its place on disk must not be taken by
/// what was there before: its value alone is given up first, and a delete of the key remains. When that goes too, all that the file has
/// of the namespace up to the change's version is *void*: `voidThrough` says so from this moment on, and a control change makes it last
/// until the writer has removed those rows.
struct PendingWrites {
    typealias Completion = @Sendable (TierFault?) -> Void
    typealias Answer = (completion: Completion, fault: TierFault?)

    /// Bounds, in microseconds and bytes.
    struct Limits {
        var lingerMicroseconds: UInt64 = 10_000
        var bytes: Int64 = 16 << 20
        var entries = 65_536
        /// Changes from which on waiting for more brings nothing.
        var ample = 2048
        /// Pauses between attempts while writing fails; the first doubles up to the second unless someone waits.
        var firstRetryMicroseconds: UInt64 = 25_000
        var lastRetryMicroseconds: UInt64 = 1_000_000
    }

    enum Work {
        case commit(Batch, sync: Bool)
        /// Nothing to do before that moment, in monotonic microseconds; `nil` = before something comes.
        case wait(until: UInt64?)
        case closed
    }

    let limits: Limits
    private var pending = Batch()
    private var inCommit: Batch?
    private var pendingSince: UInt64 = 0
    private var inCommitSince: UInt64 = 0
    private var nextTicket: WriteTicket = 1
    /// No change with this ticket or a smaller one is in the queue.
    private var committed: WriteTicket = 0
    /// Those up to here are synced.
    private var synced: WriteTicket = 0
    private var waiters: [WriteTicket: [Completion]] = [:]
    /// Those who wait for everything up to a ticket, and for no change in particular: no change is taken back for them.
    private var flushWaiters: [(ticket: WriteTicket, completion: Completion)] = []
    private var roomWaiters: [Completion] = []
    /// Changes that were given up, until someone asks.
    private var givenUp: [WriteTicket: TierFault] = [:]
    private var isUrgent = false
    private(set) var voids: Voids
    private(set) var journaled = JournaledChanges()
    private(set) var isClosing = false
    /// Commits that failed since.
    private var closingFailures = 0
    private var isClosed = false
    private(set) var fault: TierFault?
    private var failedAt: UInt64 = 0
    private var retryAt: UInt64 = 0
    private var retryDelay: UInt64 = 0

    /// - Parameters:
    ///   - voids: what an earlier run left; see `voidThrough`.
    ///   - changes: what an earlier run left in the journal, in the order in which it came there.
    init(
        limits: Limits,
        voids: [NamespaceID: Version] = [:],
        journaled changes: [(address: EntryAddress, change: EntryChange)] = []
    ) {
        self.limits = limits
        self.voids = Voids(voids)
        for (address, change) in changes { journaled.add(address, change, ticket: takeTicket()) }
        committed = latestTicket
        synced = latestTicket
    }

    // MARK: Figures

    var count: Int { pending.count + (inCommit?.count ?? 0) }
    var bytes: Int64 { pending.bytes + (inCommit?.bytes ?? 0) }
    var isOverBound: Bool { count > limits.entries || bytes > limits.bytes }
    var latestTicket: WriteTicket { nextTicket - 1 }
    /// Nothing with this ticket or a smaller one waits any more.
    func isPast(_ ticket: WriteTicket) -> Bool { ticket <= committed }
    /// Nor is anything of it in the journal.
    func isMerged(_ ticket: WriteTicket) -> Bool { isPast(ticket) && journaled.isMerged(ticket) }

    /// When the oldest change came; `nil` if there is none.
    var oldestMicroseconds: UInt64? {
        if inCommit != nil { return inCommitSince }
        return pending.isEmpty ? nil : pendingSince
    }

    // MARK: What the store does

    /// - Returns: the ticket, and whether the writer should look at once. Complexity: O(1).
    mutating func add(_ change: Change, at now: UInt64) -> (ticket: WriteTicket, wake: Bool) {
        let ticket = takeTicket()
        guard !isClosed else {
            giveUp(ticket, Self.closedFault)
            return (ticket, false)
        }
        let wasEmpty = pending.isEmpty
        if wasEmpty { pendingSince = now }
        pending.add(Batch.Item(ticket: ticket, change: change)) { waiters[$0] != nil }
        return (ticket, wasEmpty || pending.count == limits.ample)
    }

    /// The change of an entry that waits, or is in the journal, if there is one.
    func change(of address: EntryAddress) -> EntryChange? {
        pending.change(of: address) ?? inCommit?.change(of: address) ?? journaledChange(of: address)
    }

    /// What is in the journal is void as its row would be.
    private func journaledChange(of address: EntryAddress) -> EntryChange? {
        guard let change = journaled.change(of: address) else { return nil }
        return change.version > voidThrough(address.namespace) ? change : nil
    }

    /// The latest changes of a namespace's entries whose keys begin with `prefix`, of those that wait or are in the journal. Complexity:
    /// O(queue + journal).
    func changes(in namespace: NamespaceID, prefix: [UInt8]) -> [[UInt8]: EntryChange] {
        var found: [[UInt8]: EntryChange] = [:]
        let void = voidThrough(namespace)
        journaled.visit { address, change in
            guard address.namespace == namespace, change.version > void, address.key.starts(with: prefix) else {
                return
            }
            found[address.key] = change
        }
        for batch in [inCommit, pending] {
            for item in batch?.items ?? [] {
                guard case .entry(let address, let change) = item.change, address.namespace == namespace,
                    address.key.starts(with: prefix)
                else { continue }
                found[address.key] = change
            }
        }
        return found
    }

    /// Rows of the namespace with this version or a smaller one must not be seen; 0 if all may. Looked at together with `change(of:)`, before
    /// the row is: what is void only later was changed after the look.
    func voidThrough(_ namespace: NamespaceID) -> Version { voids.through(namespace) }

    /// No row up to this version is left.
    mutating func endVoid(_ namespace: NamespaceID, through version: Version) {
        voids.end(namespace, through: version)
    }

    enum Settling {
        case settled
        case failed(TierFault)
        /// The completion will be called; whether the writer should look at once.
        case waiting(wake: Bool)
    }

    mutating func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        _ completion: @escaping Completion
    ) -> Settling {
        if isSettled(ticket, durability) { return .settled }
        switch durability {
        case .memory: return .settled
        case .behind: roomWaiters.append(completion)
        case .through:
            if let fault = givenUp.removeValue(forKey: ticket) { return .failed(fault) }
            if isClosed { return .failed(Self.closedFault) }
            waiters[ticket, default: []].append(completion)
        }
        return .waiting(wake: hurry())
    }

    /// Whether a change is as durable as it is to be, and was not given up.
    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        switch durability {
        case .memory: true
        case .behind: !isOverBound || isClosed
        case .through: ticket <= synced && givenUp[ticket] == nil
        }
    }

    /// Waits until everything that came so far is committed and synced, or has failed to be.
    mutating func flush(_ completion: @escaping Completion) -> Settling {
        if latestTicket <= synced { return .settled }
        if isClosed { return .failed(Self.closedFault) }
        flushWaiters.append((latestTicket, completion))
        return .waiting(wake: hurry())
    }

    /// Someone waits now. Returns whether the writer has to be told.
    private mutating func hurry() -> Bool {
        defer { isUrgent = true }
        if fault != nil { retryAt = min(retryAt, failedAt + limits.firstRetryMicroseconds) }
        return !isUrgent
    }

    private var isSyncAwaited: Bool { !waiters.isEmpty || !flushWaiters.isEmpty }

    mutating func close() { isClosing = true }

    // MARK: What the writer does

    /// Changes in commit are in the journal, but for those that were rejected. To be followed by `succeed`.
    mutating func noteJournaled(_ items: ArraySlice<Batch.Item>, except rejected: [WriteTicket: TierFault]) {
        for item in items where rejected[item.ticket] == nil {
            guard case .entry(let address, let change) = item.change else { continue }
            journaled.add(address, change, ticket: item.ticket)
        }
    }

    mutating func beginMerge() -> JournaledChanges.Changes { journaled.beginMerge() }

    mutating func endMerge() -> JournaledChanges.Changes { journaled.endMerge() }

    /// - Returns: what was in the journal, for the caller to let go of.
    mutating func endAllMerging() -> JournaledChanges {
        defer { journaled = JournaledChanges() }
        return journaled
    }

    /// What to do now. `commit` has to be followed by `succeed` or `fail`.
    mutating func take(at now: UInt64) -> Work {
        if pending.isEmpty, !isSyncAwaited {
            isUrgent = false
            return isClosing ? .closed : .wait(until: nil)
        }
        if !isClosing {
            let due = fault != nil ? retryAt : pendingSince + limits.lingerMicroseconds
            let isRipe = now >= due || (fault == nil && (isUrgent || pending.count >= limits.ample))
            if !isRipe { return .wait(until: due) }
        }
        isUrgent = false
        let batch = pending
        pending = Batch(like: batch)
        inCommit = batch
        inCommitSince = pendingSince
        return .commit(batch, sync: isSyncAwaited || isClosing)
    }

    /// The batch is committed.
    ///
    /// - Parameters:
    ///   - synced: whether it was synced too; everything before it then is as well.
    ///   - rejected: changes that could not be made although the rest could. They are taken back where someone waits, and given up
    ///     elsewhere.
    /// - Returns: what to call once the lock is given back, and how many changes are lost without anyone being told.
    mutating func succeed(synced isSynced: Bool, rejected: [WriteTicket: TierFault]) -> (answers: [Answer], lost: Int) {
        let batch = inCommit ?? Batch()
        inCommit = nil
        fault = nil
        retryDelay = 0
        var answers: [Answer] = []
        var lost = 0
        if let anyFault = rejected.values.first {
            var left: [Batch.Item] = []
            for item in batch.items {
                guard let fault = rejected[item.ticket] else { continue }
                if let waiting = waiters.removeValue(forKey: item.ticket) {
                    answers += waiting.map { ($0, fault) }
                    left += takeBack(item, &lost)
                } else {
                    left += reject(item, fault, &lost)
                }
            }
            // The tickets of this batch are over.
            for place in left.indices { left[place].ticket = takeTicket() }
            if pending.isEmpty { pendingSince = inCommitSince }
            lost += keep(left, anyFault)
        }
        // What was taken back and came last must not be waited for either.
        committed = pending.isEmpty ? latestTicket : max(committed, batch.lastTicket)
        if isSynced {
            synced = committed
            for ticket in waiters.keys.filter({ $0 <= synced }).sorted() {
                answers += (waiters.removeValue(forKey: ticket) ?? []).map { ($0, nil) }
            }
            answers += takeFlushWaiters(upTo: synced, nil)
        }
        // Some began to wait while the batch was on its way, too late for the sync: the next commit makes it up to them.
        if isSyncAwaited { isUrgent = true }
        if !isOverBound { answers += takeRoomWaiters() }
        return (answers, lost)
    }

    /// The batch could not be committed, but for the changes that are `done`, which are synced too.
    ///
    /// Whoever waited for a change in it is told, and the change is taken back. The others are pending again, as far as the bounds allow
    /// (see `Overflow`). While the tier closes there are two more attempts, each with less to write: without values, and then
    /// with nothing of entries but what is void.
    mutating func fail(
        _ fault: TierFault,
        done: Set<WriteTicket> = [],
        at now: UInt64
    ) -> (answers: [Answer], lost: Int) {
        self.fault = fault
        failedAt = now
        retryDelay = min(max(retryDelay * 2, limits.firstRetryMicroseconds), limits.lastRetryMicroseconds)
        var answers: [Answer] = []
        let failed = inCommit ?? Batch()
        var told = done
        for ticket in waiters.keys.filter({ $0 <= max(failed.lastTicket, committed) }).sorted() {
            let isDone = done.contains(ticket)
            answers += (waiters.removeValue(forKey: ticket) ?? []).map { ($0, isDone ? nil : fault) }
            told.insert(ticket)
        }
        answers += takeFlushWaiters(upTo: max(failed.lastTicket, committed), fault)
        inCommit = nil
        var lost = 0
        if isClosing {
            for (ticket, waiting) in waiters {
                answers += waiting.map { ($0, fault) }
                told.insert(ticket)
            }
            waiters = [:]
            answers += takeFlushWaiters(upTo: .max, fault)
        }
        var left: [Batch.Item] = []
        for item in failed.items + (isClosing ? pending.items : []) where !done.contains(item.ticket) {
            // Controls are tried again even if someone was told.
            if item.isControl || !told.contains(item.ticket) {
                left.append(item)
            } else {
                left += takeBack(item, &lost)
            }
        }
        if isClosing {
            pending = Batch()
            lost += giveUpWhileClosing(left, fault)
        } else {
            lost += keep(left, fault)
            if !failed.isEmpty { pendingSince = inCommitSince }
        }
        if pending.isEmpty { committed = latestTicket }
        // Waiting shorter than that would only burn the processor; waiting longer would make the waiting wait.
        retryAt = now + (isSyncAwaited ? limits.firstRetryMicroseconds : retryDelay)
        return (answers + takeRoomWaiters(), lost)
    }

    /// The writer has ended.
    mutating func end() -> [Answer] {
        isClosed = true
        let left = waiters.values.joined().map { ($0, Optional(Self.closedFault)) as Answer }
        waiters = [:]
        return left + takeFlushWaiters(upTo: .max, Self.closedFault) + takeRoomWaiters()
    }

    // MARK: Inside

    static let closedFault = TierFault(.closed, "The disk tier is closed.")

    private mutating func takeTicket() -> WriteTicket {
        defer { nextTicket += 1 }
        return nextTicket
    }

    /// Puts items back in front of the pending ones, as far as there is room; returns how many were lost.
    private mutating func keep(_ items: [Batch.Item], _ fault: TierFault) -> Int {
        let all = items + pending.items
        let overflow = Overflow(all, limits: limits) { waiters[$0] != nil }
        var lost = 0
        var kept = Batch()
        for (place, var item) in all.enumerated() {
            if overflow.dropped.contains(place) {
                lost += giveUp(item, fault)
                voids.note(item.change)
                continue
            }
            if overflow.shrunk.contains(place) {
                lost += giveUp(item, fault)
                item.giveUpValue()
            }
            kept.add(item) { waiters[$0] != nil }
        }
        pending = kept
        addVoids()
        return lost
    }

    /// See `fail`. After the third failure nothing is pending.
    private mutating func giveUpWhileClosing(_ items: [Batch.Item], _ fault: TierFault) -> Int {
        closingFailures += 1
        var lost = 0
        for var item in items {
            switch closingFailures {
            case 1:
                if item.isPut {
                    lost += giveUp(item, fault)
                    item.giveUpValue()
                }
            case 2 where item.isControl: break
            default:
                lost += giveUp(item, fault)
                voids.note(item.change)
                continue
            }
            pending.add(item) { _ in false }
        }
        if closingFailures < 3 { addVoids() }
        return lost
    }

    /// What is left to do when someone was told that the change failed.
    private func takeBack(_ item: Batch.Item, _ lost: inout Int) -> [Batch.Item] {
        guard let remainder = item.remainder else { return [] }
        lost += 1
        return [remainder]
    }

    /// What is left to do when a change cannot be made for which nobody waits.
    private mutating func reject(_ item: Batch.Item, _ fault: TierFault, _ lost: inout Int) -> [Batch.Item] {
        lost += giveUp(item, fault)
        guard item.isPut else {
            voids.note(item.change)
            return []
        }
        var item = item
        item.giveUpValue()
        return [item]
    }

    private mutating func addVoids() {
        for control in voids.takeGrown() {
            pending.add(Batch.Item(ticket: takeTicket(), change: .control(control))) { waiters[$0] != nil }
        }
    }

    private mutating func takeFlushWaiters(upTo ticket: WriteTicket, _ fault: TierFault?) -> [Answer] {
        defer { flushWaiters.removeAll { $0.ticket <= ticket } }
        return flushWaiters.filter { $0.ticket <= ticket }.map { ($0.completion, fault) }
    }

    private mutating func takeRoomWaiters() -> [Answer] {
        defer { roomWaiters = [] }
        return roomWaiters.map { ($0, nil) }
    }

    /// Tells whoever asks for the change; returns how many more are lost by it.
    private mutating func giveUp(_ item: Batch.Item, _ fault: TierFault) -> Int {
        guard !item.isGivenUp else { return 0 }
        giveUp(item.ticket, fault)
        return 1
    }

    private mutating func giveUp(_ ticket: WriteTicket, _ fault: TierFault) {
        // Asked for within microseconds, or never: forgetting is safe long before this many.
        if givenUp.count >= 65_536 { givenUp = [:] }
        givenUp[ticket] = fault
    }
}
