import PantlerModel

/// The table `journal`, as the writer changes it: a row for each commit that went there, with all of its changes of entries.
///
/// Why there is one. A change of a row costs the pages that it touches, each of them whole: in the log, and once more when the log is copied
/// into the file. A commit of a hundred changes touches about a hundred pages by rows, and eight by way of the journal. Its changes come to their
/// rows later (they are *merged*), many commits together and in the order of keys, and a key that was written ten times by then comes once.
/// What is in the journal is as safe as a row: it is in the same file, log and transactions.
///
/// The rules, of which the files of this folder each carry out a part:
///
/// 1. What is in it. Changes of entries alone: puts, touches and deletes (`JournalRecord`). Namespaces, marks of tags and all other
///    controls go to their own tables with the same commit. Each change that is in the journal is in memory too (`JournaledChanges`).
/// 2. When a commit goes there (`JournalState.destination`). Into an empty journal: when it has many changes and they are small. Once
///    something is in the journal, every commit goes there until it is empty; a commit of large values has it emptied, at once where little
///    is in it. No row is written directly meanwhile: should that row then leave by itself, as one that expires does, the older
///    change in the journal would follow it after a crash, and bring back what was replaced.
/// 3. What overtakes what. Of two changes of an entry the one of the larger version holds, wherever they stand; a touch is joined with the
///    change that it follows. Reads look into the queue, then into the journal's changes, then at the row (`WriteQueue.look`): a change
///    leaves one place only once it is in the next, so that it is met at least once, and never after an older one. What is void
///    (`VoidMarks`) and what is of a dropped namespace is void in the journal as well, and is not merged.
/// 4. When it is merged (`Writer+Journal`). When it has come to its bound in bytes or entries, when its oldest change has waited for
///    `DiskOptions.journalMilliseconds`, when nothing has come for `journalIdleMilliseconds`, and when somebody needs the rows as they are to be: a
///    `flush`, a removal by prefix, a sweep, the end of a namespace, a clean stop. By short transactions: first the changes in the order
///    of keys (`RowOrder`), then the journal's rows that held them. New commits go on to the journal meanwhile, and are merged the next time.
/// 5. What a start does with it (`RestoredJournal`). It reads all rows above `journal_end` back into memory, in the order of their
///    numbers; so reads are right at once, and the changes are merged like others. A merge that was cut off begins anew: to make a change
///    once more that its row has already makes no difference. A damaged row is counted and reported, and its changes are lost. Where the table's
///    pages are damaged, the run does without a journal.
/// 6. What fails. A change that alone cannot be merged is given up with a delete in its place, so that nothing older is seen. On a full
///    disk all is merged in one transaction with the removal of the journal's rows, whose room it then uses. Rows of the journal that
///    damage keeps from being removed are over all the same: `journal_end` says so.
final class Journal {
    private let insert: Statement
    private let delete: Statement
    private var record: [UInt8] = []

    init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
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
    /// The changes in the order in which they came.
    var changes: [KeyedChange] = []
    /// The numbers of the journal's rows.
    var rows: [Int64] = []
    /// Rows with this number or a smaller one are merged, even if they are still there.
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
    init(_ connection: borrowing SQLiteConnection, hash: EntryHash) throws(SQLiteError) {
        do throws(SQLiteError) {
            try read(connection, hash)
        } catch {
            guard error.code.primary == .corrupt else { throw error }
            damagedRows += 1
            isUsable = false
            rows = []
        }
    }

    private mutating func read(_ connection: borrowing SQLiteConnection, _ hash: EntryHash) throws(SQLiteError) {
        end = try connection.integer("SELECT value FROM state WHERE name = '\(StateName.journalEnd.rawValue)'")
        let numbers = try Statement(connection, "SELECT id FROM journal WHERE id > ?1 ORDER BY id")
        try numbers.bind(1, end)
        while try numbers.step() { rows.append(numbers.integer(0)) }
        let record = try Statement(connection, "SELECT changes FROM journal WHERE id = ?1")
        for row in rows {
            try record.bind(1, row)
            defer { record.reset() }
            // Where a page of the row is damaged, the step fails or the column is empty.
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
