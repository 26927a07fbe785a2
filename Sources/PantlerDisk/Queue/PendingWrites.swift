import PantlerModel

/// The bounds of the write queue, in microseconds and bytes.
struct QueueLimits {
    /// How long a change may wait for others to be committed with it.
    var lingerMicroseconds: UInt64
    /// Bytes of changes, and their number, above which whoever writes has to wait.
    var bytes: Int64
    var entries: Int
    /// A commit begins at once when so many changes wait: more of them in one transaction would save nothing.
    var ample = 2048
    /// Pauses between attempts while writing fails; the first doubles up to the second unless someone waits.
    var firstRetryMicroseconds: UInt64 = 25_000
    var lastRetryMicroseconds: UInt64 = 1_000_000

    init(_ options: DiskOptions = DiskOptions()) {
        lingerMicroseconds = UInt64(max(0, options.lingerMilliseconds)) * 1000
        bytes = options.queueBytes
        entries = options.queueEntries
    }
}

/// The state of the write queue as a value: it takes events, and returns what is to be done. It knows no threads, no clock and no disk; see
/// `WriteQueue` and `Writer` for these.
///
/// A change is *pending*, then *in commit*, and then gone: into its row, or among the `JournaledChanges`. One that could not be committed
/// becomes pending again, unless someone has to be told: see `PendingWrites+Failure`.
struct PendingWrites {
    typealias Completion = @Sendable (TierFault?) -> Void
    typealias Answer = (completion: Completion, fault: TierFault?)

    enum Work {
        case commit(Batch, sync: Bool)
        /// There is nothing to do before that moment, in monotonic microseconds; `nil` = before another change comes.
        case wait(until: UInt64?)
        case closed
    }

    let limits: QueueLimits
    var pending = Batch()
    var inCommit: Batch?
    /// When the first of the pending changes came, and of those in commit; monotonic microseconds, as all moments here.
    var pendingSince: UInt64 = 0
    var inCommitSince: UInt64 = 0
    /// The latest ticket that was given before the batch in commit was taken: every change up to it is in that batch, among the `held`, or gone.
    private(set) var inCommitThrough: WriteTicket = 0
    private var nextTicket: WriteTicket = 1
    /// No change with this ticket or a smaller one is in the queue.
    var committed: WriteTicket = 0
    /// Pending changes that were left behind when the last batch was taken: their values were not deflated yet, or there were too many bytes
    /// before them. All others up to `inCommitThrough` were in that batch, or in one before it.
    private(set) var held: Set<WriteTicket> = []
    /// Changes up to this ticket are synced, but for those that were given up.
    private var synced: WriteTicket = 0
    /// Callers who wait for a certain change to be synced.
    var waiters = TicketWaiters()
    /// Callers who wait for everything up to a ticket to be synced. No change is taken back for their sake.
    private var flushWaiters = TicketWaiters()
    /// Callers who wait until the queue is within its bounds again.
    private var roomWaiters: [Completion] = []
    /// Changes that failed before their writers have called `settle`, as each of these does.
    var untold: [WriteTicket: TierFault] = [:]
    /// Other changes that were given up, in case somebody asks for them.
    var givenUp: [WriteTicket: TierFault] = [:]
    /// Whether the next batch is to be taken at once, and not when the linger is over.
    private var isUrgent = false
    /// Whether the writer found no change whose value is deflated, and so has to be told of the next.
    private var isStarved = false
    /// When a batch was last taken that left changes behind: they linger from then on.
    private var lingersSince: UInt64 = 0
    var voids: VoidMarks
    private(set) var isClosing = false
    /// How many commits have failed since the tier began to close.
    var closingFailures = 0
    private var isClosed = false
    /// Why the last commit failed; `nil` after one that succeeded.
    var fault: TierFault?
    var failedAt: UInt64 = 0
    /// When the next attempt is made after a failure, and the pause before it, which grows.
    var retryAt: UInt64 = 0
    var retryDelay: UInt64 = 0

    /// - Parameter voids: the marks that an earlier run has left; see `voidThrough`.
    init(limits: QueueLimits, voids: [NamespaceID: Version] = [:]) {
        self.limits = limits
        self.voids = VoidMarks(voids)
    }

    // MARK: Figures

    var count: Int { pending.count + (inCommit?.count ?? 0) }
    var bytes: Int64 { pending.bytes + (inCommit?.bytes ?? 0) }
    var isOverBound: Bool { count > limits.entries || bytes > limits.bytes }
    /// Whether a writer has to wait until there is room.
    var holdsWriters: Bool { isOverBound && !isClosed }
    var latestTicket: WriteTicket { nextTicket - 1 }
    /// Whether no change with this ticket or a smaller one is in the queue any more.
    func isPast(_ ticket: WriteTicket) -> Bool { ticket <= committed }

    /// When the oldest change in the queue came; `nil` if it is empty.
    var oldestMicroseconds: UInt64? {
        if inCommit != nil { return inCommitSince }
        return pending.isEmpty ? nil : pendingSince
    }

    // MARK: What the store does

    /// - Parameter durability: with `through` the change is committed with a sync, although `settle` is only called later.
    /// - Returns: the ticket, and whether the writer should look at once. Complexity: O(1).
    mutating func add(
        _ change: consuming Change,
        _ durability: Durability = .behind,
        at now: @autoclosure () -> UInt64
    ) -> (ticket: WriteTicket, wake: Bool) {
        let ticket = takeTicket()
        guard !isClosed else {
            giveUp(ticket, Self.closedFault)
            return (ticket, false)
        }
        let wasEmpty = pending.isEmpty
        if wasEmpty { pendingSince = now() }
        pending.add(Batch.Item(ticket: ticket, change: change, isAwaited: durability == .through)) {
            waiters.areWaiting(for: $0)
        }
        return (ticket, wasEmpty || pending.count == limits.ample)
    }

    /// The latest change of an entry that waits, if there is one.
    func change(of address: EntryAddress) -> EntryChange? {
        pending.change(of: address) ?? inCommit?.change(of: address)
    }

    /// The latest changes of a namespace's entries whose keys begin with `prefix`, of those that wait. Complexity: O(queue).
    func changes(in namespace: NamespaceID, prefix: [UInt8]) -> [[UInt8]: EntryChange] {
        var found: [[UInt8]: EntryChange] = [:]
        for batch in [inCommit, pending] {
            for item in batch?.items ?? [] {
                guard case .entry(let keyed) = item.change, keyed.address.isIn(namespace, prefix: prefix) else {
                    continue
                }
                found[keyed.address.key] = keyed.change.following(found[keyed.address.key])
            }
        }
        return found
    }

    /// Rows of the namespace with this version or a smaller one must not be seen; 0 if all may. A read asks for this together with `change(of:)`,
    /// before it looks at the row: a row that becomes void later could rightly be seen when the read began.
    func voidThrough(_ namespace: NamespaceID) -> Version { voids.through(namespace) }

    /// Ends the mark of void rows: no row up to this version is left.
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
            if let fault = untold.removeValue(forKey: ticket) ?? givenUp.removeValue(forKey: ticket) {
                return .failed(fault)
            }
            if isClosed { return .failed(Self.closedFault) }
            waiters.add(ticket, completion)
        }
        return .waiting(wake: hurry())
    }

    /// Whether a change is as durable as its namespace asks, and was not given up.
    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        switch durability {
        case .memory: true
        case .behind: !holdsWriters
        case .through: ticket <= synced && untold[ticket] == nil && givenUp[ticket] == nil
        }
    }

    /// Waits until everything that came so far is committed and synced, or has failed to be.
    mutating func flush(_ completion: @escaping Completion) -> Settling {
        if latestTicket <= synced { return .settled }
        if isClosed { return .failed(Self.closedFault) }
        flushWaiters.add(latestTicket, completion)
        return .waiting(wake: hurry())
    }

    /// Notes that someone waits from now on. Returns whether the writer has to be woken, since it may sleep until a later moment.
    private mutating func hurry() -> Bool {
        var wake = !isUrgent
        isUrgent = true
        if fault != nil, retryAt > failedAt + limits.firstRetryMicroseconds {
            retryAt = failedAt + limits.firstRetryMicroseconds
            wake = true
        }
        return wake
    }

    var isSyncAwaited: Bool { !waiters.isEmpty || !flushWaiters.isEmpty }

    mutating func close() { isClosing = true }

    // MARK: What the writer does

    /// What to do now. `commit` has to be followed by `succeed` or `fail`.
    ///
    /// - Parameters:
    ///   - limit: bytes of one commit, if it has more than one change.
    ///   - isBound: whether no commit may have more, since the folder is small. Otherwise many small changes are taken together: to choose
    ///     among them would hold those up who put in more.
    mutating func take(at now: UInt64, limit: Int64 = .max, isBound: Bool = true) -> Work {
        if pending.isEmpty, !isSyncAwaited {
            isUrgent = false
            if isClosing { return .closed }
            guard fault != nil else { return .wait(until: nil) }
            guard now >= retryAt else { return .wait(until: retryAt) }
            // Nobody waits, but only a commit can tell whether the fault is over.
            inCommit = pending
            inCommitSince = now
            inCommitThrough = latestTicket
            return .commit(pending, sync: true)
        }
        if !isClosing {
            let due = fault != nil ? retryAt : max(pendingSince, lingersSince) + limits.lingerMicroseconds
            let isRipe = now >= due || (fault == nil && (isUrgent || pending.count >= limits.ample))
            if !isRipe { return .wait(until: due) }
        }
        isUrgent = false
        held = []
        // While the tier closes no value is waited for, and what is left after a failure is tried as a whole.
        let isWhole =
            isClosing
            ? fault != nil || pending.bytes <= limit || pending.count == 1
            : pending.isReady(limit: isBound || pending.count <= limits.ample ? limit : .max)
        if isWhole {
            let batch = pending
            pending = Batch(like: batch)
            inCommit = batch
        } else {
            let batch = pending.takeReady(limit: limit, evenUnready: isClosing) { waiters.areWaiting(for: $0) }
            held = Set(pending.items.map(\.ticket))
            lingersSince = now
            // What was left behind only for its size is committed next; what is not deflated yet, once it is.
            isUrgent = pending.items.contains { $0.isReady }
            isStarved = batch.isEmpty && !isOtherSyncAwaited
            if isStarved { return .wait(until: nil) }
            inCommit = batch
        }
        inCommitSince = pendingSince
        inCommitThrough = latestTicket
        let batch = inCommit ?? Batch()
        return .commit(batch, sync: isSyncAwaited || isClosing || batch.isAwaited)
    }

    /// Whether somebody waits for the sync of what is committed already.
    private var isOtherSyncAwaited: Bool {
        waiters.contains(where: { !held.contains($0) }) || flushWaiters.contains(where: { $0 <= committed })
    }

    /// Notes that a value is deflated. Returns whether the writer has to be woken.
    mutating func noteReady() -> Bool {
        defer { isStarved = false }
        guard isSyncAwaited else { return isStarved }
        return hurry() || isStarved
    }

    /// Notes that the batch in commit is committed.
    ///
    /// - Parameters:
    ///   - synced: whether it was synced too: everything that was committed before is then synced as well.
    ///   - rejected: changes that could not be made although the rest could. They are taken back where someone waits, and given up
    ///     elsewhere.
    /// - Returns: what to call once the lock is given back, and how many changes are lost without anyone being told.
    mutating func succeed(
        synced isSynced: Bool,
        rejected: [WriteTicket: TierFault],
        at now: @autoclosure () -> UInt64 = 0
    ) -> (answers: [Answer], lost: Int) {
        let batch = inCommit ?? Batch()
        inCommit = nil
        fault = nil
        if rejected.isEmpty { retryDelay = 0 }
        var answers: [Answer] = []
        var lost = 0
        if let anyFault = rejected.values.first {
            var left: [Batch.Item] = []
            var refusedControl: TierFault?
            for item in batch.items {
                guard let fault = rejected[item.ticket] else { continue }
                let isAwaited = waiters.areWaiting(for: item)
                answers += tell(item, item.isControl ? fault.with(.kept) : fault)
                if item.isControl {
                    // A control is never given up, but there is no hurry to try again what was refused.
                    var item = item
                    item.isAwaited = false
                    left.append(item)
                    refusedControl = fault
                } else {
                    left += isAwaited ? takeBack(item, &lost) : reject(item, fault, &lost)
                }
            }
            if let refusedControl { pause(because: refusedControl, at: now()) }
            // The tickets of this batch are behind `committed` from now on, so what is left needs new ones.
            for place in left.indices { left[place].ticket = takeTicket() }
            if pending.isEmpty { pendingSince = inCommitSince }
            lost += isClosing ? giveUpWhileClosing(left, anyFault) : keep(left, anyFault)
        }
        committed = pending.isEmpty ? latestTicket : max(committed, lastCommitted)
        if isSynced {
            synced = committed
            answers += takeCommittedWaiters().map { ($0.completion, nil) }
            answers += takeFlushWaiters(upTo: synced, nil)
        }
        // Some callers began to wait while the batch was written, too late for its sync: the next commit is made for them at once.
        if isSyncAwaited { isUrgent = true }
        if !isOverBound { answers += takeRoomWaiters() }
        return (answers, lost)
    }

    /// Notes that the writer has ended, and returns what those are told who still wait.
    mutating func end() -> [Answer] {
        isClosed = true
        let left: [Answer] = waiters.take(upTo: .max).map { ($0.completion, Self.closedFault) }
        return left + takeFlushWaiters(upTo: .max, Self.closedFault) + takeRoomWaiters()
    }

    // MARK: Inside

    /// All changes up to this ticket have been in a batch.
    private var lastCommitted: WriteTicket { held.min().map { $0 - 1 } ?? inCommitThrough }

    /// Takes out callers who wait for changes that have been in a batch, or were given up.
    mutating func takeCommittedWaiters() -> [(ticket: WriteTicket, completion: Completion)] {
        waiters.take(upTo: max(committed, inCommitThrough), except: held)
    }

    static let closedFault = TierFault(.closed, "The disk tier is closed.")

    mutating func takeTicket() -> WriteTicket {
        defer { nextTicket += 1 }
        return nextTicket
    }

    /// Notes a failure: there is no attempt for a while, which is longer each time.
    mutating func pause(because fault: TierFault, at now: UInt64) {
        self.fault = fault
        failedAt = now
        retryDelay = min(max(retryDelay * 2, limits.firstRetryMicroseconds), limits.lastRetryMicroseconds)
        retryAt = now + retryDelay
    }

    /// Tells those who wait for a change that it failed, or whoever comes to ask for it.
    mutating func tell(_ item: Batch.Item, _ fault: TierFault) -> [Answer] {
        let waiting = waiters.take(item.ticket)
        if waiting.isEmpty, item.isAwaited { untold[item.ticket] = fault }
        return waiting.map { ($0, fault) }
    }

    mutating func takeFlushWaiters(upTo ticket: WriteTicket, _ fault: TierFault?) -> [Answer] {
        flushWaiters.take(upTo: ticket).map { ($0.completion, fault) }
    }

    mutating func takeRoomWaiters() -> [Answer] {
        defer { roomWaiters = [] }
        return roomWaiters.map { ($0, nil) }
    }
}
