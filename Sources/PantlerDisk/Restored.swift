import PantlerModel

/// What a start reads, once, before the writer's thread exists. Complexity: O(namespaces + tags + journal), whatever the number of rows.
struct Restored: Sendable {
    var state = PersistedState()
    var usage: [NamespaceID: TierUsage] = [:]
    var dropped: [NamespaceID] = []
    /// See `Voids`.
    var voids: [NamespaceID: Version] = [:]
    var journal = RestoredJournal()

    /// - Throws: what SQLite has against it. What is there but makes no sense is left out, so that a later version's policies do not
    ///   keep an earlier one from reading the rest.
    init(_ connection: borrowing Connection) throws(SQLiteError) {
        try readFacts(connection)
        try readNamespaces(connection)
        try readTags(connection)
        try readUsage(connection)
        journal = try RestoredJournal(connection, hash: EntryHash(seed: state.hashSeed))
    }

    private mutating func readFacts(_ connection: borrowing Connection) throws(SQLiteError) {
        let facts = try Statement(connection, "SELECT name, value FROM state")
        var anchor = ClockAnchor(bootID: "", bootMilliseconds: 0, wallMilliseconds: 0, serviceMilliseconds: 0)
        var hasAnchor = false
        while try facts.step() {
            switch StateName(rawValue: facts.text(0)) {
            case .hashSeed: state.hashSeed = UInt64(bitPattern: facts.integer(1))
            case .versionCeiling: state.versionCeiling = Version(clamping: facts.integer(1))
            case .nextNamespaceID: state.nextNamespaceID = NamespaceID(clamping: facts.integer(1))
            case .anchorBoot: anchor.bootID = facts.text(1)
            case .anchorBootMilliseconds: anchor.bootMilliseconds = facts.integer(1)
            case .anchorWallMilliseconds: anchor.wallMilliseconds = facts.integer(1)
            case .anchorServiceMilliseconds:
                anchor.serviceMilliseconds = facts.integer(1)
                hasAnchor = true
            case .commits, .journalEnd, nil: break
            }
        }
        if hasAnchor { state.clockAnchor = anchor }
    }

    private mutating func readNamespaces(_ connection: borrowing Connection) throws(SQLiteError) {
        let rows = try Statement(connection, "SELECT \(StateTables.namespaceColumns) FROM namespaces ORDER BY id")
        while try rows.step() {
            guard let name = try? NamespaceName(rows.text(1)) else { continue }
            var policy = Policy()
            policy.defaultTTL = rows.optionalInteger(7)
            policy.maxTTL = rows.optionalInteger(8)
            policy.staleTTL = rows.integer(9)
            policy.ttlJitter = rows.double(10)
            policy.maxMemory = rows.optionalInteger(11)
            policy.maxEntries = rows.optionalInteger(12)
            policy.maxDisk = rows.optionalInteger(13)
            policy.maxValueSize = rows.integer(14)
            policy.eviction = Eviction(rawValue: rows.text(15)) ?? policy.eviction
            policy.durability = Durability(rawValue: rows.text(16)) ?? policy.durability
            policy.compressionThreshold = rows.integer(17)
            policy.compressionLevel = Int(clamping: rows.integer(18))
            var record = NamespaceRecord(
                id: NamespaceID(clamping: rows.integer(0)),
                name: name,
                policy: policy,
                createdAt: Timestamp(milliseconds: rows.integer(2))
            )
            record.generation = UInt64(clamping: rows.integer(3))
            record.watermark = Self.watermark(rows, from: 4, marks: 19)
            record.lowerFrom = Version(clamping: rows.integer(20))
            state.namespaces.append(record)
        }
    }

    private mutating func readTags(_ connection: borrowing Connection) throws(SQLiteError) {
        let rows = try Statement(
            connection,
            "SELECT namespace, tag, gone_before, stale_before, stale_since, stale_marks FROM tags"
        )
        while try rows.step() {
            let namespace = NamespaceID(clamping: rows.integer(0))
            state.tags.append((namespace, EntryTag(bytes: rows.bytes(1)), Self.watermark(rows, from: 2, marks: 5)))
        }
    }

    private mutating func readUsage(_ connection: borrowing Connection) throws(SQLiteError) {
        let rows = try Statement(connection, "SELECT namespace, entries, bytes FROM usage")
        while try rows.step() {
            usage[NamespaceID(clamping: rows.integer(0))] = TierUsage(entries: rows.integer(1), bytes: rows.integer(2))
        }
        let gone = try Statement(connection, "SELECT namespace FROM dropped")
        while try gone.step() { dropped.append(NamespaceID(clamping: gone.integer(0))) }
        let marks = try Statement(connection, "SELECT namespace, through FROM voids")
        while try marks.step() { voids[NamespaceID(clamping: marks.integer(0))] = Version(clamping: marks.integer(1)) }
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
