import PantlerModel

/// The table `journal`, as the writer changes it: a row for each commit that went there, with all of its changes of entries.
///
/// Why there is one. A change of a row costs the pages that it touches, each of them whole: in the log, and once more when the log is copied
/// into the file. A commit of a hundred changes touches about a hundred pages by rows, and eight by way of the journal. Its changes come to their
/// rows later, many commits together and in the order of keys, and a key that was written ten times by then comes once. What is
/// in the journal is as safe as a row: it is in the same file, log and transactions.
final class Journal {
    private let insert: Statement
    private let deleteFirst: Statement
    private var record: [UInt8] = []

    init(_ connection: borrowing Connection) throws(SQLiteError) {
        insert = try Statement(connection, "INSERT INTO journal (changes) VALUES (?1)")
        deleteFirst = try Statement(connection, "DELETE FROM journal WHERE id = (SELECT min(id) FROM journal)")
    }

    /// Writes the changes of entries among `items` as one row.
    ///
    /// - Returns: bytes of the row; 0 where there was nothing to write, and there is none.
    func append(_ items: some Sequence<Batch.Item>) throws(SQLiteError) -> Int64 {
        JournalRecord.encode(items, into: &record)
        guard !record.isEmpty else { return 0 }
        try record.withBytes { (bytes) throws(SQLiteError) in
            try insert.bind(1, borrowing: bytes)
            try insert.run()
        }
        defer { if record.capacity > Self.keptBytes { record = [] } }
        return Int64(record.count)
    }

    /// Removes the oldest row.
    func removeFirst() throws(SQLiteError) {
        try deleteFirst.run()
    }

    /// A buffer that grew beyond this for one large commit is not kept.
    private static let keptBytes = 1 << 20
}

/// What an earlier run left in the journal.
struct RestoredJournal: Sendable {
    /// In the order in which they came.
    var changes: [(address: EntryAddress, change: EntryChange)] = []
    var rows = 0
    var bytes: Int64 = 0
    /// Rows that are not what was written.
    var damagedRows = 0

    init() {}

    /// Complexity: O(journal), which `DiskOptions` bounds.
    init(_ connection: borrowing Connection, hash: EntryHash) throws(SQLiteError) {
        let records = try Statement(connection, "SELECT changes FROM journal ORDER BY id")
        while try records.step() {
            let record = records.bytes(0)
            rows += 1
            bytes += Int64(record.count)
            guard let found = JournalRecord.decode(record) else {
                damagedRows += 1
                continue
            }
            for (namespace, key, change) in found {
                let address = EntryAddress(
                    namespace: namespace,
                    key: key,
                    hash: hash.hash(namespace: namespace, key: key)
                )
                changes.append((address, change))
            }
        }
    }
}
