import PantlerModel
import Synchronization

/// What house-keeping has to do, and how far it has come.
struct Housekeeping {
    /// Namespaces that are gone and whose rows are still to be removed, one after the other.
    var dropped: [NamespaceID] = []
    /// Of each of these the latest ticket that was given before it was dropped. As long as the journal has changes up to there, new rows can
    /// come of them.
    var dropTickets: [NamespaceID: WriteTicket] = [:]
    /// Namespaces with void rows that are still to be removed, one after the other.
    var voids: [VoidSweep] = []
    /// How many rows of this run could not be removed.
    var unremovable = 0
    /// All namespaces that were dropped in this run: what still comes for them is not written.
    var gone: Set<NamespaceID> = []
    /// Namespaces whose usage has changed since it was last compared with their bounds.
    var touched: Set<NamespaceID> = []
    /// Namespaces that were found above their bounds.
    var crowded: Set<NamespaceID> = []
    /// By how many bytes the rows were above their bound after the last step, and what the bound of the pages in use was then.
    var excess: Int64 = 0
    var usedBytes: Int64 = 0
    /// Where eviction stands among the rows of a namespace or (`nil`) of all.
    var hands: [NamespaceID?: EvictionHand] = [:]
    /// When expired rows were last looked for, and until when they are not, after an error; monotonic nanoseconds, as the next two.
    var dueAskedAt: UInt64 = 0
    var dueRestsUntil: UInt64 = 0
    /// When all namespaces were last compared with their bounds.
    var boundsAskedAt: UInt64 = 0
    /// Until when no house-keeping is done, after an error.
    var restsUntil: UInt64 = 0
}

/// How far the removal of a namespace's void rows has come.
struct VoidSweep {
    let namespace: NamespaceID
    let through: Version
    /// The latest ticket that was given before. As long as the journal has changes up to there, new rows can come of them.
    let ticket: WriteTicket
    /// The row that was looked at last.
    var last: Int64 = 0
    /// Whether all void rows so far could be removed.
    var isWhole = true
}

/// Where eviction stands among rows, and what it has seen of their ages.
struct EvictionHand {
    /// The row that was looked at last.
    var row: Int64 = 0
    /// How many rows of each age were seen lately.
    private var seen = [Int](repeating: 0, count: LastUses.ages + 1)

    /// One part in so many leaves, the oldest of those seen: so a row leaves for every four that are looked at, whatever their ages are.
    private static let leaving = 4
    /// Rows above which the counts are halved, so that the latest weigh most.
    private static let remembered = 4096
    /// Rows whose ages tell well enough what there is.
    private static let enough = 1024

    /// Whether it has seen as many rows as tell what ages there are.
    var hasSeenEnough: Bool { seen.reduce(0, +) >= Self.enough }

    /// Takes note of the ages of rows, and says from which on they leave. Complexity: O(ages).
    mutating func leastAge(adding ages: some Sequence<Int>) -> Int {
        for age in ages { seen[age] += 1 }
        let count = seen.reduce(0, +)
        if count > Self.remembered { seen = seen.map { $0 / 2 } }
        var older = 0
        for age in seen.indices.reversed() {
            older += seen[age]
            if older > 0, older * Self.leaving >= count { return age }
        }
        return 0
    }
}

// House-keeping removes rows: first those that are dead, then those that are too many.
//
// Order of leaving. What has expired (and is past its stale TTL) goes first, always: eviction only begins when nothing is due. Then the rows
// are looked at that have been here longest, by their row numbers, and those of them leave that were not used for longest: here, as
// `RecentUse` knows roughly, or in memory, which knows exactly. Those that stay get new numbers, as if they had just come: FIFO with
// reinsertion, the CLOCK of Corbató's "A paging experiment with the Multics system" (1968), with ages in the place of its one bit. So
// pages of the table empty one after the other, and the order outlives a restart. Exact LRU would make a write of every read.
//
// Each step is one short transaction: readers never wait for it (WAL), and a writer's batch waits for one step at most.
extension Writer {
    /// Rows that one step looks at, at most.
    static let mostStepRows = 128
    /// How long one step may take, in nanoseconds; see `YieldingSlice`.
    static let stepNanoseconds: UInt64 = 3_000_000
    private static let dueEveryNanoseconds: UInt64 = 100_000_000
    private static let boundsEveryNanoseconds: UInt64 = 1_000_000_000
    private static let restNanoseconds: UInt64 = 1_000_000_000
    /// How many rows are passed over where rows cannot be read.
    private static let damagedRows: Int64 = 1024
    /// Cost of a row up to which it moves when it stays. A larger one has pages of its own: to move it would write them anew for nothing.
    private static let mostMovedBytes: Int64 = 16 << 10
    /// Rows that are above their bound by less than one part in so many may wait for the next step.
    private static let slackShare: Int64 = 64
    /// Rows that are looked at one step after the other while they are further above their bound than that, so that rows go as fast as they
    /// come.
    private static let hastyRows = 2048

    /// Rows that one step looks at: fewer where the log must not grow by much at a time.
    var stepRows: Int { min(Self.mostStepRows, context.bounds.stepChanges) }

    /// One step of whatever is most urgent, and one of a job; some steps while the rows are well above their bound, so that what comes in
    /// never outruns what goes.
    ///
    /// - Returns: whether there is more to do.
    func doHousekeeping() -> Bool {
        let now = monotonicNanoseconds()
        watchBallast(at: now)
        guard now >= housekeeping.restsUntil else { return false }
        advanceRecentUse()
        do throws(SQLiteError) {
            let more = try catchUp(with: try stepHousekeeping(at: now))
            let isShrinking = try stepVacuum()
            watchLog()
            return stepJob() || more || isShrinking
        } catch {
            housekeeping.restsUntil = now + Self.restNanoseconds
            context.log.warn("House-keeping on disk failed", error.description)
            // Who waits for a job is told what becomes of it all the same.
            return stepJob()
        }
    }

    /// Makes some steps while the rows are well above their bound, and as many as it takes while the file would grow beyond its own: so what
    /// comes in never outruns what goes, however slow the machine is. Where the rows are above their bound only because that has become
    /// smaller, they may leave in the background.
    ///
    /// - Parameter more: whether there is anything to do.
    /// - Returns: whether there still is.
    private func catchUp(with more: Bool) throws(SQLiteError) -> Bool {
        let bounds = context.bounds
        let most = housekeeping.usedBytes == bounds.usedBytes ? max(bounds.growthBytes, housekeeping.excess) : .max
        var more = more
        var left = Self.hastyRows / stepRows
        var excess = try excessBytes()
        watchLog()
        while more, excess > most || left > 0 && excess > maxBytes / Self.slackShare {
            more = try stepHousekeeping(at: monotonicNanoseconds())
            watchLog()
            left -= 1
            excess = try excessBytes()
        }
        (housekeeping.usedBytes, housekeeping.excess) = (bounds.usedBytes, excess)
        return more
    }

    /// The same between the steps by which the journal is emptied at once. An error is logged, and met again by house-keeping.
    func catchUp() {
        let now = monotonicNanoseconds()
        guard now >= housekeeping.restsUntil else { return }
        do throws(SQLiteError) {
            guard try excessBytes() > context.bounds.growthBytes else { return }
            _ = try catchUp(with: true)
        } catch {
            housekeeping.restsUntil = now + Self.restNanoseconds
            context.log.warn("House-keeping on disk failed", error.description)
        }
    }

    /// - Returns: whether there is more to do.
    func stepHousekeeping(at now: UInt64, always: Bool = false) throws(SQLiteError) -> Bool {
        noteCrowded(at: now)
        let excess = try excessBytes()
        let isCrowded = excess > 0 || !housekeeping.crowded.isEmpty
        let isTime = always || isCrowded || now - housekeeping.dueAskedAt >= Self.dueEveryNanoseconds
        if isTime, now >= housekeeping.dueRestsUntil {
            // Set before the attempt: if that fails, as it does in a damaged part of the index, eviction has its turn all the same.
            housekeeping.dueRestsUntil = now + 60 * Self.restNanoseconds
            if try removeDue() {
                housekeeping.dueRestsUntil = 0
                return true
            }
            housekeeping.dueRestsUntil = 0
            housekeeping.dueAskedAt = now
        }
        if excess > 0, rowCount > 0 { return try evict(from: nil, excess: excess) }
        if let namespace = housekeeping.crowded.first {
            let excess = (totals[namespace]?.bytes ?? 0) - bound(of: namespace)
            if excess <= 0 {
                housekeeping.crowded.remove(namespace)
            } else if try !evict(from: namespace, excess: excess) {
                housekeeping.crowded.remove(namespace)
            }
            return true
        }
        if try removeVoid() { return true }
        return try removeDropped()
    }

    /// Bytes that all rows may cost.
    private var maxBytes: Int64 { context.maxBytes.load(ordering: .relaxed) }

    // MARK: What is dead

    /// - Returns: whether there was anything.
    private func removeDue() throws(SQLiteError) -> Bool {
        guard let now = context.expiryNow?.milliseconds else { return false }
        let rows = try entries.due(at: now, limit: stepRows)
        guard !rows.isEmpty else { return false }
        try step(rows) { (row) throws(SQLiteError) in
            if let deadAt = row.deadAt, deadAt <= now { return try remove(row, .expired) }
            let invalidAt = invalidAt(row)
            if let invalidAt, invalidAt <= now { return try remove(row, .invalidated) }
            try entries.setDue(id: row.id, invalidAt.map { min($0, row.deadAt ?? .max) } ?? row.deadAt)
        }
        return true
    }

    /// Removes void rows (see `VoidMarks`), and then the mark that keeps them from being seen. Where damage keeps some of them, the mark stays
    /// for good.
    ///
    /// - Returns: whether there was anything.
    private func removeVoid() throws(SQLiteError) -> Bool {
        guard let sweep = housekeeping.voids.first, isMerged(sweep.ticket) else { return false }
        do throws(SQLiteError) {
            if try advance(sweep) { housekeeping.voids.removeFirst() }
        } catch {
            guard error.code.primary == .corrupt else { throw error }
            context.log.warn("Void rows stay on disk", error.description)
            housekeeping.voids.removeFirst()
        }
        return true
    }

    /// - Returns: whether the sweep has ended.
    private func advance(_ sweep: VoidSweep) throws(SQLiteError) -> Bool {
        var sweep = sweep
        let rows = try entries.oldest(of: sweep.namespace, after: sweep.last, limit: stepRows * 4)
        guard let end = rows.last?.id else {
            guard sweep.isWhole else { return true }
            try transaction(sync: false) { () throws(SQLiteError) in
                try tables.endVoid(sweep.namespace, through: sweep.through)
            }
            context.queue.endVoid(sweep.namespace, through: sweep.through)
            return true
        }
        let gone = rows.filter { $0.version <= sweep.through }
        let unremovable = housekeeping.unremovable
        let count = try gone.isEmpty ? 0 : step(gone) { (row) throws(SQLiteError) in try remove(row, .evicted) }
        if housekeeping.unremovable > unremovable { sweep.isWhole = false }
        sweep.last = count < gone.count ? gone[count].id - 1 : end
        housekeeping.voids[0] = sweep
        return false
    }

    private func removeDropped() throws(SQLiteError) -> Bool {
        guard let namespace = housekeeping.dropped.first else { return false }
        let rows = try entries.oldest(of: namespace, after: .min, limit: stepRows)
        if rows.isEmpty {
            guard isMerged(housekeeping.dropTickets[namespace] ?? 0) else { return false }
            try transaction(sync: false) { () throws(SQLiteError) in try tables.forgetDropped(namespace) }
            housekeeping.dropTickets[namespace] = nil
            forgetUsage(of: namespace)
            housekeeping.hands[namespace] = nil
            housekeeping.dropped.removeFirst()
        } else {
            try step(rows) { (row) throws(SQLiteError) in try remove(row, nil) }
        }
        return true
    }

    /// Whether the journal is rid of all changes up to a ticket; if it is not, has it emptied.
    private func isMerged(_ ticket: WriteTicket) -> Bool {
        if context.queue.isMerged(ticket) { return true }
        _ = wantMerge()
        return false
    }

    // MARK: What is too much

    private func bound(of namespace: NamespaceID) -> Int64 {
        context.delegate?.maxDisk(of: namespace) ?? .max
    }

    /// Compares namespaces with their bounds: those whose usage has changed, and once a second all, since policies change.
    private func noteCrowded(at now: UInt64) {
        if now - housekeeping.boundsAskedAt >= Self.boundsEveryNanoseconds {
            housekeeping.boundsAskedAt = now
            housekeeping.touched.formUnion(totals.keys)
        }
        for namespace in housekeeping.touched where !housekeeping.dropped.contains(namespace) {
            if totals[namespace]?.bytes ?? 0 > bound(of: namespace) { housekeeping.crowded.insert(namespace) }
        }
        housekeeping.touched = []
    }

    /// - Returns: whether there are rows left to look at.
    private func evict(from namespace: NamespaceID?, excess: Int64) throws(SQLiteError) -> Bool {
        var hand = housekeeping.hands[namespace] ?? EvictionHand()
        // Set before the rows are read: where that fails, the next attempt begins behind them. One damaged page must not end all eviction.
        housekeeping.hands[namespace, default: hand].row = hand.row + Self.damagedRows
        let rows = try entries.oldest(of: namespace, after: hand.row, limit: stepRows)
        guard !rows.isEmpty else {
            housekeeping.hands[namespace]?.row = 0
            return hand.row != 0
        }
        if !hand.hasSeenEnough { try lookAhead(of: namespace, &hand, after: rows.last?.id ?? 0) }
        // The same for the rows that were read: where none of them can be removed, the next attempt begins behind them.
        housekeeping.hands[namespace] = hand
        housekeeping.hands[namespace]?.row = rows.last?.id ?? hand.row
        let ages = age(rows)
        let leastAge = hand.leastAge(adding: ages.values)
        var freed: Int64 = 0
        var moved: Int64 = 0
        let mostMoved = context.bounds.commitBytes
        var last = hand.row
        try step(rows) { (row) throws(SQLiteError) in
            guard freed < excess, moved < mostMoved else { return }
            last = row.id
            if ages[row.id] ?? 0 >= leastAge {
                freed += row.cost
                try remove(row, .evicted)
            } else if row.cost <= Self.mostMovedBytes {
                moved += row.cost
                try entries.moveToEnd(id: row.id)
            }
        }
        hand.row = last
        housekeeping.hands[namespace] = hand
        return true
    }

    /// Has a hand that has seen few rows look at those that it is about to come to: the first rows alone are no measure for the others.
    private func lookAhead(of namespace: NamespaceID?, _ hand: inout EvictionHand, after row: Int64) throws(SQLiteError)
    {
        var next = row
        while !hand.hasSeenEnough {
            let rows = try entries.oldest(of: namespace, after: next, limit: stepRows)
            guard let last = rows.last else { return }
            _ = hand.leastAge(adding: age(rows).values)
            next = last.id
        }
    }

    /// The ages of rows, by their numbers: how many epochs ago each was last used, as far as anyone knows.
    private func age(_ rows: [EntryTable.Row]) -> [Int64: Int] {
        let delegate = context.delegate
        var ages: [Int64: Int] = [:]
        for row in rows {
            let address = context.address(row.namespace, row.key)
            ages[row.id] = context.recentUse.age(address.hash, at: delegate?.lastUse(of: address))
        }
        return ages
    }

    /// Notes that a row was written, which counts as a use of its key.
    func noteUse(_ hash: UInt64) {
        advanceRecentUse()
        context.recentUse.note(hash)
    }

    private func advanceRecentUse() {
        context.recentUse.advance(rows: Int(clamping: rowCount), now: context.microseconds)
    }

    // MARK: Steps

    /// Deletes a row within a step; `cause` is `nil` where nobody is left to be told.
    func remove(_ row: EntryTable.Row, _ cause: DepartureCause?) throws(SQLiteError) {
        try entries.delete(id: row.id)
        effects.move(row.namespace, by: TierUsage(entries: -1, bytes: -row.cost))
        if let cause, !housekeeping.dropped.contains(row.namespace) { depart(row, cause) }
    }

    /// Does the same to some rows in one transaction, until the step's time is over. Where damage keeps it from ending, each row has a
    /// transaction of its own, and those that still fail are passed over.
    ///
    /// - Returns: how many rows it has dealt with: at least one, unless there was none.
    /// - Throws: if it could deal with none.
    @discardableResult
    func step(
        _ rows: [EntryTable.Row],
        _ body: (EntryTable.Row) throws(SQLiteError) -> Void
    ) throws(SQLiteError) -> Int {
        do throws(SQLiteError) {
            var count = 0
            try transaction(sync: false) { () throws(SQLiteError) in
                var slice = YieldingSlice(for: Self.stepNanoseconds)
                for row in rows {
                    try body(row)
                    slice.giveWay()
                    count += 1
                    if slice.isOver { return }
                }
            }
            return count
        } catch {
            guard error.code.primary == .corrupt, rows.count > 1 else { throw error }
            var done = 0
            for row in rows {
                do throws(SQLiteError) {
                    try transaction(sync: false) { () throws(SQLiteError) in try body(row) }
                    done += 1
                } catch {
                    housekeeping.unremovable += 1
                    context.log.warn("A damaged row cannot be removed", error.description)
                }
            }
            if done == 0 { throw error }
            return rows.count
        }
    }
}
