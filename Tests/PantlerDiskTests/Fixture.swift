import Foundation
import Logging
import PantlerModel
import Support
import Synchronization

@testable import PantlerDisk

/// A data folder with a tier on it that can be closed and opened again, and a clock that is moved by hand.
final class Fixture {
    let directory: TemporaryDirectory
    let folder: String
    let clock = ManualClock()
    let delegate = Recorder()
    private(set) var tier: DiskTier
    var options: DiskOptions
    private var versions: Version = 0

    /// - Parameter folder: where the data lies, if not in a folder of the fixture's own.
    init(folder: String? = nil, _ change: (inout DiskOptions) -> Void = { _ in }) throws {
        directory = try TemporaryDirectory()
        self.folder = folder ?? directory.path
        options = DiskOptions()
        options.lingerMilliseconds = 1
        change(&options)
        tier = try DiskTier.open(folder: self.folder, options: options, logger: Self.logger)
        tier.start(delegate: delegate, clock: clock)
    }

    deinit {
        tier.close()
    }

    static var logger: Logger { Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }) }

    var file: String { folder + "/" + DiskTier.fileName }

    func open() throws {
        tier = try DiskTier.open(folder: folder, options: options, logger: Self.logger)
        tier.start(delegate: delegate, clock: clock)
    }

    func reopen() throws {
        tier.close()
        try open()
    }

    /// Another tier with the same options on a copy of the folder as it is on disk now: what a `kill -9` at this moment would leave.
    ///
    /// - Parameter change: changes the copy's file before it is opened.
    func crashed(_ change: (borrowing SQLiteConnection) throws -> Void = { _ in }) throws -> Fixture {
        let copy = try Fixture { $0 = options }
        copy.tier.close()
        for name in names(in: copy.folder) { try remove(copy.directory.file(name)) }
        let (database, log) = files()
        for (name, bytes) in [(DiskTier.fileName, database), (DiskTier.fileName + "-wal", log)] {
            try Data(bytes).write(to: URL(fileURLWithPath: copy.directory.file(name)))
        }
        copy.versions = versions
        try change(SQLiteConnection(path: copy.file, mode: .readWrite))
        try copy.open()
        return copy
    }

    /// The database and its log, as they were at one moment.
    private func files() -> (database: [UInt8], log: [UInt8]) {
        // A log that is begun anew has another salt in its header (https://www.sqlite.org/fileformat2.html#the_write_ahead_log). As long
        // as it is not, all that a checkpoint moves into the database is in it, too.
        func header() -> ArraySlice<UInt8> { contents(of: file + "-wal").prefix(32) }
        while true {
            let before = header()
            let (database, log) = (contents(of: file), contents(of: file + "-wal"))
            if log.prefix(32) == before, header() == before { return (database, log) }
        }
    }

    // MARK: Entries

    func nextVersion() -> Version {
        versions += 1
        return versions
    }

    func address(_ key: String, in namespace: NamespaceID = 1) -> EntryAddress {
        let hash = EntryHash(seed: tier.persistedState().hashSeed)
        let bytes = Array(key.utf8)
        return EntryAddress(namespace: namespace, key: bytes, hash: hash.hash(namespace: namespace, key: bytes))
    }

    func entry(_ value: String, ttl: Int64? = nil, staleTTL: Int64 = 0, tags: [EntryTag] = []) -> Entry {
        entry(Array(value.utf8), ttl: ttl, staleTTL: staleTTL, tags: tags)
    }

    func entry(_ value: [UInt8], ttl: Int64? = nil, staleTTL: Int64 = 0, tags: [EntryTag] = []) -> Entry {
        let expiry = ttl.map { clock.now().advanced(byMilliseconds: $0) } ?? .never
        return Entry(
            value: value,
            kind: .json,
            version: nextVersion(),
            expiresAt: expiry,
            staleTTL: staleTTL,
            tags: tags
        )
    }

    @discardableResult
    func put(
        _ key: String,
        _ entry: Entry,
        in namespace: NamespaceID = 1,
        threshold: Int64 = 1024,
        level: Int = 6
    ) -> WriteTicket {
        let options = PutOptions(compressionThreshold: threshold, compressionLevel: level)
        return tier.enqueue(.put(address(key, in: namespace), entry, options))
    }

    /// Puts and waits until it is committed and synced.
    func putThrough(_ key: String, _ entry: Entry, in namespace: NamespaceID = 1) -> TierFault? {
        settle(put(key, entry, in: namespace))
    }

    @discardableResult
    func delete(_ key: String, in namespace: NamespaceID = 1) -> WriteTicket {
        tier.enqueue(.delete(address(key, in: namespace), version: nextVersion()))
    }

    /// Gives an entry another life and other tags.
    @discardableResult
    func touch(_ key: String, from bases: [Version], ttl: Int64? = nil, tags: [EntryTag] = []) -> EntryHead {
        let expiry = ttl.map { clock.now().advanced(byMilliseconds: $0) } ?? .never
        let head = EntryHead(version: nextVersion(), expiresAt: expiry, staleTTL: 0, tags: tags)
        _ = tier.enqueue(.touch(address(key), Touch(bases: bases, head: head)))
        return head
    }

    func head(_ key: String) throws -> EntryHead? {
        let done = BlockingAnswer<Result<EntryHead?, TierFault>>()
        tier.readHead(address(key)) { done.answer($0) }
        return try done.wait().get()
    }

    func settle(_ ticket: WriteTicket, _ durability: Durability = .through) -> TierFault? {
        let done = BlockingAnswer<TierFault?>()
        if tier.settle(ticket, durability, completion: { done.answer($0) }) { return nil }
        return done.wait()
    }

    func read(_ key: String, in namespace: NamespaceID = 1) throws -> Entry? { try read(address(key, in: namespace)) }

    func read(_ address: EntryAddress) throws -> Entry? {
        let done = BlockingAnswer<Result<Entry?, TierFault>>()
        tier.read(address) { done.answer($0) }
        return try done.wait().get()
    }

    func value(_ key: String, in namespace: NamespaceID = 1) throws -> String? {
        try read(key, in: namespace).map { String(decoding: $0.value, as: UTF8.self) }
    }

    func list(
        _ prefix: String = "",
        after: String? = nil,
        limit: Int = 1000,
        in namespace: NamespaceID = 1
    ) throws
        -> [ListedEntry]
    {
        let done = BlockingAnswer<Result<[ListedEntry], TierFault>>()
        tier.list(
            namespace: namespace,
            prefix: Array(prefix.utf8),
            after: after.map { Array($0.utf8) },
            limit: limit
        ) { done.answer($0) }
        return try done.wait().get()
    }

    func keys(
        _ prefix: String = "",
        after: String? = nil,
        limit: Int = 1000,
        in namespace: NamespaceID = 1
    ) throws
        -> [String]
    {
        try list(prefix, after: after, limit: limit, in: namespace).map { String(decoding: $0.key, as: UTF8.self) }
    }

    func removePrefix(
        _ prefix: String,
        before: Version = .max,
        in namespace: NamespaceID = 1,
        _ durability: Durability = .behind
    ) throws -> Int {
        let done = BlockingAnswer<Result<Int, TierFault>>()
        tier.removePrefix(
            namespace: namespace,
            prefix: Array(prefix.utf8),
            before: before,
            durability: durability
        ) { done.answer($0) }
        return try done.wait().get()
    }

    func sweep() -> TierFault? {
        let done = BlockingAnswer<TierFault?>()
        tier.sweepInvalidated { done.answer($0) }
        return done.wait()
    }

    func loadHotSet() -> [(EntryAddress, Entry)] {
        let found = Shared<[(EntryAddress, Entry)]>([])
        let done = BlockingAnswer<Bool>()
        tier.loadHotSet {
            let batch = $0
            found.update { $0 += batch }
            return true
        } completion: {
            done.answer(true)
        }
        _ = done.wait()
        return found.value
    }

    func record(_ id: NamespaceID, _ name: String) throws -> NamespaceRecord {
        NamespaceRecord(id: id, name: try NamespaceName(name), policy: Policy(), createdAt: clock.now())
    }

    func token(_ id: String, _ role: Role = .read, note: String = "") throws -> TokenRecord {
        guard let id = TokenID(id), let digest = TokenDigest([UInt8](repeating: 7, count: TokenDigest.count)) else {
            throw Failure("\(id) is no id of a token")
        }
        return TokenRecord(
            id: id,
            grant: Grant(role: role),
            note: note,
            createdAt: clock.now().milliseconds,
            digest: digest
        )
    }

    // MARK: Behind the tier's back

    /// Runs SQL on the file over a connection of the test's own.
    func sql(_ text: String) throws {
        let connection = try SQLiteConnection(path: file, mode: .readWrite)
        try connection.setBusyTimeout(milliseconds: 5000)
        try connection.execute(text)
    }

    /// Keys of all rows in the order of their numbers.
    func rowOrder() throws -> [String] {
        let connection = try SQLiteConnection(path: file, mode: .readWrite)
        let rows = try Statement(connection, "SELECT key FROM entries ORDER BY id")
        var keys: [String] = []
        while try rows.step() { keys.append(String(decoding: rows.bytes(0), as: UTF8.self)) }
        return keys
    }

    func number(_ text: String) throws -> Int64 {
        let connection = try SQLiteConnection(path: file, mode: .readWrite)
        try connection.setBusyTimeout(milliseconds: 5000)
        return try connection.integer(text)
    }
}

/// A delegate that writes down what it is told.
final class Recorder: LowerTierDelegate {
    struct State {
        var departed: [(key: String, cause: DepartureCause)] = []
        var invalidBefore: Version = 0
        var invalidTags: Set<EntryTag> = []
        var missing: [(key: String, version: Version)] = []
        var staleBefore: Version = 0
        var staleSince = Timestamp(milliseconds: 0)
        var bounds: [NamespaceID: Int64] = [:]
        /// Of keys that are in memory.
        var lastUses: [String: UInt64] = [:]
    }

    let state = Mutex(State())

    func invalidAt(
        namespace: NamespaceID,
        version: Version,
        staleTTL: Int64,
        tags: [EntryTag]
    ) -> Timestamp? {
        state.withLock { state in
            if version < state.invalidBefore || !state.invalidTags.isDisjoint(with: tags) {
                return Timestamp(milliseconds: .min)
            }
            return version < state.staleBefore ? state.staleSince.advanced(byMilliseconds: staleTTL) : nil
        }
    }

    func isMissing(_ address: EntryAddress, touched version: Version) {
        state.withLock { $0.missing.append((String(decoding: address.key, as: UTF8.self), version)) }
    }

    func departed(_ address: EntryAddress, cause: DepartureCause) {
        state.withLock { $0.departed.append((String(decoding: address.key, as: UTF8.self), cause)) }
    }

    func maxDisk(of namespace: NamespaceID) -> Int64? {
        state.withLock { $0.bounds[namespace] }
    }

    func lastUse(of address: EntryAddress) -> UInt64? {
        state.withLock { $0.lastUses[String(decoding: address.key, as: UTF8.self)] }
    }

    func departed(_ cause: DepartureCause) -> [String] {
        state.withLock { $0.departed.filter { $0.cause == cause }.map { $0.key } }
    }
}

func remove(_ path: String) throws {
    guard unlink(path) == 0 else { throw Failure("cannot remove \(path)") }
}
