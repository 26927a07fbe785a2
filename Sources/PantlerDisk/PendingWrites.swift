import PantlerModel

/// The state of the write queue as a value: events in, what is to be done out. It knows no threads, no clock and no disk; see
/// `WriteQueue` and `Writer` for these.
///
/// A change is *pending*, then *in commit*, then gone. One that could not be committed becomes pending again, in front of what
/// came meanwhile, unless a `through` writer waited for it: that one is told, and the change is taken back.
struct PendingWrites {
    typealias Completion = @Sendable (TierFault?) -> Void
    typealias Answer = (completion: Completion, fault: TierFault?)

    /// Bounds, in microseconds and bytes.
    struct Limits {
        var lingerMicroseconds: UInt64 = 10_000
        var bytes: Int64 = 8 << 20
        var entries = 16_384
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
    private var isClosing = false
    private var isClosed = false
    private(set) var fault: TierFault?
    private var failedAt: UInt64 = 0
    private var retryAt: UInt64 = 0
    private var retryDelay: UInt64 = 0

    init(limits: Limits) {
        self.limits = limits
    }

    // MARK: Figures

    var count: Int { pending.count + (inCommit?.count ?? 0) }
    var bytes: Int64 { pending.bytes + (inCommit?.bytes ?? 0) }
    var isOverBound: Bool { count > limits.entries || bytes > limits.bytes }
    var latestTicket: WriteTicket { nextTicket - 1 }
    /// Nothing with this ticket or a smaller one waits any more.
    func isPast(_ ticket: WriteTicket) -> Bool { ticket <= committed }

    /// When the oldest change came; `nil` if there is none.
    var oldestMicroseconds: UInt64? {
        if inCommit != nil { return inCommitSince }
        return pending.isEmpty ? nil : pendingSince
    }

    // MARK: What the store does

    /// - Returns: the ticket, and whether the writer should look at once. Complexity: O(1).
    mutating func add(_ change: Change, at now: UInt64) -> (ticket: WriteTicket, wake: Bool) {
        let ticket = nextTicket
        nextTicket += 1
        guard !isClosed else {
            giveUp(ticket, Self.closedFault)
            return (ticket, false)
        }
        let wasEmpty = pending.isEmpty
        if wasEmpty { pendingSince = now }
        pending.add(Batch.Item(ticket: ticket, change: change, bytes: change.bytes)) { waiters[$0] != nil }
        return (ticket, wasEmpty || pending.count == limits.ample)
    }

    /// The change of an entry that waits, if one does.
    func change(of address: EntryAddress) -> EntryChange? {
        pending.change(of: address) ?? inCommit?.change(of: address)
    }

    /// The latest waiting changes of a namespace's entries whose keys begin with `prefix`. Complexity: O(queue).
    func changes(in namespace: NamespaceID, prefix: [UInt8]) -> [[UInt8]: EntryChange] {
        var found: [[UInt8]: EntryChange] = [:]
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
        switch durability {
        case .memory: return .settled
        case .behind:
            guard isOverBound, !isClosed else { return .settled }
            roomWaiters.append(completion)
        case .through:
            if let fault = givenUp.removeValue(forKey: ticket) { return .failed(fault) }
            if ticket <= synced { return .settled }
            if isClosed { return .failed(Self.closedFault) }
            waiters[ticket, default: []].append(completion)
        }
        return .waiting(wake: hurry())
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
        var batch = Batch()
        swap(&batch, &pending)
        inCommit = batch
        inCommitSince = pendingSince
        return .commit(batch, sync: isSyncAwaited || isClosing)
    }

    /// The batch is committed.
    ///
    /// - Parameters:
    ///   - synced: whether it was synced too; everything before it then is as well.
    ///   - rejected: changes that could not be made although the rest could. They are taken back.
    /// - Returns: what to call once the lock is given back, and how many changes are lost without anyone being told.
    mutating func succeed(synced isSynced: Bool, rejected: [WriteTicket: TierFault]) -> (answers: [Answer], lost: Int) {
        committed = max(committed, inCommit?.lastTicket ?? 0)
        inCommit = nil
        fault = nil
        retryDelay = 0
        var answers: [Answer] = []
        var lost = 0
        for (ticket, fault) in rejected {
            guard let waiting = waiters.removeValue(forKey: ticket) else {
                giveUp(ticket, fault)
                lost += 1
                continue
            }
            answers += waiting.map { ($0, fault) }
        }
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
    /// Whoever waited for a change in it is told, and the change is taken back. The others are pending again; if that is too
    /// much, the oldest puts become deletes of their keys, so that no older value can come back in their place, and then the
    /// oldest changes of entries go.
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
            // There will be no other attempt.
            lost = (failed.items + pending.items).count { !told.contains($0.ticket) }
            pending = Batch()
            committed = latestTicket
            for waiting in waiters.values.joined() { answers.append((waiting, fault)) }
            waiters = [:]
            answers += takeFlushWaiters(upTo: .max, fault)
        } else {
            let left = failed.items.filter { item in
                !told.contains(item.ticket) || (item.isControl && !done.contains(item.ticket))
            }
            lost = keep(left, fault)
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

    /// Puts items back in front of the pending ones; returns how many were lost. What does not fit is cut down to three quarters of
    /// the bounds, so that writers have some way to go before they are slowed down again.
    private mutating func keep(_ items: [Batch.Item], _ fault: TierFault) -> Int {
        let all = items + pending.items
        let allBytes = all.reduce(0) { $0 + $1.bytes }
        var excessBytes = allBytes > limits.bytes ? allBytes - limits.bytes / 4 * 3 : 0
        var excess = all.count > limits.entries ? all.count - limits.entries / 4 * 3 : 0
        var lost = 0
        var kept = Batch()
        for var item in all {
            if !item.isControl, waiters[item.ticket] == nil, excess > 0 || excessBytes > 0 {
                let bytes = item.bytes
                let wasPut = item.becomeDelete()
                if wasPut {
                    lost += 1
                    giveUp(item.ticket, fault)
                }
                excessBytes -= bytes - item.bytes
                if excess > 0 {
                    if !wasPut {
                        lost += 1
                        giveUp(item.ticket, fault)
                    }
                    excess -= 1
                    excessBytes -= item.bytes
                    continue
                }
            }
            kept.add(item) { waiters[$0] != nil }
        }
        pending = kept
        return lost
    }

    private mutating func takeFlushWaiters(upTo ticket: WriteTicket, _ fault: TierFault?) -> [Answer] {
        defer { flushWaiters.removeAll { $0.ticket <= ticket } }
        return flushWaiters.filter { $0.ticket <= ticket }.map { ($0.completion, fault) }
    }

    private mutating func takeRoomWaiters() -> [Answer] {
        defer { roomWaiters = [] }
        return roomWaiters.map { ($0, nil) }
    }

    private mutating func giveUp(_ ticket: WriteTicket, _ fault: TierFault) {
        // Asked for within microseconds, or never: forgetting is safe long before this many.
        if givenUp.count >= 65_536 { givenUp = [:] }
        givenUp[ticket] = fault
    }
}

extension Batch.Item {
    /// Whether it was a put.
    fileprivate mutating func becomeDelete() -> Bool {
        guard case .entry(let address, .put(let entry, _)) = change else { return false }
        change = .entry(address, .delete(version: entry.version))
        bytes = change.bytes
        return true
    }
}
