import PantlerModel

/// Names of the rows of `state`.
enum StateName: String {
    /// The seed of `EntryHash`, as a signed number.
    case hashSeed = "hash_seed"
    case versionCeiling = "version_ceiling"
    case nextNamespaceID = "next_namespace_id"
    /// Changes with every sync that has nothing else to write, so that there is something to commit.
    case commits
    /// Rows of the journal with this number or a smaller one are merged, even those that are still there.
    case journalEnd = "journal_end"
    /// The parts of a `ClockAnchor`.
    case anchorBoot = "anchor_boot"
    case anchorBootMilliseconds = "anchor_boot_ms"
    case anchorWallMilliseconds = "anchor_wall_ms"
    case anchorServiceMilliseconds = "anchor_service_ms"
    /// The parts of its `ClockDoubt`; 0 where there is none.
    case doubtServiceMilliseconds = "doubt_service_ms"
    case doubtEarlierServiceMilliseconds = "doubt_earlier_service_ms"
    case doubtEarlierWallMilliseconds = "doubt_earlier_wall_ms"
}

/// The small tables: namespaces, tags, usage, dropped namespaces, voids, tokens and single facts, as the writer changes them.
final class StateTables {
    private let setFact: Statement
    private let putHotSet: Statement
    private let raiseFact: Statement
    private let putNamespace: Statement
    private let deleteNamespace: Statement
    private let putTag: Statement
    private let deleteTags: Statement
    private let deleteTag: Statement
    private let oldTags: Statement
    private let putUsage: Statement
    private let deleteUsage: Statement
    private let addDropped: Statement
    private let deleteDropped: Statement
    private let raiseVoid: Statement
    private let deleteVoid: Statement
    private let putToken: Statement
    private let deleteToken: Statement

    static let namespaceColumns = formerNamespaceColumns + ", negative_ttl, early_refresh"

    /// The columns before `Schema.negativeVersion`.
    static let formerNamespaceColumns = """
        id, name, created_at, generation, gone_before, stale_before, stale_since, default_ttl, max_ttl, stale_ttl, \
        ttl_jitter, max_memory, max_entries, max_disk, max_value_size, eviction, durability, compression_threshold, \
        compression_level, stale_marks, lower_from
        """

    init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        setFact = try Statement(connection, CheckedTable.state.insertion)
        putHotSet = try Statement(connection, "INSERT OR REPLACE INTO hot_set (id, hashes) VALUES (1, ?1)")
        raiseFact = try Statement(
            connection,
            """
            INSERT INTO state (name, value, checksum) VALUES (?1, ?2, \(CheckedTable.state.checksum("?1, ?2")))
            ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value),
                checksum = \(CheckedTable.state.checksum("name, max(value, excluded.value)"))
            """
        )
        putNamespace = try Statement(connection, CheckedTable.namespaces.insertion)
        deleteNamespace = try Statement(connection, "DELETE FROM namespaces WHERE id = ?1")
        putTag = try Statement(connection, CheckedTable.tags.insertion)
        deleteTags = try Statement(
            connection,
            "DELETE FROM tags WHERE namespace = ?1 AND max(gone_before, stale_before) < ?2"
        )
        deleteTag = try Statement(connection, "DELETE FROM tags WHERE namespace = ?1 AND tag = ?2")
        oldTags = try Statement(
            connection,
            "SELECT tag FROM tags WHERE namespace = ?1 AND max(gone_before, stale_before) < ?2"
        )
        putUsage = try Statement(connection, CheckedTable.usage.insertion)
        deleteUsage = try Statement(connection, "DELETE FROM usage WHERE namespace = ?1")
        addDropped = try Statement(connection, CheckedTable.dropped.insertion)
        deleteDropped = try Statement(connection, "DELETE FROM dropped WHERE namespace = ?1")
        raiseVoid = try Statement(
            connection,
            """
            INSERT INTO voids (namespace, through, checksum)
            VALUES (?1, ?2, \(CheckedTable.voids.checksum("?1, ?2")))
            ON CONFLICT (namespace) DO UPDATE SET through = max(through, excluded.through),
                checksum = \(CheckedTable.voids.checksum("namespace, max(through, excluded.through)"))
            """
        )
        deleteVoid = try Statement(connection, "DELETE FROM voids WHERE namespace = ?1 AND through <= ?2")
        putToken = try Statement(connection, CheckedTable.tokens.insertion)
        deleteToken = try Statement(connection, "DELETE FROM tokens WHERE id = ?1")
    }

    // MARK: Facts

    func set(_ name: StateName, _ value: Int64) throws(SQLiteError) {
        try setFact.bind(1, name.rawValue)
        try setFact.bind(2, value)
        try setFact.run()
    }

    /// Keeps the larger of the value that is there and this one.
    func raise(_ name: StateName, to value: Int64) throws(SQLiteError) {
        try raiseFact.bind(1, name.rawValue)
        try raiseFact.bind(2, value)
        try raiseFact.run()
    }

    func set(_ name: StateName, _ text: String) throws(SQLiteError) {
        try setFact.bind(1, name.rawValue)
        try setFact.bind(2, text)
        try setFact.run()
    }

    func set(_ anchor: ClockAnchor) throws(SQLiteError) {
        try set(.anchorBoot, anchor.bootID)
        try set(.anchorBootMilliseconds, anchor.bootMilliseconds)
        try set(.anchorWallMilliseconds, anchor.wallMilliseconds)
        try set(.anchorServiceMilliseconds, anchor.serviceMilliseconds)
        try set(.doubtServiceMilliseconds, anchor.doubt?.serviceMilliseconds ?? 0)
        try set(.doubtEarlierServiceMilliseconds, anchor.doubt?.earlierServiceMilliseconds ?? 0)
        try set(.doubtEarlierWallMilliseconds, anchor.doubt?.earlierWallMilliseconds ?? 0)
    }

    func setHotSet(_ hashes: [UInt64]) throws(SQLiteError) {
        let words = hashes.map { $0.littleEndian }
        let result = words.withUnsafeBytes { bytes in
            Result { () throws(SQLiteError) in
                try putHotSet.bind(1, borrowing: bytes)
                try putHotSet.run()
            }
        }
        try result.get()
    }

    // MARK: Namespaces and tags

    func put(_ record: NamespaceRecord) throws(SQLiteError) {
        let policy = record.policy
        try putNamespace.bind(1, Int64(record.id))
        try putNamespace.bind(2, record.name.description)
        try putNamespace.bind(3, record.createdAt.milliseconds)
        try putNamespace.bind(4, Int64(clamping: record.generation))
        try Self.bind(record.watermark, putNamespace, from: 5)
        try putNamespace.bind(8, policy.defaultTTL)
        try putNamespace.bind(9, policy.maxTTL)
        try putNamespace.bind(10, policy.staleTTL)
        try putNamespace.bind(11, policy.ttlJitter)
        try putNamespace.bind(12, policy.maxMemory)
        try putNamespace.bind(13, policy.maxEntries)
        try putNamespace.bind(14, policy.maxDisk)
        try putNamespace.bind(15, policy.maxValueSize)
        try putNamespace.bind(16, policy.eviction.rawValue)
        try putNamespace.bind(17, policy.durability.rawValue)
        try putNamespace.bind(18, policy.compressionThreshold)
        try putNamespace.bind(19, Int64(policy.compressionLevel))
        try putNamespace.bind(21, Int64(clamping: record.lowerFrom))
        try putNamespace.bind(22, policy.negativeTTL)
        try putNamespace.bind(23, policy.earlyRefresh)
        try StaleMarks.encode(record.watermark).withBytes { (marks) throws(SQLiteError) in
            if marks.isEmpty { try putNamespace.bindNull(20) } else { try putNamespace.bind(20, borrowing: marks) }
            try putNamespace.run()
        }
        try raise(.nextNamespaceID, to: Int64(record.id) + 1)
    }

    func put(_ namespace: NamespaceID, tag: EntryTag, _ mark: Watermark) throws(SQLiteError) {
        try putTag.bind(1, Int64(namespace))
        try putTag.bind(2, tag.text)
        try Self.bind(mark, putTag, from: 3)
        try StaleMarks.encode(mark).withBytes { (marks) throws(SQLiteError) in
            if marks.isEmpty { try putTag.bindNull(6) } else { try putTag.bind(6, borrowing: marks) }
            try putTag.run()
        }
    }

    private static func bind(
        _ mark: Watermark,
        _ statement: borrowing Statement,
        from column: Int32
    ) throws(SQLiteError) {
        let last = mark.staleMarks.last
        try statement.bind(column, Int64(clamping: mark.goneBefore))
        try statement.bind(column + 1, Int64(clamping: last?.before ?? 0))
        try statement.bind(column + 2, last?.since.milliseconds ?? 0)
    }

    /// Forgets tags whose marks are all of smaller versions, but for some.
    func forgetTags(
        _ namespace: NamespaceID,
        before version: Version,
        except kept: Set<EntryTag>
    ) throws(SQLiteError) {
        guard !kept.isEmpty else {
            try deleteTags.bind(1, Int64(namespace))
            try deleteTags.bind(2, Int64(clamping: version))
            return try deleteTags.run()
        }
        var forgotten: [EntryTag] = []
        try oldTags.bind(1, Int64(namespace))
        try oldTags.bind(2, Int64(clamping: version))
        defer { oldTags.reset() }
        while try oldTags.step() {
            let tag = EntryTag(bytes: oldTags.bytes(0))
            if !kept.contains(tag) { forgotten.append(tag) }
        }
        oldTags.reset()
        for tag in forgotten {
            try deleteTag.bind(1, Int64(namespace))
            try deleteTag.bind(2, tag.text)
            try deleteTag.run()
        }
    }

    /// Forgets a namespace and remembers that its rows are to go. Its number is not given again.
    func drop(_ namespace: NamespaceID) throws(SQLiteError) {
        try forgetTags(namespace, before: .max, except: [])
        try deleteNamespace.bind(1, Int64(namespace))
        try deleteNamespace.run()
        try addDropped.bind(1, Int64(namespace))
        try addDropped.run()
        try endVoid(namespace, through: .max)
    }

    /// Forgets a dropped namespace: its last row is gone.
    func forgetDropped(_ namespace: NamespaceID) throws(SQLiteError) {
        try deleteUsage.bind(1, Int64(namespace))
        try deleteUsage.run()
        try deleteDropped.bind(1, Int64(namespace))
        try deleteDropped.run()
    }

    /// Marks the rows of a namespace up to this version as void: they must not be seen any more.
    func raiseVoid(_ namespace: NamespaceID, through version: Version) throws(SQLiteError) {
        try raiseVoid.bind(1, Int64(namespace))
        try raiseVoid.bind(2, Int64(clamping: version))
        try raiseVoid.run()
    }

    /// Removes the mark of void rows: no row up to this version is left.
    func endVoid(_ namespace: NamespaceID, through version: Version) throws(SQLiteError) {
        try deleteVoid.bind(1, Int64(namespace))
        try deleteVoid.bind(2, Int64(clamping: version))
        try deleteVoid.run()
    }

    func setUsage(of namespace: NamespaceID, _ usage: TierUsage) throws(SQLiteError) {
        try putUsage.bind(1, Int64(namespace))
        try putUsage.bind(2, usage.entries)
        try putUsage.bind(3, usage.bytes)
        try putUsage.run()
    }

    // MARK: Tokens

    func put(_ record: TokenRecord) throws(SQLiteError) { try TokenRows.write(record, putToken) }

    func remove(_ id: TokenID) throws(SQLiteError) {
        try deleteToken.bind(1, id.description)
        try deleteToken.run()
    }

    // MARK: Damage

    /// Writes the restored state over the damaged rows.
    func mend(_ restored: RestoredState, _ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        for table in CheckedTable.allCases {
            try connection.execute("DELETE FROM \(table.rawValue) WHERE NOT (\(table.isSound))")
        }
        let state = restored.state
        try set(.hashSeed, Int64(bitPattern: state.hashSeed))
        try raise(.versionCeiling, to: Int64(clamping: state.versionCeiling))
        try raise(.nextNamespaceID, to: Int64(state.nextNamespaceID))
        for record in state.namespaces {
            try put(record)
            try deleteDropped.bind(1, Int64(record.id))
            try deleteDropped.run()
        }
        for (namespace, tag, mark) in state.tags { try put(namespace, tag: tag, mark) }
        for (namespace, usage) in restored.usage { try setUsage(of: namespace, usage) }
        for namespace in restored.dropped {
            try addDropped.bind(1, Int64(namespace))
            try addDropped.run()
        }
        for (namespace, through) in restored.voids { try raiseVoid(namespace, through: through) }
    }
}
