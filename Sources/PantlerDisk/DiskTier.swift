package import Logging
package import PantlerModel
import Synchronization

/// The disk tier: one SQLite file, `pantler.sqlite`, in a data folder that no other process serves at the time.
///
/// Every change goes through a queue (`PendingWrites`) to one thread that commits many changes at a time (`Writer`). Reads look at the
/// queue first, on their caller's thread, then ask whether the key can have a row (`KeyFilter`), and only then look at the file, on one of
/// a few threads with connections of their own (`ReaderPool`), which in WAL mode neither wait for the writer nor make it wait.
///
/// When writing fails, the caller of a `through` write is told by `settle`, and the write is taken back here, so that the store has to take it back in memory alone.
/// Other changes are tried again, for as long as the queue has room for them; marks of invalidation and namespaces always, even those
/// whose `settle` was told. While that lasts `health().fault` says so. What is given up in the end is a miss later: nothing older takes
/// its place (see `VoidMarks`), not after a restart either, unless the tier ended before it could write at all.
package final class DiskTier: LowerTier {
    package let tier = Tier.disk

    /// The database's name in the data folder.
    package static let fileName = "pantler.sqlite"
    /// The most hashes that are remembered as the hot set.
    package static let hotSetLimit = 1 << 22

    private let context: TierContext
    private let jobs: JobQueue
    private let readers: ReaderPool
    private let cachedReads: CachedReads
    private let checkpointer: Checkpointer
    private let hotSet: HotSetLoader
    private let keyWalk: KeyWalk
    private let restored: PersistedState

    /// What is held until `close`.
    private struct OpenFolder: ~Copyable {
        var writer: FreeThread?
        var lock: FolderLock?
    }

    private let openFolder: Mutex<OpenFolder>

    /// Opens a data folder, or makes one. Blocks, for a time that does not depend on the number of entries.
    ///
    /// - Parameter readings: clocks that are right, if the time line is to be put back (`ClockReset`). That takes a time that depends on the
    ///   number of entries.
    package static func open(
        folder: String,
        options: DiskOptions = DiskOptions(),
        resettingClock readings: ClockReadings? = nil,
        logger: Logger
    ) throws(DiskOpenError) -> DiskTier {
        let lock = try FolderLock(folder: folder)
        let path = folder + "/" + fileName
        let connection = try openFile(folder, path, options)
        do throws(SQLiteError) {
            if let readings { tell(try ClockReset.run(connection, readings), logger) }
            return try DiskTier(path: path, options, RateLimitedLogger(logger), connection, lock)
        } catch {
            throw DiskOpenError(error, path: path)
        }
    }

    private static func tell(_ report: ClockReset.Report?, _ logger: Logger) {
        guard let report else {
            return logger.notice("--reset-clock: the time line is not ahead of the machine's clock, and stays as it is")
        }
        logger.notice(
            "--reset-clock: the time line was put back",
            metadata: ["by": "\(report.milliseconds / 1000) s", "entries_moved": "\(report.entries)"]
        )
    }

    /// Opens the file, and on a full device does so with the room that was kept back (`Ballast`).
    private static func openFile(
        _ folder: String,
        _ path: String,
        _ options: DiskOptions
    ) throws(DiskOpenError) -> SQLiteConnection {
        do throws(DiskOpenError) {
            return try DatabaseFile.open(path: path, options)
        } catch {
            guard case .full = error, Ballast(folder: folder).give() else { throw error }
            return try DatabaseFile.open(path: path, options)
        }
    }

    private init(
        path: String,
        _ options: DiskOptions,
        _ log: RateLimitedLogger,
        _ connection: consuming SQLiteConnection,
        _ lock: consuming FolderLock
    ) throws(SQLiteError) {
        let found = try RestoredState(connection)
        restored = found.state
        context = TierContext(path: path, options: options, log: log, restored: found)
        jobs = JobQueue()
        hotSet = HotSetLoader(context: context)
        keyWalk = KeyWalk(context: context)
        checkpointer = Checkpointer(log: log, trust: context.walTrust)
        let writer = try Writer(
            context: context,
            jobs: jobs,
            checkpointer: checkpointer,
            keyWalk: keyWalk,
            connection: connection,
            restored: found
        )
        cachedReads = try CachedReads(path: path, options)
        readers = try ReaderPool(context: context)
        do throws(ThreadFault) {
            try checkpointer.start(path: path)
            context.deflaters.start(threads: options.deflaters)
            let thread = try FreeThread(name: "disk-writer", nice: Writer.nice) { writer.run() }
            openFolder = Mutex(OpenFolder(writer: thread, lock: lock))
        } catch {
            readers.close()
            checkpointer.close()
            context.deflaters.close()
            throw SQLiteError(code: .noMemory, message: error.description)
        }
    }

    deinit {
        close()
    }

    // MARK: Start and end

    /// Begins the background work. `clock` tells what has expired. The anchor of a `ServiceClock` is written down with the commits, once a second
    /// at most, and at the end.
    package func start(delegate: any LowerTierDelegate, clock: any Clock) {
        context.link(delegate: delegate, clock: clock)
    }

    /// The state as it was when the folder was opened.
    package func persistedState() -> PersistedState { restored }

    /// Waits until all changes so far are synced and in their rows. Blocks.
    package func flush() throws(TierFault) {
        let done = BlockingAnswer<TierFault?>()
        if !context.queue.flush(completion: { done.answer($0) }), let fault = done.wait() { throw fault }
        let merged = BlockingAnswer<TierFault?>()
        begin(.merge) { merged.answer($0.fault) }
        if let fault = merged.wait() { throw fault }
    }

    package func close() {
        guard let writer = openFolder.withLock({ $0.writer.take() }) else { return }
        hotSet.close()
        keyWalk.close()
        readers.close()
        cachedReads.close()
        checkpointer.close()
        context.queue.close()
        writer.join()
        context.deflaters.close()
        openFolder.withLock { $0.lock = nil }
    }

    // MARK: Entries

    package func read(
        _ address: EntryAddress,
        completion: @escaping @Sendable (Result<Entry?, TierFault>) -> Void
    ) {
        let (look, void) = context.queue.look(address)
        let touches: EntryLookup.Touches
        switch look {
        case .known(let entry): return completion(.success(entry))
        case .below(let found): touches = found
        }
        guard context.filters.mayContain(address.hash) else { return completion(.success(nil)) }
        if case .read(let entry) = cachedReads.entry(namespace: address.namespace, key: address.key) {
            let seen = Self.seen(entry, address, voidThrough: void, context)
            return completion(.success(touches.applied(to: seen)))
        }
        let isTaken = readers.submit { [context] reader in
            completion(Self.read(address, voidThrough: void, reader, context).map { touches.applied(to: $0) })
        }
        if !isTaken { completion(.failure(PendingWrites.closedFault)) }
    }

    package func readHead(
        _ address: EntryAddress,
        completion: @escaping @Sendable (Result<EntryHead?, TierFault>) -> Void
    ) {
        let (look, void) = context.queue.look(address)
        let touches: EntryLookup.Touches
        switch look {
        case .known(let entry): return completion(.success(entry.map { EntryHead($0) }))
        case .below(let found): touches = found
        }
        guard context.filters.mayContain(address.hash) else { return completion(.success(nil)) }
        @Sendable func seen(_ head: EntryHead?) -> EntryHead? {
            touches.applied(to: head.flatMap { $0.version > void ? $0 : nil })
        }
        if let head = cachedReads.head(namespace: address.namespace, key: address.key) {
            return completion(.success(seen(head)))
        }
        let isTaken = readers.submit { [context] reader in
            do throws(SQLiteError) {
                completion(.success(seen(try reader.head(namespace: address.namespace, key: address.key))))
            } catch {
                context.noteReadFailure(.fault(error.fault))
                completion(.failure(error.fault))
            }
        }
        if !isTaken { completion(.failure(PendingWrites.closedFault)) }
    }

    package func read(
        _ address: EntryAddress,
        admits: @escaping ReadAdmission,
        completion: @escaping @Sendable (Result<LowerRead, TierFault>) -> Void
    ) {
        let (look, void) = context.queue.look(address)
        let touches: EntryLookup.Touches
        switch look {
        case .known(let entry): return completion(.success(LowerRead(entry, admits: admits)))
        case .below(let found): touches = found
        }
        guard context.filters.mayContain(address.hash) else { return completion(.success(.entry(nil))) }
        if case .read(let entry) = cachedReads.entry(namespace: address.namespace, key: address.key) {
            let seen = Self.seen(entry, address, voidThrough: void, context)
            return completion(.success(LowerRead(touches.applied(to: seen), admits: admits)))
        }
        let isTaken = readers.submit { [context] reader in
            var refused: Int64?
            let result = Self.read(address, voidThrough: void, reader, context) { size in
                if admits(size) { return true }
                refused = size
                return false
            }
            if let refused {
                completion(.success(.larger(refused)))
            } else {
                completion(result.map { .entry(touches.applied(to: $0)) })
            }
        }
        if !isTaken { completion(.failure(PendingWrites.closedFault)) }
    }

    private static func read(
        _ address: EntryAddress,
        voidThrough void: Version,
        _ reader: Reader,
        _ context: TierContext,
        admits: (Int64) -> Bool = { _ in true }
    ) -> Result<Entry?, TierFault> {
        do throws(ReadFailure) {
            let entry = try reader.entry(namespace: address.namespace, key: address.key, admits: admits)
            return .success(seen(entry, address, voidThrough: void, context))
        } catch {
            context.noteReadFailure(error)
            return .failure(error.fault)
        }
    }

    /// The entry that was read, unless it is void.
    private static func seen(
        _ entry: Entry?,
        _ address: EntryAddress,
        voidThrough void: Version,
        _ context: TierContext
    ) -> Entry? {
        context.counters.noteReadSucceeded()
        guard let entry, entry.version > void else { return nil }
        context.recentUse.note(address.hash)
        return entry
    }

    package func enqueue(_ mutation: consuming Mutation, _ durability: Durability) -> WriteTicket {
        context.enqueue(Change(mutation), durability)
    }

    package func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool {
        context.queue.settle(ticket, durability, completion: completion)
    }

    package func settleAll(completion: @escaping @Sendable (TierFault?) -> Void) -> Bool {
        context.queue.flush(completion: completion)
    }

    package func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        context.queue.isSettled(ticket, durability)
    }

    package func list(
        namespace: NamespaceID,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<[ListedEntry], TierFault>) -> Void
    ) {
        let page = ListingPage(namespace: namespace, prefix: prefix, after: after, limit: limit)
        let isTaken = readers.submit { [context] reader in
            do throws(SQLiteError) {
                completion(.success(try page.entries(reader, context.queue)))
            } catch {
                context.noteReadFailure(.fault(error.fault))
                completion(.failure(error.fault))
            }
        }
        if !isTaken { completion(.failure(PendingWrites.closedFault)) }
    }

    // MARK: Long work

    package func removePrefix(
        namespace: NamespaceID,
        prefix: [UInt8],
        before: Version,
        durability: Durability,
        completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) {
        let kind = Job.Kind.removePrefix(namespace, prefix: prefix, before: before, next: prefix)
        begin(kind, isSynced: durability == .through, completion)
    }

    package func sweepInvalidated(completion: @escaping @Sendable (TierFault?) -> Void) {
        begin(.sweep(last: .min)) { completion($0.fault) }
    }

    /// Removes rows that have expired and rows that are above the bounds, and returns when there are no more. The tier does so by itself; this
    /// is for callers who cannot wait for that. Blocks.
    package func tidy() throws(TierFault) {
        let done = BlockingAnswer<TierFault?>()
        begin(.tidy) { done.answer($0.fault) }
        if let fault = done.wait() { throw fault }
    }

    /// Changes the bound `DiskOptions.maxBytes`. What is above a smaller one leaves in the background.
    package func setMaxBytes(_ bytes: Int64) {
        context.maxBytes.store(bytes, ordering: .relaxed)
        context.queue.wake()
    }

    /// Changes the bound of the whole folder, and so that of the rows. What is above a smaller one leaves in the background.
    package func setMaxFolderBytes(_ bytes: Int64) {
        context.maxFolderBytes.store(bytes, ordering: .relaxed)
        setMaxBytes(bytes)
    }

    private func begin(
        _ kind: Job.Kind,
        isSynced: Bool = false,
        _ completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) {
        let ticket = context.queue.read { $0.latestTicket }
        if jobs.add(Job(kind: kind, ticket: ticket, isSynced: isSynced, completion: completion)) {
            context.queue.wake()
        } else {
            completion(.failure(PendingWrites.closedFault))
        }
    }

    package func reserveVersions(below ceiling: Version, completion: @escaping @Sendable (TierFault?) -> Void) {
        let ticket = context.queue.add(.control(.versionCeiling(ceiling)), .through)
        if settle(ticket, .through, completion: completion) { completion(nil) }
    }

    // MARK: The hot set and recency

    package func noteLastUse(_ hash: UInt64, at moment: UInt64) { context.recentUse.note(hash, at: moment) }

    /// Remembers the first `hotSetLimit` of the hashes; fewer where the folder may hold little.
    package func saveHotSet(_ hashes: [UInt64]) {
        let share = context.maxFolderBytes.load(ordering: .relaxed) / 64
        let limit = min(Self.hotSetLimit, Int(clamping: share / 8))
        _ = context.queue.add(.control(.hotSet(Array(hashes.prefix(limit)))))
    }

    /// Runs on a thread of its own: it reads the index once, to find the hashes, and then the rows.
    package func loadHotSet(
        _ body: @escaping @Sendable ([(EntryAddress, Entry)]) -> Bool,
        completion: @escaping @Sendable () -> Void
    ) {
        hotSet.load(body, completion: completion)
    }

    // MARK: Figures

    /// A commit whose sync failed may be left in the log, as a start would find it, until the log has been written anew.
    package var mayBringBack: Bool { !context.walTrust.isSound }

    package func usage(of namespace: NamespaceID) -> TierUsage { context.counters.usage(of: namespace) }

    package func health() -> TierHealth {
        let now = monotonicNanoseconds() / 1000
        let trust = context.walTrust
        var health = context.queue.read { queue in
            var health = TierHealth()
            health.fault = queue.fault ?? trust.fault ?? context.files.fault
            health.queueEntries = Int64(queue.count)
            health.queueBytes = queue.bytes
            if let oldest = queue.oldestMicroseconds, oldest < now {
                health.queueAgeMilliseconds = Int64((now - oldest) / 1000)
            }
            return health
        }
        if health.fault == nil, context.isShortOfRoom {
            health.fault = TierFault(.full, "What is left of the device is kept for deletes and invalidations.")
        }
        context.counters.fill(&health)
        health.fileBytes = DatabaseFile.bytes(of: context.path)
        health.walBytes = DatabaseFile.bytes(of: context.path + "-wal")
        return health
    }
}

extension Result where Failure == TierFault {
    fileprivate var fault: TierFault? {
        switch self {
        case .success: nil
        case .failure(let fault): fault
        }
    }
}
