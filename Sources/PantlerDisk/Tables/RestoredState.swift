import PantlerModel

/// What a start reads from the small tables and the journal, once, before the writer's thread exists. Complexity: O(namespaces + tags + tokens + journal), whatever the number of rows; where
/// something of it is damaged, O(rows).
///
/// Each row carries a checksum (`RowChecksum`). A damaged row is not believed: in its place stands what is known from elsewhere, or else what
/// brings back nothing that was ended. A number on which much depends, as the versions' ceiling, is compared with others besides.
struct RestoredState: Sendable {
    var state = PersistedState()
    var usage: [NamespaceID: TierUsage] = [:]
    var dropped: [NamespaceID] = []
    /// See `VoidMarks`.
    var voids: [NamespaceID: Version] = [:]
    var journal = RestoredJournal()
    /// In words, what was damaged.
    private(set) var damage: [String] = []

    /// Whether the ceiling of versions is undamaged; `nil` = there is none yet.
    private var isCeilingKnown: Bool?
    /// The largest version met so far.
    private var largest: Version = 0
    /// Namespaces of which a mark of invalidation is lost: every entry in them counts as invalidated.
    private var emptied: Set<NamespaceID> = []
    /// Whether such a mark is lost of a namespace that is not known: every namespace counts as one then.
    private var emptiesAll = false
    /// Namespaces whose usage is lost, so that their rows are to be counted, and those of which all rows are void, since that mark is lost.
    private var uncounted: Set<NamespaceID> = []
    private var voided: Set<NamespaceID> = []

    /// Versions beyond this one are taken for damage.
    private static let plausible: Version = 1 << 52
    /// How far a new ceiling is above the largest version found: later versions may have been given and have left no trace.
    private static let margin: Version = 1 << 24
    /// How many of the newest rows the ceiling is compared with.
    private static let sample = 256

    /// Values that are undamaged and make no sense are left out, so that the policies of a later Pantler do not keep an earlier one from reading
    /// the rest.
    ///
    /// - Throws: SQLite's errors.
    init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        try readFacts(connection)
        try readNamespaces(connection)
        try readTags(connection)
        try readUsage(connection)
        try readDropped(connection)
        try readVoids(connection)
        try readTokens(connection)
        journal = try RestoredJournal(connection, hash: EntryHash(seed: state.hashSeed))
        try judgeNumbers(connection)
        try mend(connection)
    }

    private mutating func readFacts(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let facts = try Statement(connection, "SELECT name, value, \(CheckedTable.state.isSound) FROM state")
        var anchor = ClockAnchor(bootID: "", bootMilliseconds: 0, wallMilliseconds: 0, serviceMilliseconds: 0)
        var doubt = ClockDoubt(serviceMilliseconds: 0, earlierServiceMilliseconds: 0, earlierWallMilliseconds: 0)
        var hasAnchor = false
        var isAnchorSound = true
        while try facts.step() {
            let name = StateName(rawValue: facts.text(0))
            let isSound = facts.integer(2) == 1
            if !isSound { damage.append("the fact '\(facts.text(0))'") }
            switch name {
            // A damaged seed is as good as another.
            case .hashSeed: state.hashSeed = UInt64(bitPattern: facts.integer(1))
            case .versionCeiling:
                isCeilingKnown = isSound
                if isSound { state.versionCeiling = Version(clamping: facts.integer(1)) }
                if !isSound { note(Version(clamping: facts.integer(1))) }
            case .nextNamespaceID where isSound: state.nextNamespaceID = NamespaceID(clamping: facts.integer(1))
            case .anchorBoot: anchor.bootID = facts.text(1)
            case .anchorBootMilliseconds: anchor.bootMilliseconds = facts.integer(1)
            case .anchorWallMilliseconds: anchor.wallMilliseconds = facts.integer(1)
            case .anchorServiceMilliseconds:
                anchor.serviceMilliseconds = facts.integer(1)
                hasAnchor = true
            case .doubtServiceMilliseconds where isSound: doubt.serviceMilliseconds = facts.integer(1)
            case .doubtEarlierServiceMilliseconds where isSound: doubt.earlierServiceMilliseconds = facts.integer(1)
            case .doubtEarlierWallMilliseconds where isSound: doubt.earlierWallMilliseconds = facts.integer(1)
            case .doubtServiceMilliseconds, .doubtEarlierServiceMilliseconds, .doubtEarlierWallMilliseconds: break
            case .nextNamespaceID, .commits, .journalEnd, nil: break
            }
            switch name {
            case .anchorBoot, .anchorBootMilliseconds, .anchorWallMilliseconds, .anchorServiceMilliseconds:
                isAnchorSound = isAnchorSound && isSound
            default: break
            }
        }
        // The three numbers mean something only together.
        if ![doubt.serviceMilliseconds, doubt.earlierServiceMilliseconds, doubt.earlierWallMilliseconds].contains(0) {
            anchor.doubt = doubt
        }
        if hasAnchor, isAnchorSound { state.clockAnchor = anchor }
    }

    private mutating func readNamespaces(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.namespaces
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM namespaces ORDER BY id")
        while try rows.step() {
            let id = NamespaceID(clamping: rows.integer(0))
            let isSound = rows.integer(23) == 1
            if !isSound { damage.append("namespace \(rows.integer(0)), '\(rows.text(1))'") }
            guard let name = try? NamespaceName(rows.text(1)) else {
                // Without a name nobody can ask for its entries: it is dropped.
                if !isSound, id > 0 { dropped.append(id) }
                continue
            }
            var policy = Policy()
            policy.eviction = Eviction(rawValue: rows.text(15)) ?? policy.eviction
            policy.durability = Durability(rawValue: rows.text(16)) ?? policy.durability
            var record = NamespaceRecord(id: id, name: name, policy: policy, createdAt: Timestamp(milliseconds: 0))
            if isSound { Self.read(rows, &record) } else { emptied.insert(id) }
            note(record.watermark)
            note(record.lowerFrom)
            state.namespaces.append(record)
        }
    }

    private static func read(_ rows: borrowing Statement, _ record: inout NamespaceRecord) {
        record.createdAt = Timestamp(milliseconds: rows.integer(2))
        record.generation = UInt64(clamping: rows.integer(3))
        record.watermark = watermark(rows, from: 4, marks: 19)
        record.lowerFrom = Version(clamping: rows.integer(20))
        record.policy.defaultTTL = rows.optionalInteger(7)
        record.policy.maxTTL = rows.optionalInteger(8)
        record.policy.staleTTL = rows.integer(9)
        record.policy.negativeTTL = rows.integer(21)
        record.policy.ttlJitter = rows.double(10)
        record.policy.earlyRefresh = rows.double(22)
        record.policy.maxMemory = rows.optionalInteger(11)
        record.policy.maxEntries = rows.optionalInteger(12)
        record.policy.maxDisk = rows.optionalInteger(13)
        record.policy.maxValueSize = rows.integer(14)
        record.policy.compressionThreshold = rows.integer(17)
        record.policy.compressionLevel = Int(clamping: rows.integer(18))
    }

    private mutating func readTags(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.tags
        let known = Set(state.namespaces.map(\.id))
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM tags")
        while try rows.step() {
            let namespace = NamespaceID(clamping: rows.integer(0))
            guard rows.integer(6) == 1 else {
                // Nobody knows which tag was invalidated, nor when.
                damage.append("the mark of a tag in namespace \(rows.integer(0))")
                if known.contains(namespace) { emptied.insert(namespace) } else { emptiesAll = true }
                continue
            }
            let mark = Self.watermark(rows, from: 2, marks: 5)
            note(mark)
            state.tags.append((namespace, EntryTag(bytes: rows.bytes(1)), mark))
        }
    }

    private mutating func readUsage(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.usage
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM usage")
        while try rows.step() {
            let namespace = NamespaceID(clamping: rows.integer(0))
            if rows.integer(3) == 1 {
                usage[namespace] = TierUsage(entries: rows.integer(1), bytes: rows.integer(2))
            } else {
                damage.append("the usage of namespace \(rows.integer(0))")
                uncounted.insert(namespace)
            }
        }
    }

    private mutating func readDropped(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.dropped
        let live = Set(state.namespaces.map(\.id))
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM dropped")
        while try rows.step() {
            let namespace = NamespaceID(clamping: rows.integer(0))
            if rows.integer(1) != 1 { damage.append("the end of namespace \(rows.integer(0))") }
            if live.contains(namespace) {
                // One of the two records is wrong: the namespace's own is believed.
                if rows.integer(1) == 1 { damage.append("the end of namespace \(namespace), which is there") }
            } else {
                dropped.append(namespace)
            }
        }
    }

    private mutating func readVoids(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.voids
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM voids")
        while try rows.step() {
            let namespace = NamespaceID(clamping: rows.integer(0))
            if rows.integer(2) == 1 {
                voids[namespace] = Version(clamping: rows.integer(1))
                note(Version(clamping: rows.integer(1)))
            } else {
                damage.append("what is void of namespace \(rows.integer(0))")
                voided.insert(namespace)
            }
        }
    }

    /// A damaged token is gone: nobody can tell what it was for, and so it is for nothing.
    private mutating func readTokens(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        let table = CheckedTable.tokens
        let rows = try Statement(connection, "SELECT \(table.columns), \(table.isSound) FROM tokens ORDER BY id")
        while try rows.step() {
            guard rows.integer(TokenRows.count) == 1 else {
                let name = TokenID(rows.bytes(0)).map { "token '\($0)'" } ?? "a token"
                damage.append("\(name), which is gone")
                continue
            }
            if let record = TokenRows.record(rows) { state.tokens.append(record) }
        }
    }

    // MARK: Second opinions

    private mutating func note(_ version: Version) {
        if version < Self.plausible { largest = max(largest, version) }
    }

    private mutating func note(_ mark: Watermark) {
        note(mark.newest)
    }

    /// Compares the versions' ceiling and the next namespace's number with all that they were given to.
    private mutating func judgeNumbers(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        var namespace = max(usage.keys.max() ?? 0, dropped.max() ?? 0, state.namespaces.last?.id ?? 0)
        for keyed in journal.changes {
            note(keyed.version)
            namespace = max(namespace, keyed.address.namespace)
        }
        // Only the newest rows are looked at first, although an old key's row may have a newer version. Where they raise a doubt, all rows are.
        note(try Self.largestVersion("(SELECT version FROM entries ORDER BY id DESC LIMIT \(Self.sample))", connection))
        if isCeilingKnown != true || largest >= state.versionCeiling { try raiseCeiling(connection) }
        do throws(SQLiteError) {
            let last = NamespaceID(clamping: try connection.integer("SELECT ifnull(max(namespace), 0) FROM entries"))
            namespace = max(namespace, last)
        } catch {
            guard error.code.primary == .corrupt else { throw error }
        }
        if namespace >= state.nextNamespaceID { state.nextNamespaceID = namespace &+ 1 }
    }

    private mutating func raiseCeiling(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        note(try Self.largestVersion("entries", connection))
        if largest == 0 { return }
        // Where the ceiling itself was damaged that is said already.
        if isCeilingKnown == true { damage.append("the ceiling of versions, below which some were given") }
        state.versionCeiling = max(state.versionCeiling, largest + 1 + Self.margin)
    }

    /// The largest plausible version of some rows; 0 where there is none, and where damage keeps it from being read.
    private static func largestVersion(
        _ source: String,
        _ connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> Version {
        do throws(SQLiteError) {
            let text = "SELECT ifnull(max(version), 0) FROM \(source) WHERE version < \(Self.plausible)"
            return Version(clamping: try connection.integer(text))
        } catch {
            guard error.code.primary == .corrupt else { throw error }
            return 0
        }
    }

    /// Puts what is known from elsewhere in the place of what is damaged.
    private mutating func mend(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        for place in state.namespaces.indices
        where emptiesAll || emptied.contains(state.namespaces[place].id) {
            let mark = Watermark(goneBefore: state.versionCeiling)
            state.namespaces[place].watermark = state.namespaces[place].watermark.merged(mark)
        }
        let live = Set(state.namespaces.map(\.id))
        for namespace in voided where live.contains(namespace) { voids[namespace] = state.versionCeiling - 1 }
        for namespace in uncounted where live.contains(namespace) || dropped.contains(namespace) {
            usage[namespace] = try Self.count(namespace, connection)
        }
    }

    private static func count(
        _ namespace: NamespaceID,
        _ connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> TierUsage {
        let rows = try Statement(
            connection,
            "SELECT count(*), ifnull(sum(cost), 0) FROM entries INDEXED BY entries_age WHERE namespace = ?1"
        )
        try rows.bind(1, Int64(namespace))
        do throws(SQLiteError) {
            guard try rows.step() else { return TierUsage() }
            return TierUsage(entries: rows.integer(0), bytes: rows.integer(1))
        } catch {
            guard error.code.primary == .corrupt else { throw error }
            return TierUsage()
        }
    }

    /// - Parameter marks: the column of `StaleMarks`.
    private static func watermark(
        _ rows: borrowing Statement,
        from column: Int32,
        marks: Int32
    ) -> Watermark {
        let before = Version(clamping: rows.integer(column + 1))
        let since = Timestamp(milliseconds: rows.integer(column + 2))
        let last = before > 0 ? StaleMark(before: before, since: since) : nil
        return Watermark(
            goneBefore: Version(clamping: rows.integer(column)),
            staleMarks: StaleMarks.decode(rows.bytes(marks), last: last)
        )
    }
}
