import PantlerModel
import Synchronization

// How the changes that the queue has gathered are committed, in one transaction where that is possible.
extension Writer {
    /// A commit of so many changes is in a hurry and never gives way to other threads; any other one does for so long.
    private static let hurriedChanges = 256
    private static let yieldingNanoseconds: UInt64 = 10_000_000
    /// A change that has waited for so much longer than others are waited for is late: 50 ms are promised.
    private static let lateMicroseconds: UInt64 = 15_000

    /// What has become of the changes of a batch so far.
    private struct CommitOutcome {
        var rejected: [WriteTicket: TierFault] = [:]
        /// Changes that are committed, and synced if the batch is to be.
        var done: Set<WriteTicket> = []
    }

    func commit(_ batch: Batch, sync isAwaited: Bool) {
        var outcome = CommitOutcome()
        isUndone = true
        do throws(SQLiteError) {
            var sync = false
            do throws(SQLiteError) {
                sync = try attempt(batch, sync: isAwaited, &outcome)
            } catch {
                // To cut the log may be enough to make room.
                guard error.fault.cause == .full, !context.isShortOfRoom, cutLogForRoom() else { throw error }
                sync = try attempt(batch, sync: isAwaited, &outcome)
            }
            let rejected = outcome.rejected
            // Counted before anyone is answered, so that whoever was answered finds it counted.
            context.counters.commits.add(1, ordering: .relaxed)
            context.counters.committedChanges.add(UInt64(batch.count - rejected.count), ordering: .relaxed)
            context.queue.succeed(synced: sync, rejected: rejected)
            if wasFaulty { context.log.notice("The disk tier writes again") }
            wasFaulty = false
        } catch {
            let isUndone = isUndone
            if error.fault.cause == .full {
                outcome.done.formUnion(writeWithinBallast(batch.items.filter { !outcome.done.contains($0.ticket) }))
            }
            // While the tier closes there are few attempts left: to copy the log makes room in it for the next one.
            if context.queue.read({ $0.isClosing }) { _ = try? checkpointer.copy(connection) }
            context.queue.fail(error.fault, done: outcome.done, isUndone: isUndone)
            context.log.warn("The disk tier cannot write", error.description)
            wasFaulty = true
        }
        for fault in outcome.rejected.values { context.log.warn("A change could not be written", fault.description) }
    }

    /// - Returns: whether it was synced.
    private func attempt(
        _ batch: Batch,
        sync isAwaited: Bool,
        _ outcome: inout CommitOutcome
    ) throws(SQLiteError) -> Bool {
        if isAwaited { lookAtLog(isThorough: false) }
        // While the tier closes a commit is made even where nobody can tell whether it will last.
        if isAwaited, !context.queue.read({ $0.isClosing }) { try context.files.checkDamage() }
        try checkRoom(for: batch)
        let sync = try isSynced(isAwaited)
        let isJournaled = try takesJournal(batch)
        // What an attempt before this one has committed or rejected is not tried again.
        let items = batch.items.filter { !outcome.done.contains($0.ticket) && outcome.rejected[$0.ticket] == nil }
        makeRoomInLog(pages: Self.mostPages(of: batch, journaled: isJournaled))
        try write(items[...], journaled: isJournaled, sync: sync, &outcome)
        return sync
    }

    /// Pages that a commit writes at most, about.
    private static func mostPages(of batch: Batch, journaled isJournaled: Bool) -> Int {
        // A value of somewhat more than half a page has a page of its own, and each row changes the indexes. What else a commit writes is
        // the usage, the anchor of the clock, and what SQLite keeps of free pages.
        let values = Int(clamping: batch.bytes / Int64(RowCost.pageBytes))
        return isJournaled ? values + 8 : 2 * values + 3 * batch.count + 8
    }

    /// Whether a commit is synced: it is where someone waits for that, and once a second.
    ///
    /// - Throws: where a sync would prove nothing, and someone waits for it or the log has come to its bound. Otherwise the commit is made
    ///   without a sync: it survives a `kill -9`, and the log will be written anew with all that is in it.
    private func isSynced(_ isAwaited: Bool) throws(SQLiteError) -> Bool {
        do throws(SQLiteError) {
            try mendLog()
            return isAwaited || monotonicNanoseconds() - syncedAt >= Self.secondNanoseconds
        } catch {
            if isAwaited || isLogLong { throw error }
            return false
        }
    }

    /// Commits items in one transaction. If that fails by the fault of one of them, each half has a transaction of its own.
    private func write(
        _ items: ArraySlice<Batch.Item>,
        journaled: Bool,
        sync: Bool,
        _ outcome: inout CommitOutcome
    ) throws(SQLiteError) {
        // Whoever waits for a sync, or for room in a queue that fills, is not to wait for others besides; nor is a change that is late:
        // others keep the cores busy then, and each yield costs a turn of theirs.
        var slice =
            sync || items.count >= Self.hurriedChanges || isLate
            ? .none : YieldingSlice(for: Self.yieldingNanoseconds)
        var journalBytes: Int64 = 0
        do throws(SQLiteError) {
            try transaction(sync: sync) { () throws(SQLiteError) in
                if journaled { journalBytes = try journalTable.append(items, as: journal.nextID) }
                for place in items.indices where !journaled || items[place].isControl {
                    try apply(items[place])
                    slice.giveWay()
                }
                let now = monotonicNanoseconds()
                if now - anchoredAt >= Self.secondNanoseconds || items.isEmpty { try writeAnchor() }
            }
            if journalBytes > 0 { journal.note(bytes: journalBytes, at: monotonicNanoseconds()) }
            if journaled { context.queue.noteJournaled(items) }
        } catch {
            guard error.concernsOneRow, let first = items.first else { throw error }
            guard items.count > 1 else {
                outcome.rejected[first.ticket] = error.fault
                if error.code == .outdated {
                    context.counters.corruptions.add(1, ordering: .relaxed)
                    raiseCeiling()
                }
                return
            }
            let middle = items.startIndex + items.count / 2
            try write(items[..<middle], journaled: journaled, sync: sync, &outcome)
            // Should the second half fail altogether, the first is committed all the same.
            for item in items[..<middle] where outcome.rejected[item.ticket] == nil { outcome.done.insert(item.ticket) }
            try write(items[middle...], journaled: journaled, sync: sync, &outcome)
        }
    }

    /// Whether a change of the batch in commit is late.
    private var isLate: Bool {
        let (oldest, linger) = context.queue.read { ($0.oldestMicroseconds, $0.limits.lingerMicroseconds) }
        guard let oldest else { return false }
        return monotonicNanoseconds() / 1000 >= oldest + linger + Self.lateMicroseconds
    }

    // MARK: A full disk

    /// While the ballast is given up, its room is for what can make some: no value is written that would take it.
    private func checkRoom(for batch: Batch) throws(SQLiteError) {
        guard context.isShortOfRoom, !makeBallast(), batch.items.contains(where: { $0.isPut }) else { return }
        throw SQLiteError(code: .full, message: "What is left of the device is kept for deletes and invalidations.")
    }

    /// Gives the ballast up on a full device, and commits what needs next to no room, so that deletes can make some.
    ///
    /// - Returns: the changes that are committed and synced.
    private func writeWithinBallast(_ items: [Batch.Item]) -> Set<WriteTicket> {
        let hasGiven = giveBallast()
        let lighter = items.filter { !$0.isPut }
        var done: Set<WriteTicket> = []
        if !lighter.isEmpty, hasGiven || lighter.count < items.count || !journal.isEmpty {
            done = appendLighter(lighter) ?? writeLighter(lighter)
        }
        watchLog()
        return done
    }

    /// Writes changes that need little room as the next row of the journal, where that is in use.
    ///
    /// - Returns: `nil` if it cannot be done like that.
    private func appendLighter(_ items: [Batch.Item]) -> Set<WriteTicket>? {
        guard !journal.isEmpty, journal.isUsable else { return nil }
        var outcome = CommitOutcome()
        do throws(SQLiteError) {
            try write(items[...], journaled: true, sync: true, &outcome)
        } catch {
            return nil
        }
        // The journal is to be emptied: its changes come to their rows, or end with the deletes, and its own rows make room.
        journal.isWanted = true
        return Set(items.map(\.ticket)).subtracting(outcome.rejected.keys)
    }

    /// - Returns: the changes that are committed and synced.
    private func writeLighter(_ lighter: [Batch.Item]) -> Set<WriteTicket> {
        var deletes: [EntryAddress: Version] = [:]
        for case .entry(let keyed) in lighter.map(\.change) { deletes[keyed.address] = keyed.version }
        do throws(SQLiteError) {
            // Rows may be changed directly only with an empty journal, so it is merged with them, but for changes that these deletes end.
            try mergeWhole(sync: true, with: deletes) { () throws(SQLiteError) in
                for item in lighter { try apply(item) }
            }
            return Set(lighter.map { $0.ticket })
        } catch {
            return []
        }
    }

    private func apply(_ item: Batch.Item) throws(SQLiteError) {
        do throws(SQLiteError) {
            switch item.change {
            case .entry(let keyed): try apply(keyed)
            case .control(let control): try apply(control)
            }
        } catch {
            // A delete in the place of a change that was given up only has to keep older ones from being seen: a newer row is no fault.
            guard error.code == .outdated, item.isGivenUp else { throw error }
        }
    }

    func apply(_ keyed: KeyedChange) throws(SQLiteError) {
        let address = keyed.address
        switch keyed.change {
        case .put(let entry, let options):
            // This write came in after the end of its namespace.
            if isGone(address.namespace) { return }
            let (delta, replaced) = try entries.put(address, entry, options, keyed.deflation)
            effects.move(address.namespace, by: delta)
            if replaced { effects.rewritten.append(address.hash) } else { effects.inserted.append(address.hash) }
        case .touch(let touch):
            if isGone(address.namespace) { return }
            guard let delta = try entries.touch(address, touch) else {
                // The row that the touch was meant for is not there, and an older one must not be seen in its place.
                effects.move(address.namespace, by: try entries.delete(address, version: touch.head.version))
                effects.missed.append((address, touch.head.version))
                return
            }
            effects.move(address.namespace, by: delta)
            effects.rewritten.append(address.hash)
        case .delete(let version):
            effects.move(address.namespace, by: try entries.delete(address, version: version))
        }
    }

    /// Whether a namespace was dropped, in this run or while rows of it are left, or in the open transaction.
    func isGone(_ namespace: NamespaceID) -> Bool {
        housekeeping.gone.contains(namespace) || housekeeping.dropped.contains(namespace)
            || effects.dropped.contains(namespace)
    }

    private func apply(_ control: Control) throws(SQLiteError) {
        switch control {
        // A record that came in after the end of its namespace would bring that back.
        case .namespace(let record): if !isGone(record.id) { try tables.put(record) }
        case .tag(let namespace, let tag, let mark):
            if !isGone(namespace) { try tables.put(namespace, tag: tag, mark) }
        case .forgetTags(let namespace, let before, let kept):
            try tables.forgetTags(namespace, before: before, except: kept)
        case .dropNamespace(let namespace):
            try tables.drop(namespace)
            effects.dropped.insert(namespace)
            effects.voids[namespace] = nil
        case .token(let record): try tables.put(record)
        case .removeToken(let id): try tables.remove(id)
        case .versionCeiling(let version): try tables.raise(.versionCeiling, to: Int64(clamping: version))
        case .hotSet(let hashes): try tables.setHotSet(hashes)
        case .void(let namespace, let through):
            // Nobody reads in a namespace that is gone, so that it needs no mark.
            if housekeeping.gone.contains(namespace) || effects.dropped.contains(namespace) {
                effects.endedVoids.insert(namespace)
                return
            }
            try tables.raiseVoid(namespace, through: through)
            effects.voids[namespace] = through
        case .removeDamaged(let row, let checksum):
            guard let (namespace, delta) = try entries.deleteDamaged(id: row, checksum: checksum) else { return }
            effects.move(namespace, by: delta)
        }
    }
}
