import PantlerModel
import Synchronization

/// The one thread that writes, and its connection.
///
/// It takes what the queue has gathered, commits it in one transaction (group commit), and between commits does a step of the work that
/// nobody waits for: see `Writer+Commit`, `Writer+Journal`, `Writer+Housekeeping` and `Writer+Jobs`.
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
    let connection: SQLiteConnection
    private let gauge: WALGauge
    private let watchedWAL: WatchedWAL
    private let ballast: Ballast
    private let pages: PageGauge
    let entries: EntryTable
    let tables: StateTables
    let journalTable: Journal
    var journal: JournalState

    /// What the rows cost, as committed.
    private(set) var totals: [NamespaceID: TierUsage]
    private(set) var totalBytes: Int64 = 0
    private(set) var rowCount: Int64 = 0
    /// What the open transaction brings about outside of the file; see `TransactionEffects`.
    var effects = TransactionEffects()
    var housekeeping = Housekeeping()

    /// What the start has found and put in the place of damaged rows; `nil` once it is written, or where nothing was damaged.
    private var unwritten: RestoredState?

    /// Whether the connection is set to sync the log with each commit (synchronous = FULL).
    private var isSynchronous = true
    /// When the log was last synced; monotonic nanoseconds, as all moments here.
    var syncedAt: UInt64 = 0
    /// Whether something was committed since the last sync.
    private(set) var isUnsynced = false
    private var hasRaisedCeiling = false
    /// Whether the log is known to hold nothing of the last transaction that failed.
    var isUndone = true
    /// Why the log could not be written anew the last time, and until when no other attempt is made.
    private var mendError: SQLiteError?
    private var mendRestsUntil: UInt64 = 0
    /// When the clock's anchor was last written.
    var anchoredAt: UInt64 = 0
    /// Whether the last commit failed: the next one that succeeds is logged.
    var wasFaulty = false
    /// Whether somebody else has cut the log short.
    private var isLogCut = false
    /// What the last look at the log came to.
    private var logLook = WALFile.Look()
    /// Until when the log is not cut back.
    private var logRestsUntil: UInt64 = 0
    /// The log's length when the writer last came to rest.
    private var restedBytes: Int64 = 0
    /// Bytes that the database's file has on the device, at least.
    private var reservedBytes: Int64 = 0
    /// When the writer last looked whether there is room for the ballast.
    private var ballastAskedAt: UInt64 = 0
    /// When a transaction was last tried only to see whether writing goes well again.
    private var recoveryTriedAt: UInt64 = 0
    /// The log's length when it last could not be cut, since somebody read in it; 0 = it could.
    private var heldLogBytes: Int64 = 0

    static let secondNanoseconds: UInt64 = 1_000_000_000
    /// The longest sleep: what nobody tells of, as an expiry, is seen at the latest when it ends.
    private static let tickMicroseconds: UInt64 = 500_000
    /// The shortest log that is worth copying when there is nothing else to do.
    private static let idleLogBytes: Int64 = 1 << 20
    private static let mendPauseNanoseconds: UInt64 = 250_000_000
    /// How long readers are waited for when the log is to be cut: those of this tier are done sooner.
    private static let cutPatienceMilliseconds: Int32 = 20
    /// Free pages that stay in the file in any case.
    private static let keptFreePages: Int64 = 256

    /// - Parameter connection: to a file of the present schema, in WAL mode.
    init(
        context: TierContext,
        jobs: JobQueue,
        checkpointer: Checkpointer,
        keyWalk: KeyWalk,
        connection: consuming SQLiteConnection,
        restored: RestoredState
    ) throws(SQLiteError) {
        self.context = context
        self.jobs = jobs
        self.checkpointer = checkpointer
        self.keyWalk = keyWalk
        entries = try EntryTable(connection, counters: context.counters)
        tables = try StateTables(connection)
        journalTable = try Journal(connection)
        gauge = WALGauge(connection)
        watchedWAL = try WatchedWAL(connection, trust: context.walTrust, isReliedOn: false)
        ballast = Ballast(folder: context.folder)
        pages = try PageGauge(connection)
        self.connection = connection
        totals = restored.usage
        totalBytes = restored.usage.values.reduce(0) { $0 + $1.bytes }
        unwritten = restored.damage.isEmpty ? nil : restored
        rowCount = restored.usage.values.reduce(0) { $0 + $1.entries }
        housekeeping.dropped = restored.dropped
        let ticket = context.queue.read { $0.latestTicket }
        for namespace in restored.dropped { housekeeping.dropTickets[namespace] = ticket }
        housekeeping.voids = restored.voids.map { VoidSweep(namespace: $0.key, through: $0.value, ticket: ticket) }
        journal = JournalState(restored.journal)
        context.counters.setUsage(restored.usage.filter { !restored.dropped.contains($0.key) })
        context.files.begin()
    }

    // MARK: The thread

    /// An event loop that wakes up on the same core goes first; by its weight the writer still has a quarter of a core that others fill.
    static let nice: Int32 = 5

    func run() {
        beginLog()
        mendState()
        _ = makeBallast()
        while true {
            lookAtFiles()
            keyWalk.beginIfDue { Int(clamping: rowCount) }
            switch context.queue.take(limit: context.bounds.commitBytes, isBound: context.bounds.isCommitBound) {
            case .commit(let batch, let sync):
                commit(batch, sync: sync)
                watchLog()
                _ = stepMerge()
                watchLog()
                _ = doHousekeeping()
            case .wait(let until):
                let isMerging = stepMerge()
                watchLog()
                if !doHousekeeping(), !isMerging {
                    tidyAtRest()
                    sleep(until: until)
                }
            case .closed:
                end()
                return
            }
            watchLog()
        }
    }

    private func lookAtFiles() {
        if context.files.look(connection) { lookAtLog(isThorough: true) }
    }

    /// Looks whether the log still is what was written: whether it is long enough, and with `isThorough` also whether its bytes are those.
    /// Where it was cut short, a start would find nothing of what follows in it, and what is copied from it into the database would spoil
    /// that: so it is not trusted any more in this run.
    ///
    /// Called before each commit for which somebody waits: what is written behind the place where a log was cut makes it long again.
    func lookAtLog(isThorough: Bool) {
        let path = context.path + "-wal"
        let isShort = DatabaseFile.bytes(of: path) < gauge.bytes
        guard !isLogCut, isShort || isThorough, !context.files.isAbsent else { return }
        do throws(SQLiteError) {
            let file = try WALFile(connection)
            if isShort {
                // Somebody else may have copied it, and cut it to nothing, as anyone may.
                gauge.set(frames: try file.frames())
                if DatabaseFile.bytes(of: path) < gauge.bytes { return noteLogCut(nil) }
            }
            if try !file.holds(since: &logLook) { noteLogCut(nil) }
        } catch {
            noteLogCut(error.description)
        }
    }

    private func noteLogCut(_ reason: String?) {
        isLogCut = true
        context.walTrust.doubt(because: context.files.noteLogCut(reason))
    }

    private func sleep(until: UInt64?) {
        let now = monotonicNanoseconds() / 1000
        let wanted = until.map { $0 > now ? $0 - now : 0 } ?? Self.tickMicroseconds
        context.queue.wait(microseconds: min(wanted, Self.tickMicroseconds))
    }

    private func end() {
        defer { context.queue.end() }
        for job in jobs.close() { job.completion(.failure(PendingWrites.closedFault)) }
        do throws(SQLiteError) {
            // What of the journal cannot be merged now is merged after the next start.
            try mergeBySteps()
        } catch {
            context.log.warn("The journal could not be merged at the end", error.description)
        }
        do throws(SQLiteError) {
            try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
        } catch {
            context.log.warn("The disk tier could not tidy up at its end", error.description)
        }
        do throws(SQLiteError) {
            // The device is full: the room that the log and its index have is all that the next start may find. So they keep their length.
            if context.isShortOfRoom { return try connection.execute("PRAGMA journal_size_limit = -1") }
            // The log is copied where the files' names are gone too: should somebody find the database again, it is complete.
            try checkpointer.copy(connection, .truncate)
            // SQLite removes a log by its name, which may be somebody else's by now.
            if !context.files.isAbsent { try connection.keepLogOnClose(false) }
        } catch {
            context.log.warn("The log could not be copied into the file at the end", error.description)
        }
    }

    /// Writes what the start has put in the place of damaged rows over them.
    private func mendState() {
        guard let restored = unwritten else { return }
        do throws(SQLiteError) {
            try transaction(sync: false) { () throws(SQLiteError) in try tables.mend(restored, connection) }
            unwritten = nil
        } catch {
            context.log.warn("Damage in the state stays on disk until the next start", error.description)
        }
    }

    /// A change came with a version below that of its key's row: versions are given that were given before. Sees to it that the next start
    /// does not go on with that. Once in a run, since it looks at all rows.
    func raiseCeiling() {
        guard !hasRaisedCeiling else { return }
        hasRaisedCeiling = true
        do throws(SQLiteError) {
            let largest = try connection.integer(
                "SELECT ifnull(max(version), 0) FROM entries WHERE version < \(1 << 52)"
            )
            try transaction(sync: false) { () throws(SQLiteError) in
                try tables.raise(.versionCeiling, to: largest + 1)
            }
        } catch {
            context.log.warn("The ceiling of versions could not be raised", error.description)
        }
    }

    // MARK: Transactions

    /// Runs `body` in a transaction of its own, and writes the usage that it has moved in the same one. What it brings about outside of the file
    /// (`effects`) takes effect once it is committed.
    ///
    /// - Parameter sync: whether the transaction is on disk when this returns. A log that is not to be trusted is written anew first.
    func transaction(sync: Bool, _ body: () throws(SQLiteError) -> Void) throws(SQLiteError) {
        try context.files.check()
        if sync { try mendLog() }
        if sync != isSynchronous {
            try connection.execute(sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
            isSynchronous = sync
        }
        do throws(SQLiteError) {
            try connection.execute("BEGIN IMMEDIATE")
            try body()
            for (namespace, move) in effects.moves {
                try tables.setUsage(of: namespace, total(of: namespace, with: move))
            }
            try reserveFile()
            if sync {
                try watchedWAL.relying { () throws(SQLiteError) in try connection.execute("COMMIT") }
            } else {
                try connection.execute("COMMIT")
            }
        } catch {
            // Some errors have ended the transaction already. If this fails too, the next BEGIN says so.
            if connection.isInTransaction { try? connection.execute("ROLLBACK") }
            effects = TransactionEffects()
            undo(after: error)
            if error.isDamage { context.files.noteDamage(error.fault) }
            throw error
        }
        if sync { syncedAt = monotonicNanoseconds() }
        isUnsynced = !sync
        publish()
    }

    /// A row leaves by itself within the open transaction.
    func depart(_ row: EntryTable.Row, _ cause: DepartureCause) {
        effects.departures.append((context.address(row.namespace, row.key), cause))
    }

    private func total(of namespace: NamespaceID, with move: TierUsage) -> TierUsage {
        var usage = totals[namespace] ?? TierUsage()
        usage.add(move)
        return usage
    }

    /// The transaction is committed: what it brings about takes effect, before anyone is answered.
    private func publish() {
        let effects = effects
        self.effects = TransactionEffects()
        for hash in effects.inserted {
            context.filters.insert(hash)
            noteUse(hash)
        }
        for hash in effects.rewritten { noteUse(hash) }
        if effects.isAnchored { anchoredAt = monotonicNanoseconds() }
        noteDropped(effects)
        for (namespace, move) in effects.moves {
            let usage = total(of: namespace, with: move)
            totals[namespace] = usage
            totalBytes += move.bytes
            rowCount += move.entries
            housekeeping.touched.insert(namespace)
            if !housekeeping.dropped.contains(namespace) { context.counters.setUsage(of: namespace, usage) }
        }
        for (address, version) in effects.missed { context.delegate?.isMissing(address, touched: version) }
        report(effects.departures)
    }

    private func noteDropped(_ effects: TransactionEffects) {
        guard !effects.dropped.isEmpty || !effects.voids.isEmpty || !effects.endedVoids.isEmpty else { return }
        // This ticket is later than those of the changes in the transaction. At worst, what is to go goes a little later.
        let ticket = context.queue.read { $0.latestTicket }
        for namespace in effects.dropped {
            housekeeping.gone.insert(namespace)
            if !housekeeping.dropped.contains(namespace) { housekeeping.dropped.append(namespace) }
            housekeeping.dropTickets[namespace] = ticket
            context.counters.setUsage(of: namespace, TierUsage())
        }
        for (namespace, through) in effects.voids {
            housekeeping.voids.removeAll { $0.namespace == namespace }
            housekeeping.voids.append(VoidSweep(namespace: namespace, through: through, ticket: ticket))
        }
        for namespace in effects.endedVoids { context.queue.endVoid(namespace, through: .max) }
    }

    private func report(_ departures: [(address: EntryAddress, cause: DepartureCause)]) {
        guard !departures.isEmpty else { return }
        let delegate = context.delegate
        for (address, cause) in departures {
            switch cause {
            case .expired: context.counters.expirations.add(1, ordering: .relaxed)
            case .evicted: context.counters.evictions.add(1, ordering: .relaxed)
            case .invalidated: break
            }
            // A newer value on its way in: the entry has not left.
            if context.queue.change(of: address)?.entry == nil { delegate?.departed(address, cause: cause) }
        }
    }

    /// A dropped namespace has no row any more.
    func forgetUsage(of namespace: NamespaceID) {
        let forgotten = totals.removeValue(forKey: namespace) ?? TierUsage()
        totalBytes -= forgotten.bytes
        rowCount -= forgotten.entries
    }

    func writeAnchor() throws(SQLiteError) {
        // Something has to be written, or there is nothing that COMMIT would sync.
        try tables.set(.commits, Int64(truncatingIfNeeded: monotonicNanoseconds()))
        if let anchor = context.anchor { try tables.set(anchor) }
        effects.isAnchored = true
    }

    // MARK: The log and the file

    /// Sees to it that the log that an earlier run has left is on disk: a part of it may be in the system's cache alone.
    private func beginLog() {
        do throws(SQLiteError) {
            try WALFile(connection).forgetCopied()
            try mendLog()
        } catch {
            context.log.warn("The log on disk is not safe yet", error.description)
        }
    }

    /// Writes the log anew where it is not to be trusted; see `WALTrust`.
    ///
    /// - Throws: why it still is not to be trusted.
    func mendLog() throws(SQLiteError) {
        let trust = context.walTrust
        if trust.isSound { return }
        if let mendError, monotonicNanoseconds() < mendRestsUntil { throw mendError }
        let doubt = trust.doubt
        let wasShown = trust.fault != nil
        do throws(SQLiteError) {
            try withLog { (log) throws(SQLiteError) in try log.rewrite() }
            DatabaseFile.syncFolder(of: context.path)
        } catch {
            mendError = error
            mendRestsUntil = monotonicNanoseconds() + Self.mendPauseNanoseconds
            trust.doubt(because: error.fault)
            throw error
        }
        mendError = nil
        trust.answer(doubt)
        syncedAt = monotonicNanoseconds()
        isUnsynced = false
        if wasShown { context.log.notice("The log on disk was written anew after a failed sync, and is safe again") }
    }

    /// Changes the log's own bytes, with SQLite's lock on it held: whoever else writes to the database, by other means, would lose what is added
    /// meanwhile.
    private func withLog(_ body: (WALFile) throws(SQLiteError) -> Void) throws(SQLiteError) {
        let isLocked = connection.isInTransaction
        if !isLocked { try connection.execute("BEGIN IMMEDIATE") }
        // SQLite has changed nothing within the transaction, so that there is nothing to lose.
        defer { if !isLocked { try? connection.execute("ROLLBACK") } }
        try body(WALFile(connection))
    }

    /// A transaction failed and was rolled back: sees to it that a start does not find it in the log.
    private func undo(after error: SQLiteError) {
        do throws(SQLiteError) {
            if error.isFailedSync {
                context.walTrust.doubt(because: error.fault)
                mendError = nil
                try mendLog()
            } else {
                try withLog { (log) throws(SQLiteError) in try log.cut() }
            }
            isUndone = true
        } catch {
            isUndone = false
            // What follows in the log then would be found by no start, whatever a sync says. So the log is written anew before the next sync.
            context.walTrust.doubt(because: error.fault)
            context.log.warn("What failed to be written may be left in the log on disk", error.description)
        }
    }

    /// Whether the log has grown so long that the writer has to copy it itself.
    var isLogLong: Bool { gauge.bytes >= context.bounds.mostLogBytes }

    /// Keeps the log within its bound. The checkpointer copies it; where that does not keep up, the writer does so itself.
    func watchLog() {
        let bounds = context.bounds
        let bytes = gauge.bytes
        guard bytes >= bounds.logBytes else { return }
        guard bytes >= bounds.mostLogBytes else { return checkpointer.poke() }
        cutLog(bounds)
    }

    /// In a small folder, sees to it that the log has room for a commit that may add so many pages to it: else it could be a little short
    /// of its bound before the commit, and far beyond it afterwards.
    func makeRoomInLog(pages: Int) {
        let bounds = context.bounds
        let bytes = Int64(clamping: pages) * WALGauge.frameBytes
        guard bounds.isCommitBound, gauge.bytes > 0, gauge.bytes + bytes > bounds.longestLogBytes else { return }
        cutLog(bounds)
    }

    /// Copies the whole log and begins it anew. Whoever reads and has begun before the last commit keeps it from being copied beyond what
    /// they see; the next attempt is made when the log has grown some more.
    private func cutLog(_ bounds: FolderBounds) {
        if gauge.bytes < heldLogBytes + bounds.logBytes, gauge.bytes >= heldLogBytes, heldLogBytes > 0 { return }
        do throws(SQLiteError) {
            try connection.execute("PRAGMA journal_size_limit = \(bounds.logBytes)")
            try connection.setBusyTimeout(milliseconds: Self.cutPatienceMilliseconds)
            defer { try? connection.setBusyTimeout(milliseconds: DatabaseFile.busyMilliseconds) }
            try checkpointer.copy(connection, .truncate)
            gauge.set(frames: 0)
            heldLogBytes = 0
        } catch {
            heldLogBytes = gauge.bytes
            if error.code.primary != .busy { context.log.warn("A checkpoint failed", error.description) }
        }
    }

    /// Cuts back a log that grew beyond its bound while another process read in it, once that has ended. The pragma
    /// `journal_size_limit` does so as well, but only with a write that begins the log anew.
    private func cutLogAtRest() {
        let now = monotonicNanoseconds()
        guard now >= logRestsUntil, DatabaseFile.bytes(of: context.path + "-wal") > context.bounds.logBytes else {
            return
        }
        logRestsUntil = now + Self.secondNanoseconds
        do throws(SQLiteError) {
            let (frames, copied) = try checkpointer.copy(connection)
            guard frames == copied else { return }
            // Nobody who still reads is waited for: there will be another attempt.
            try connection.setBusyTimeout(milliseconds: 0)
            defer { try? connection.setBusyTimeout(milliseconds: DatabaseFile.busyMilliseconds) }
            try checkpointer.copy(connection, .truncate)
            gauge.set(frames: 0)
        } catch {
            if error.code.primary != .busy { context.log.warn("The log could not be cut back", error.description) }
        }
    }

    /// After a write that failed, and while no change waits that would show whether writing goes well again, tries that once a second.
    private func recover() throws(SQLiteError) {
        guard !context.isShortOfRoom, context.queue.read({ $0.fault != nil && $0.count == 0 }),
            monotonicNanoseconds() - recoveryTriedAt >= Self.secondNanoseconds
        else { return }
        recoveryTriedAt = monotonicNanoseconds()
        try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
        context.queue.noteRecovered()
        if wasFaulty { context.log.notice("The disk tier writes again") }
        wasFaulty = false
    }

    /// Sees to it that the database has room on the device for all pages that the log has of it. So the log can always be copied and cut: a
    /// full device is met before a commit, which can be refused, and not when the log is to be copied, which cannot.
    private func reserveFile() throws(SQLiteError) {
        let bytes = try pages.count() * Int64(RowCost.pageBytes)
        if bytes <= reservedBytes {
            // When the log is copied, SQLite may cut the file to that length.
            reservedBytes = bytes
            return
        }
        try connection.reserveFile(bytes, chunkBytes: context.bounds.chunkBytes)
        reservedBytes = bytes
    }

    // MARK: The ballast

    /// Looks once a second whether there is room for the ballast again, and whether another bound gives it another size.
    func watchBallast(at now: UInt64) {
        if now >= ballastAskedAt + Self.secondNanoseconds { _ = makeBallast() }
    }

    /// Gives up the room that is kept back.
    ///
    /// - Returns: whether any was kept back.
    func giveBallast() -> Bool {
        context.shortage.store(true, ordering: .relaxed)
        ballastAskedAt = monotonicNanoseconds()
        return ballast.give()
    }

    /// Keeps room back on the device, if there is enough for that.
    ///
    /// - Returns: whether it is kept.
    func makeBallast() -> Bool {
        ballastAskedAt = monotonicNanoseconds()
        let bounds = FolderBounds(maxBytes: context.maxFolderBytes.load(ordering: .relaxed), context.options)
        let isMade = ballast.make(bytes: bounds.ballastBytes)
        context.shortage.store(!isMade, ordering: .relaxed)
        return isMade
    }

    /// Cuts the log to nothing, so that a full device has its room back.
    ///
    /// - Returns: whether there was any to give back.
    func cutLogForRoom() -> Bool {
        let had = DatabaseFile.bytes(of: context.path + "-wal")
        heldLogBytes = 0
        cutLog(context.bounds)
        return had > DatabaseFile.bytes(of: context.path + "-wal")
    }

    // MARK: The database's pages

    /// By how many bytes the rows are above their bound: by what they cost together, or by the pages in use, whichever is more.
    func excessBytes() throws(SQLiteError) -> Int64 {
        let byRows = totalBytes - context.maxBytes.load(ordering: .relaxed)
        let usedBytes = context.bounds.usedBytes
        if usedBytes == .max { return byRows }
        return max(byRows, try pages.usedBytes() - usedBytes)
    }

    /// Gives some free pages back to the system where the file is above its bound, where the device is full, or where a quarter of it is
    /// unused and nothing else is to be done. One call takes a few milliseconds.
    ///
    /// - Returns: whether there is more to give.
    func stepVacuum(isResting: Bool = false) throws(SQLiteError) -> Bool {
        let fileBytes = context.isShortOfRoom ? 0 : context.bounds.fileBytes
        if fileBytes == .max, !isResting { return false }
        let free = try pages.free()
        guard free > 0 else { return false }
        let count = try pages.count()
        let isLarge = count * Int64(RowCost.pageBytes) > fileBytes
        guard isLarge || isResting && free > Self.keptFreePages && free * 4 > count else { return false }
        try transaction(sync: false) { () throws(SQLiteError) in
            try connection.execute("PRAGMA incremental_vacuum(\(min(128, context.bounds.stepChanges)))")
        }
        return try pages.free() < free
    }

    /// What is done while no change waits: syncs what the last commits left, has a short log copied too, and gives room that rows have left
    /// behind back to the system.
    private func tidyAtRest() {
        cutLogAtRest()
        let bytes = gauge.bytes
        if bytes >= min(Self.idleLogBytes, context.bounds.logBytes), bytes != restedBytes {
            restedBytes = bytes
            checkpointer.poke()
        }
        do throws(SQLiteError) {
            try recover()
            if isUnsynced || !context.walTrust.isSound, monotonicNanoseconds() - syncedAt >= Self.secondNanoseconds {
                try transaction(sync: true) { () throws(SQLiteError) in try writeAnchor() }
            }
            if try stepVacuum(isResting: true) { context.queue.wake() }
            // The file itself becomes shorter when the log has been copied.
            let unused = try DatabaseFile.bytes(of: context.path) - pages.count() * Int64(RowCost.pageBytes)
            if bytes > 0, unused > context.bounds.chunkBytes { checkpointer.poke() }
        } catch {
            context.log.warn("The disk tier cannot tidy up while it rests", error.description)
        }
    }
}

/// How many pages the database has, and how many of them are free. Used on the thread of its connection.
final class PageGauge {
    private let all: Statement
    private let unused: Statement

    init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        all = try Statement(connection, "PRAGMA page_count")
        unused = try Statement(connection, "PRAGMA freelist_count")
    }

    func count() throws(SQLiteError) -> Int64 { try Self.value(all) }
    func free() throws(SQLiteError) -> Int64 { try Self.value(unused) }
    func usedBytes() throws(SQLiteError) -> Int64 { (try count() - free()) * Int64(RowCost.pageBytes) }

    private static func value(_ statement: borrowing Statement) throws(SQLiteError) -> Int64 {
        defer { statement.reset() }
        return try statement.step() ? statement.integer(0) : 0
    }
}
