import PantlerModel

/// The table `journal`, as the writer changes it: a row for each commit that went there, with all of its changes of entries.
///
/// Why there is one. A change of a row costs the pages that it touches, each of them whole: in the log, and once more when the log is copied
/// into the file. A commit of a hundred changes touches about a hundred pages by rows, and eight by way of the journal. Its changes come to their
/// rows later, many commits together and in the order of keys, and a key that was written ten times by then comes once. What is
/// in the journal is as safe as a row: it is in the same file, log and transactions.
final class Journal {
    private let insert: Statement
    private let delete: Statement
    private var record: [UInt8] = []

    init(_ connection: borrowing Connection) throws(SQLiteError) {
        insert = try Statement(connection, "INSERT INTO journal (id, changes) VALUES (?1, ?2)")
        delete = try Statement(connection, "DELETE FROM journal WHERE id = ?1")
    }

    /// Writes the changes of entries among `items` as one row with the number `id`.
    ///
    /// - Returns: bytes of the row; 0 where there was nothing to write, and there is none.
    func append(_ items: some Sequence<Batch.Item>, as id: Int64) throws(SQLiteError) -> Int64 {
        JournalRecord.encode(items, into: &record)
        guard !record.isEmpty else { return 0 }
        try record.withBytes { (bytes) throws(SQLiteError) in
            try insert.bind(1, id)
            try insert.bind(2, borrowing: bytes)
            try insert.run()
        }
        defer { if record.capacity > Self.keptBytes { record = [] } }
        return Int64(record.count)
    }

    /// Removes a row, if it is there.
    func remove(_ id: Int64) throws(SQLiteError) {
        try delete.bind(1, id)
        try delete.run()
    }

    /// A buffer that grew beyond this for one large commit is not kept.
    private static let keptBytes = 1 << 20
}

/// What an earlier run left in the journal.
struct RestoredJournal: Sendable {
    /// In the order in which they came.
    var changes: [KeyedChange] = []
    /// Numbers of its rows.
    var rows: [Int64] = []
    /// All rows with this number or a smaller one are over.
    var end: Int64 = 0
    var bytes: Int64 = 0
    /// Rows that are not what was written. Their changes are lost, and what they would have replaced is seen.
    var damagedRows = 0
    /// `false` where its pages are damaged, so that it cannot be used.
    var isUsable = true

    init() {}

    /// Complexity: O(journal), which `DiskOptions` bounds.
    ///
    /// - Throws: errors that are no damage.
    init(_ connection: borrowing Connection, hash: EntryHash) throws(SQLiteError) {
        do throws(SQLiteError) {
            try read(connection, hash)
        } catch {
            guard error.code.primary == .corrupt else { throw error }
            damagedRows += 1
            isUsable = false
            rows = []
        }
    }

    private mutating func read(_ connection: borrowing Connection, _ hash: EntryHash) throws(SQLiteError) {
        end = try connection.integer("SELECT value FROM state WHERE name = '\(StateName.journalEnd.rawValue)'")
        let numbers = try Statement(connection, "SELECT id FROM journal WHERE id > ?1 ORDER BY id")
        try numbers.bind(1, end)
        while try numbers.step() { rows.append(numbers.integer(0)) }
        let record = try Statement(connection, "SELECT changes FROM journal WHERE id = ?1")
        for row in rows {
            try record.bind(1, row)
            defer { record.reset() }
            // Where a page of it is damaged, the step fails or the column is empty.
            guard (try? record.step()) == true, let found = JournalRecord.decode(record.bytes(0)) else {
                damagedRows += 1
                continue
            }
            bytes += Int64(record.bytes(0).count)
            for (namespace, key, change) in found {
                let address = EntryAddress(
                    namespace: namespace,
                    key: key,
                    hash: hash.hash(namespace: namespace, key: key)
                )
                changes.append(KeyedChange(address, change))
            }
        }
    }
}
