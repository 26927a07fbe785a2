import Glibc
import PantlerModel
import Synchronization

// Which commits go by way of the journal, and how its changes come to their rows. The rules stand at `Journal`.
//
// Once something is in the journal, all changes go there until it is empty: a row that was changed directly, and then left by itself (it
// expired, say), would be followed by the older change of its key from the journal after a crash.
extension Writer {
    private static let retryNanoseconds: UInt64 = 1_000_000_000
    /// How long a commit waits for merging to catch up: well below the 50 ms within which a write is promised to be on disk.
    private static let easingNanoseconds: UInt64 = 20_000_000

    /// Whether a batch goes into the journal. If it must not, the journal is empty afterwards.
    func takesJournal(_ batch: Batch) throws(SQLiteError) -> Bool {
        switch destination(of: batch) {
        case .rows: return false
        case .rowsOnceMerged:
            try mergeBySteps()
            // Many small changes go there again: by rows they would write a page each, or several.
            return destination(of: batch) == .journal
        case .journal: return true
        case .journalToBeMerged:
            journal.isWanted = true
            return true
        case .journalOnceEased:
            let end = monotonicNanoseconds() + Self.easingNanoseconds
            var isMerging = true
            while isMerging, monotonicNanoseconds() < end {
                isMerging = stepMerge()
                watchLog()
                // What is merged takes room twice until the journal's rows go, so that others may have to leave meanwhile.
                catchUp()
            }
            return true
        }
    }

    private func destination(of batch: Batch) -> JournalState.Destination {
        let waiting = context.queue.readJournaled { $0.countInAll }
        return journal.destination(
            changes: batch.count,
            bytes: batch.bytes,
            waiting: waiting,
            context.boundedOptions
        )
    }

    /// Has the journal emptied of what is in it now.
    ///
    /// - Returns: why that cannot be done now, if so.
    func wantMerge() -> TierFault? {
        if let fault = journal.fault, monotonicNanoseconds() < journal.restsUntil { return fault }
        journal.isWanted = true
        return nil
    }

    /// Makes one step of merging, if there is a reason for it.
    ///
    /// - Returns: whether there is more to do.
    func stepMerge() -> Bool {
        let now = monotonicNanoseconds()
        guard now >= journal.restsUntil else { return false }
        if journal.merge == nil {
            guard isMergeDue(at: now) else { return false }
            beginMerge()
        }
        do throws(SQLiteError) {
            try advanceMerge()
            journal.fault = nil
        } catch {
            journal.restsUntil = now + Self.retryNanoseconds
            journal.fault = error.fault
            context.log.warn("The journal cannot be merged", error.description)
            return false
        }
        return journal.merge != nil || journal.isWanted
    }

    private func isMergeDue(at now: UInt64) -> Bool {
        if journal.rows.isEmpty {
            journal.isWanted = false
            return false
        }
        let options = context.boundedOptions
        if journal.isWanted || journal.bytes >= options.journalBytes { return true }
        let (oldest, idle) = (options.journalMilliseconds, options.journalIdleMilliseconds)
        if now >= journal.firstAt + UInt64(max(0, oldest)) * 1_000_000 { return true }
        if now >= journal.lastAt + UInt64(max(0, idle)) * 1_000_000 { return true }
        return context.queue.readJournaled { changes in
            changes.count >= options.journalEntries || changes.bytes >= options.journalBytes / 2
        }
    }

    private func beginMerge() {
        let changes = RowOrder.sorted(context.queue.beginMerge())
        journal.beginMerge(changes)
    }

    private func endMerge() {
        journal.merge = nil
        context.queue.endMerge()
    }

    // MARK: Steps

    private func advanceMerge() throws(SQLiteError) {
        guard var merge = journal.merge else { return }
        if merge.next < merge.changes.count {
            do throws(SQLiteError) {
                merge.next = try mergeTogether(merge.changes[merge.next...])
            } catch {
                guard error.concernsOneRow else { throw error }
                merge.next = try mergeOneByOne(merge.changes[merge.next...])
            }
        } else {
            merge.rows = try removeRows(merge.rows)
        }
        journal.merge = merge
        if merge.next == merge.changes.count, merge.rows.isEmpty { endMerge() }
    }

    /// Merges in one transaction as many as there is time for, at least one.
    ///
    /// - Returns: the place after the last of them.
    private func mergeTogether(_ changes: ArraySlice<KeyedChange>) throws(SQLiteError) -> Int {
        var next = changes.startIndex
        let bounds = context.bounds
        let limit = min(changes.endIndex, next + bounds.stepChanges)
        try transaction(sync: false) { () throws(SQLiteError) in
            next = changes.startIndex
            var bytes: Int64 = 0
            var slice = YieldingSlice(for: Self.stepNanoseconds)
            repeat {
                try merge(changes[next])
                slice.giveWay()
                bytes += changes[next].bytes
                next += 1
            } while next < limit && bytes < bounds.commitBytes && !slice.isOver
        }
        return next
    }

    /// Merges some changes in a transaction each, since one of them is to blame for an error. A change that cannot be merged is given up: a
    /// delete takes its place, so that nothing older is seen.
    ///
    /// - Returns: the place after the last of them.
    private func mergeOneByOne(_ changes: ArraySlice<KeyedChange>) throws(SQLiteError) -> Int {
        let some = changes.prefix(stepRows)
        for keyed in some {
            do throws(SQLiteError) {
                try transaction(sync: false) { () throws(SQLiteError) in try merge(keyed) }
            } catch {
                guard error.concernsOneRow else { throw error }
                if error.code == .outdated { context.counters.corruptions.add(1, ordering: .relaxed) }
                context.counters.lostWrites.add(1, ordering: .relaxed)
                context.log.warn("A change could not be merged", error.description)
                try? transaction(sync: false) { () throws(SQLiteError) in
                    try merge(KeyedChange(keyed.address, .delete(version: keyed.version)))
                }
            }
        }
        return some.endIndex
    }

    /// Removes rows of the journal, as many as there is time for. Those that damage keeps there are over all the same.
    ///
    /// - Returns: those that are left.
    private func removeRows(_ rows: ArraySlice<Int64>) throws(SQLiteError) -> ArraySlice<Int64> {
        var left = rows
        do throws(SQLiteError) {
            try transaction(sync: false) { () throws(SQLiteError) in
                left = rows
                var slice = YieldingSlice(for: Self.stepNanoseconds)
                while let row = left.popFirst() {
                    try journalTable.remove(row)
                    slice.giveWay()
                    if slice.isOver { return }
                }
            }
        } catch {
            guard error.concernsOneRow, let last = rows.last else { throw error }
            context.log.warn("Rows of the journal stay on disk", error.description)
            try transaction(sync: false) { () throws(SQLiteError) in try tables.raise(.journalEnd, to: last) }
            return []
        }
        return left
    }

    /// Empties the journal at once, by as many transactions as that takes, so that the log stays within its bound. Where there is no room for
    /// that, in one.
    func mergeBySteps() throws(SQLiteError) {
        do throws(SQLiteError) {
            while !journal.isEmpty {
                if journal.merge == nil { beginMerge() }
                try advanceMerge()
                watchLog()
                catchUp()
            }
        } catch {
            guard error.fault.cause == .full else { throw error }
            try mergeWhole()
        }
    }

    /// Empties the journal at once, in one transaction. What its rows took is free for the changes' own then, so that this can do on a full
    /// disk too.
    func mergeWhole() throws(SQLiteError) {
        if journal.isEmpty { return }
        do throws(SQLiteError) {
            try mergeWhole(sync: false, with: [:]) {}
        } catch {
            guard error.concernsOneRow else { throw error }
            // By steps it can be done, and what is to blame passed over.
            while !journal.isEmpty {
                if journal.merge == nil { beginMerge() }
                try advanceMerge()
            }
        }
    }

    /// The same in a transaction that begins with `body`.
    ///
    /// - Parameter deletes: what `body` deletes, up to which versions: it need not be merged.
    func mergeWhole(
        sync: Bool,
        with deletes: [EntryAddress: Version],
        _ body: () throws(SQLiteError) -> Void
    ) throws(SQLiteError) {
        let rows = (journal.merge?.rows ?? []) + journal.rows
        let changes = RowOrder.sorted(context.queue.readJournaled { $0.latest })
        try transaction(sync: sync) { () throws(SQLiteError) in
            try body()
            for row in rows { try journalTable.remove(row) }
            for keyed in changes where deletes[keyed.address].map({ $0 < keyed.version }) ?? true {
                try merge(keyed)
            }
        }
        journal.clear()
        context.queue.endAllMerging()
    }

    /// Makes a change of the journal's in its row, unless it is void (see `VoidMarks`) or its namespace is gone.
    private func merge(_ keyed: KeyedChange) throws(SQLiteError) {
        switch keyed.change {
        case .put, .touch:
            if keyed.version <= context.queue.voidThrough(keyed.address.namespace) { return }
        case .delete: break
        }
        try apply(keyed)
    }
}
