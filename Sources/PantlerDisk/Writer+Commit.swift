import PantlerModel
import Synchronization

// What the queue has gathered, committed in one transaction.
extension Writer {
    /// Changes in one commit from which on it is in a hurry, and for how long any other gives way.
    private static let hurriedChanges = 256
    private static let courtesyNanoseconds: UInt64 = 10_000_000

    func commit(_ batch: Batch, sync: Bool) {
        let sync = sync || monotonicNanoseconds() - syncedAt >= Self.secondNanoseconds
        var rejected: [WriteTicket: TierFault] = [:]
        do throws(SQLiteError) {
            let isJournaled = try takesJournal(batch)
            try write(batch.items[...], journaled: isJournaled, sync: sync, &rejected)
            if isJournaled { context.queue.noteJournaled(batch.items, except: rejected) }
            // Counted before anyone is answered, so that whoever was answered finds it counted.
            context.figures.commits.add(1, ordering: .relaxed)
            context.figures.committedChanges.add(UInt64(batch.count - rejected.count), ordering: .relaxed)
            context.queue.succeed(synced: sync, rejected: rejected)
            if wasFaulty { context.log.notice("The disk tier writes again") }
            wasFaulty = false
        } catch {
            let done = error.fault.cause == .full ? writeLighter(batch.items) : []
            // The next attempt is one of the last: what is copied into the file makes room in the log.
            if context.queue.read({ $0.isClosing }) { try? checkpointer.copy(connection) }
            context.queue.fail(error.fault, done: done)
            context.log.warn("The disk tier cannot write", error.description)
            wasFaulty = true
        }
        for fault in rejected.values { context.log.warn("A change could not be written", fault.description) }
    }

    /// Commits items in one transaction; if one of them alone is to blame, each half of them in one of its own.
    private func write(
        _ items: ArraySlice<Batch.Item>,
        journaled: Bool,
        sync: Bool,
        _ rejected: inout [WriteTicket: TierFault]
    ) throws(SQLiteError) {
        // Whoever waits for a sync, or for room in a queue that fills, is not to wait for others besides.
        var courtesy =
            sync || items.count >= Self.hurriedChanges
            ? .none : Courtesy(for: Self.courtesyNanoseconds)
        var journalBytes: Int64 = 0
        do throws(SQLiteError) {
            try transaction(sync: sync) { () throws(SQLiteError) in
                if journaled { journalBytes = try journalTable.append(items, as: journal.nextID) }
                for place in items.indices where !journaled || items[place].isControl {
                    try apply(items[place].change)
                    courtesy.giveWay()
                }
                let now = monotonicNanoseconds()
                if now - anchoredAt >= Self.secondNanoseconds || items.isEmpty {
                    try writeAnchor()
                    anchoredAt = now
                }
            }
            if journalBytes > 0 { journal.note(bytes: journalBytes, at: monotonicNanoseconds()) }
        } catch {
            guard error.concernsOneRow, let first = items.first else { throw error }
            guard items.count > 1 else {
                rejected[first.ticket] = error.fault
                return
            }
            let middle = items.startIndex + items.count / 2
            try write(items[..<middle], journaled: journaled, sync: sync, &rejected)
            try write(items[middle...], journaled: journaled, sync: sync, &rejected)
        }
    }

    /// There is no room: commits what needs none, so that deletes can make some.
    ///
    /// - Returns: the changes that are committed and synced.
    private func writeLighter(_ items: [Batch.Item]) -> Set<WriteTicket> {
        let lighter = items.filter { !$0.isPut }
        guard !lighter.isEmpty, lighter.count < items.count || !journal.isEmpty else { return [] }
        var deletes: [EntryAddress: Version] = [:]
        for case .entry(let keyed) in lighter.map(\.change) { deletes[keyed.address] = keyed.version }
        do throws(SQLiteError) {
            // A direct change of a row needs an empty journal. What these deletes end need not come to its row.
            try mergeWhole(sync: true, with: deletes) { () throws(SQLiteError) in
                for item in lighter { try apply(item.change) }
            }
            return Set(lighter.map { $0.ticket })
        } catch {
            return []
        }
    }

    private func apply(_ change: Change) throws(SQLiteError) {
        switch change {
        case .entry(let keyed): try apply(keyed)
        case .control(let control): try apply(control)
        }
    }

    func apply(_ keyed: KeyedChange) throws(SQLiteError) {
        let address = keyed.address
        switch keyed.change {
        case .put(let entry, let options):
            // A write that overtook the end of its namespace.
            if isGone(address.namespace) { return }
            let (delta, replaced) = try entries.put(address, entry, options)
            move(address.namespace, by: delta)
            if replaced { context.recentUse.note(address.hash) } else { context.filters.insert(address.hash) }
        case .delete(let version):
            move(address.namespace, by: try entries.delete(address, version: version))
        }
    }

    /// Whether a namespace was dropped, in this run or while rows of it are left.
    func isGone(_ namespace: NamespaceID) -> Bool {
        house.gone.contains(namespace) || house.dropped.contains(namespace)
    }

    private func apply(_ control: Control) throws(SQLiteError) {
        switch control {
        case .namespace(let record): try tables.put(record)
        case .tag(let namespace, let tag, let mark): try tables.put(namespace, tag: tag, mark)
        case .forgetTags(let namespace, let before, let kept):
            try tables.forgetTags(namespace, before: before, except: kept)
        case .dropNamespace(let namespace):
            try tables.drop(namespace)
            house.gone.insert(namespace)
            if !house.dropped.contains(namespace) { house.dropped.append(namespace) }
            house.dropTickets[namespace] = context.queue.read { $0.latestTicket }
            context.figures.setUsage(of: namespace, TierUsage())
        case .versionCeiling(let version): try tables.raise(.versionCeiling, to: Int64(clamping: version))
        case .hotSet(let hashes): try tables.setHotSet(hashes)
        case .void(let namespace, let through):
            // Nobody reads a namespace that is gone.
            guard !house.gone.contains(namespace) else { return context.queue.endVoid(namespace, through: .max) }
            try tables.raiseVoid(namespace, through: through)
            house.voids.removeAll { $0.namespace == namespace }
            let ticket = context.queue.read { $0.latestTicket }
            house.voids.append(VoidSweep(namespace: namespace, through: through, ticket: ticket))
        case .removeDamaged(let row, let checksum):
            guard let (namespace, delta) = try entries.deleteDamaged(id: row, checksum: checksum) else { return }
            move(namespace, by: delta)
        }
    }
}
