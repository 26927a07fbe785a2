import PantlerModel
import Synchronization

/// The one thread that writes, and its connection.
///
/// It takes what the queue has gathered, commits it in one transaction (group commit), and between commits does a step of the work that
/// nobody waits for: see `Writer+Journal`, `Writer+House` and `Writer+Jobs`.
///
/// Durability. The log is written at every commit, so that what is committed survives the process. It is synced (synchronous = FULL) where
/// a `through` writer waits, and else once a second: a power cut takes at most that second of `behind` writes.
// Sendable without the compiler's proof: `DiskTier.open` makes it and hands it to the one thread that uses it from then on;
// `pthread_create` orders the two.
final class Writer: @unchecked Sendable {
    let context: TierContext
    let jobs: JobQueue
    let checkpointer: Checkpointer
    private let keyWalk: KeyWalk
    private let connection: Connection
    private let gauge: LogGauge
    let entries: EntryTable
    let tables: StateTables
    let journalTable: Journal
    var journal: JournalState

    /// What the rows cost, as committed; and how the open transaction moves it.
    private(set) var totals: [NamespaceID: TierUsage]
    private(set) var totalBytes: Int64 = 0
    private var moves: [NamespaceID: TierUsage] = [:]
    /// What the open transaction makes leave, to be reported once it is committed.
    private var departures: [(address: EntryAddress, cause: DepartureCause)] = []
    var house = House()

    private var isSynchronous = true
    private var syncedAt: UInt64 = 0
    /// Whether something was committed since.
    private var isUnsynced = false
    private var anchoredAt: UInt64 = 0
    private var wasFaulty = false
    /// The log's length when the writer last came to rest.
    private var restedBytes: Int64 = 0

    private static let secondNanoseconds: UInt64 = 1_000_000_000
    /// Changes in one commit from which on it is in a hurry, and for how long any other gives way.
    private static let hurriedChanges = 256
    private static let courtesyNanoseconds: UInt64 = 10_000_000
    /// Longest sleep: what only time brings about is seen at the latest then.
    private static let tickMicroseconds: UInt64 = 500_000
    /// Least log that is worth copying when there is nothing else to do.
    private static let idleLogBytes: Int64 = 1 << 20

    /// - Parameter connection: to a file of the present schema, in WAL mode.
    init(
        context: TierContext,
        jobs: JobQueue,
        checkpointer: Checkpointer,
        keyWalk: KeyWalk,
        connection: consuming Connection,
        restored: Restored
    ) throws(SQLiteError) {
        self.context = context
        self.jobs = jobs
        self.checkpointer = checkpointer
        self.keyWalk = keyWalk
        entries = try EntryTable(connection, figures: context.figures)
        tables = try StateTables(connection)
        journalTable = try Journal(connection)
        gauge = LogGauge(connection)
        self.connection = connection
        totals = restored.usage
        totalBytes = restored.usage.values.reduce(0) { $0 + $1.bytes }
        house.dropped = restored.dropped
        let ticket = context.queue.read { $0.latestTicket }
        for namespace in restored.dropped { house.dropTickets[namespace] = ticket }
        house.voids = restored.voids.map { VoidSweep(namespace: $0.key, through: $0.value, ticket: ticket) }
        journal = JournalState(restored.journal)
        context.figures.setUsage(restored.usage.filter { !restored.dropped.contains($0.key) })
    }

    // MARK: The thread

    func run() {
        // An event loop that wakes up on the same core goes first; by its weight the writer still has a quarter of a core that others fill.
        WorkerThread.stepBack(nice: 5)
        while true {
            keyWalk.beginIfDue { Int(clamping: totals.values.reduce(0) { $0 + $1.entries }) }
            switch context.queue.take() {
            case .commit(let batch, let sync):
                commit(batch, sync: sync)
                _ = stepMerge()
                _ = keepHouse(after: batch.count)
            case .wait(let until):
                let isMerging = stepMerge()
                if !keepHouse(), !isMerging {
                    restHouse()
                    sleep(until: until)
                }
            case .closed:
                end()
                return
            }
            watchLog()
        }
    }

    private func sleep(until: UInt64?) {
        let now = monotonicNanoseconds() / 1000
        let wanted = until.map { $0 > now ? $0 - now : 0 } ?? Self.tickMicroseconds
        context.queue.wait(microseconds: min(wanted, Self.tickMicroseconds))
    }

    private func end() {
        for job in jobs.close() { job.completion(.failure(PendingWrites.closedFault)) }
        do throws(SQLiteError) {
            // What cannot be merged now is merged after the next start.
            try mergeWhole()
        } catch {
            context.log.warn("The journal could not be merged at the end", error.description)
        }
        do throws(SQLiteError) {
            try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
            try connection.checkpoint(.truncate)
        } catch {
            context.log.warn("The disk tier could not tidy up at its end", error.description)
        }
        context.queue.end()
    }

    // MARK: Committing

    private func commit(_ batch: Batch, sync: Bool) {
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
            ? .none : Courtesy(until: monotonicNanoseconds() + Self.courtesyNanoseconds)
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
        case .forgetTags(let namespace, let before): try tables.forgetTags(namespace, before: before)
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

    // MARK: Transactions

    /// Runs `body` in a transaction of its own, with the usage that it moved.
    func transaction(sync: Bool, _ body: () throws(SQLiteError) -> Void) throws(SQLiteError) {
        if sync != isSynchronous {
            try connection.execute(sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
            isSynchronous = sync
        }
        do throws(SQLiteError) {
            try connection.execute("BEGIN IMMEDIATE")
            try body()
            for (namespace, move) in moves { try tables.setUsage(of: namespace, total(of: namespace, with: move)) }
            try connection.execute("COMMIT")
        } catch {
            // Some errors have ended the transaction already. If this fails too, the next BEGIN says so.
            if connection.isInTransaction { try? connection.execute("ROLLBACK") }
            moves = [:]
            departures = []
            throw error
        }
        if sync { syncedAt = monotonicNanoseconds() }
        isUnsynced = !sync
        publish()
    }

    /// A row came, went or changed its size within the open transaction.
    func move(_ namespace: NamespaceID, by delta: TierUsage) {
        guard delta != TierUsage() else { return }
        moves[namespace, default: TierUsage()].add(delta)
    }

    /// A row leaves by itself within the open transaction.
    func depart(_ row: EntryTable.Row, _ cause: DepartureCause) {
        departures.append((context.address(row.namespace, row.key), cause))
    }

    private func total(of namespace: NamespaceID, with move: TierUsage) -> TierUsage {
        var usage = totals[namespace] ?? TierUsage()
        usage.add(move)
        return usage
    }

    private func publish() {
        for (namespace, move) in moves {
            let usage = total(of: namespace, with: move)
            totals[namespace] = usage
            totalBytes += move.bytes
            house.touched.insert(namespace)
            if !house.dropped.contains(namespace) { context.figures.setUsage(of: namespace, usage) }
        }
        moves = [:]
        guard !departures.isEmpty else { return }
        let delegate = context.delegate
        for (address, cause) in departures {
            switch cause {
            case .expired: context.figures.expirations.add(1, ordering: .relaxed)
            case .evicted: context.figures.evictions.add(1, ordering: .relaxed)
            case .invalidated: break
            }
            // A newer value on its way in: the entry has not left.
            if context.queue.change(of: address)?.entry == nil { delegate?.departed(address, cause: cause) }
        }
        departures = []
    }

    /// A dropped namespace has no row any more.
    func forgetUsage(of namespace: NamespaceID) {
        totalBytes -= totals.removeValue(forKey: namespace)?.bytes ?? 0
    }

    private func writeAnchor() throws(SQLiteError) {
        // Something has to be written, or there is nothing that COMMIT would sync.
        try tables.set(.commits, Int64(truncatingIfNeeded: monotonicNanoseconds()))
        if let anchor = context.anchor { try tables.set(anchor) }
    }

    // MARK: The log and the file

    /// Keeps the log within its bound: the checkpointer's work first, the writer's own where that does not keep up.
    private func watchLog() {
        let bytes = gauge.bytes
        guard bytes >= context.options.walBytes else { return }
        guard bytes >= context.options.walBytes * 4 else { return checkpointer.poke() }
        do throws(SQLiteError) {
            try checkpointer.copy(connection)
        } catch {
            if error.code.primary != .busy { context.log.warn("A checkpoint failed", error.description) }
        }
    }

    /// Nothing to do: syncs what the last commits left, copies a short log too, and gives room that rows left behind back to the system.
    private func restHouse() {
        let bytes = gauge.bytes
        if bytes >= Self.idleLogBytes, bytes != restedBytes {
            restedBytes = bytes
            checkpointer.poke()
        }
        do throws(SQLiteError) {
            if isUnsynced, monotonicNanoseconds() - syncedAt >= Self.secondNanoseconds {
                try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
            }
            let free = try connection.integer("PRAGMA freelist_count")
            guard free > 256, free * 4 > (try connection.integer("PRAGMA page_count")) else { return }
            // A piece of a few milliseconds; the next when there is nothing to do again.
            try connection.execute("PRAGMA incremental_vacuum(128)")
            if try connection.integer("PRAGMA freelist_count") < free { context.queue.wake() }
        } catch {
            context.log.warn("The disk tier cannot tidy up while it rests", error.description)
        }
    }
}

extension TierUsage {
    fileprivate mutating func add(_ other: TierUsage) {
        entries += other.entries
        bytes += other.bytes
    }
}
