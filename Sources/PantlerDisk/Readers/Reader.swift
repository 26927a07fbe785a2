import PantlerCodec
import PantlerModel

/// A connection that only reads, with its statements. Used by one thread at a time.
final class Reader {
    private let connection: SQLiteConnection
    private let byKey: Statement
    private let headByKey: Statement
    private let byID: Statement
    private let listing: Statement
    private let keys: Statement
    private var inflater: Inflater

    init(path: String, cacheBytes: Int64) throws(SQLiteError) {
        connection = try Self.connect(path: path, cacheBytes: cacheBytes)
        byKey = try Statement(
            connection,
            "SELECT \(RowReading.columns) FROM entries WHERE namespace = ?1 AND key = ?2"
        )
        headByKey = try Statement(connection, RowReading.headQuery)
        byID = try Statement(connection, "SELECT \(RowReading.columns) FROM entries WHERE id = ?1")
        listing = try Statement(
            connection,
            """
            SELECT key, version, expires_at, stale_ttl, tags, size, \(RowReading.isAbsent)
            FROM entries INDEXED BY entries_key
            WHERE namespace = ?1 AND key >= ?2 ORDER BY key
            """
        )
        keys = try Statement(
            connection,
            """
            SELECT namespace, key, id FROM entries INDEXED BY entries_key WHERE (namespace, key) > (?1, ?2)
            ORDER BY namespace, key LIMIT ?3
            """
        )
        inflater = try Self.makeInflater()
    }

    /// A connection for reading, which waits a while for a locked file.
    static func connect(path: String, cacheBytes: Int64) throws(SQLiteError) -> SQLiteConnection {
        let connection = try SQLiteConnection(path: path, mode: .readWrite)
        try connection.setBusyTimeout(milliseconds: 1000)
        // Closing a connection copies the log by default, and only the writer knows whether that may be done.
        try connection.keepLogOnClose(true)
        // No mmap: a disk that goes away would then kill the process by a signal instead of failing a read.
        try connection.execute(
            "PRAGMA query_only = 1; PRAGMA cache_size = -\(max(64, cacheBytes >> 10)); PRAGMA mmap_size = 0"
        )
        return connection
    }

    static func makeInflater() throws(SQLiteError) -> Inflater {
        do {
            return try Inflater()
        } catch {
            throw SQLiteError(code: .noMemory, message: error.description)
        }
    }

    /// The entry of a key; `nil` if there is none, or its size is not admitted: the value is not read then.
    func entry(
        namespace: NamespaceID,
        key: [UInt8],
        admits: (Int64) -> Bool = { _ in true }
    ) throws(ReadFailure) -> Entry? {
        defer { byKey.reset() }
        do {
            guard try byKey.find(namespace: namespace, key: key) else { return nil }
        } catch {
            throw .fault(error.fault)
        }
        guard admits(byKey.integer(4)) else { return nil }
        return try RowReading.entry(byKey, &inflater)
    }

    /// The head of a key's entry; `nil` if there is none. Pages that only the value has are not read.
    func head(namespace: NamespaceID, key: [UInt8]) throws(SQLiteError) -> EntryHead? {
        defer { headByKey.reset() }
        return try headByKey.find(namespace: namespace, key: key) ? RowReading.head(headByKey) : nil
    }

    /// The entry of a row with its namespace and key; `nil` if the row is gone.
    func entry(row: Int64) throws(ReadFailure) -> (namespace: NamespaceID, key: [UInt8], entry: Entry)? {
        defer { byID.reset() }
        do {
            try byID.bind(1, row)
            guard try byID.step() else { return nil }
        } catch {
            throw .fault(error.fault)
        }
        let entry = try RowReading.entry(byID, &inflater)
        return (NamespaceID(truncatingIfNeeded: byID.integer(10)), Array(byID.bytes(11)), entry)
    }

    /// Shows the rows of a namespace from a key on, in byte order, until `body` returns `false`. `body` must not use this reader.
    func list(
        namespace: NamespaceID,
        from key: [UInt8],
        _ body: (ListedEntry) -> Bool
    ) throws(SQLiteError) {
        defer { listing.reset() }
        try key.withBytes { (bytes) throws(SQLiteError) in
            try listing.bind(1, Int64(namespace))
            try listing.bind(2, borrowing: bytes)
            while try listing.step() {
                let listed = ListedEntry(
                    key: Array(listing.bytes(0)),
                    version: Version(clamping: listing.integer(1)),
                    expiresAt: listing.isNull(2) ? .never : Timestamp(milliseconds: listing.integer(2)),
                    staleTTL: listing.integer(3),
                    tags: TagList.decode(listing.bytes(4)) ?? [],
                    size: listing.integer(5),
                    isAbsent: listing.integer(6) == 1
                )
                guard body(listed) else { return }
            }
        }
    }

    /// Shows the next rows in the order of their keys: numbers, namespaces and keys. Over the index alone.
    ///
    /// - Returns: the last of them; `nil` if there are no more.
    func keys(
        after last: (namespace: NamespaceID, key: [UInt8]),
        limit: Int,
        _ body: (Int64, NamespaceID, UnsafeRawBufferPointer) -> Void
    ) throws(SQLiteError) -> (NamespaceID, [UInt8])? {
        defer { keys.reset() }
        return try last.key.withBytes { (key) throws(SQLiteError) in
            try keys.bind(1, Int64(last.namespace))
            try keys.bind(2, borrowing: key)
            try keys.bind(3, Int64(limit))
            var count = 0
            while try keys.step() {
                let namespace = NamespaceID(truncatingIfNeeded: keys.integer(0))
                body(keys.integer(2), namespace, keys.bytes(1))
                count += 1
                if count == limit { return (namespace, Array(keys.bytes(1))) }
            }
            return nil
        }
    }

    /// The hashes of the hot set, as they lie in the file; empty if there is none.
    func hotSet() throws(SQLiteError) -> [UInt8] {
        let row = try Statement(connection, "SELECT hashes FROM hot_set")
        return try row.step() ? Array(row.bytes(0)) : []
    }
}
