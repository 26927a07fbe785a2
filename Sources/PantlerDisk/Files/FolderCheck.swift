import PantlerCodec
import PantlerModel

/// What a look at every page and every row of a data folder found.
package struct FolderReport: Sendable {
    package var schemaVersion = 0
    package var fileBytes: Int64 = 0
    package var walBytes: Int64 = 0
    package var namespaces = 0
    package var entries: Int64 = 0
    /// Bytes that the rows cost by their own account; see `DiskOptions.maxBytes`.
    package var bytes: Int64 = 0
    package var deflated: Int64 = 0
    /// Changes in the journal, which come to their rows after the next start, or soon where the folder is served.
    package var journaled: Int64 = 0
    /// Rows that are not what was written, those of the journal included. A damaged row is a miss, and is removed once it is read.
    package var damagedRows: Int64 = 0
    /// Sentences about what is wrong: SQLite's own findings, the first of the damaged rows, usage that does not add up.
    package var findings: [String] = []

    package var isSound: Bool { findings.isEmpty && damagedRows == 0 }
}

/// Looks at a data folder without changing it, whether it is served at the time or not.
package enum FolderCheck {
    /// How many damaged rows are named; the others are only counted.
    private static let named = 20

    /// Complexity: O(everything in the file). Memory: one row's.
    ///
    /// - Throws: where there is no file, or it is not Pantler's. Damage is no error but a finding, as long as anything can be read.
    package static func run(folder: String) throws(DiskOpenError) -> FolderReport {
        let path = folder + "/" + DiskTier.fileName
        // Before SQLite looks at the files, since it would change them and a check must not.
        try DatabaseFile.checkWhole(path)
        guard DatabaseFile.exists(path) else { throw .noData(path: path) }
        let connection = try open(path)
        var report = FolderReport()
        do throws(SQLiteError) {
            report.schemaVersion = Int(try connection.integer("PRAGMA user_version"))
        } catch {
            throw DiskOpenError(error, path: path)
        }
        report.fileBytes = DatabaseFile.bytes(of: path)
        report.walBytes = DatabaseFile.bytes(of: path + "-wal")
        // Each part by itself: one that cannot be read must not hide what the others find.
        attempt("the pages", &report) { (report) throws(SQLiteError) in try checkPages(connection, &report) }
        attempt("the rows", &report) { (report) throws(SQLiteError) in try checkRows(connection, &report) }
        if report.schemaVersion >= Schema.journalVersion {
            attempt("the journal", &report) { (report) throws(SQLiteError) in try checkJournal(connection, &report) }
        }
        attempt("the state", &report) { (report) throws(SQLiteError) in try checkState(connection, &report) }
        attempt("the usage", &report) { (report) throws(SQLiteError) in try checkUsage(connection, &report) }
        return report
    }

    private static func open(_ path: String) throws(DiskOpenError) -> SQLiteConnection {
        do throws(SQLiteError) {
            // To read a log SQLite has to write the index of it (-shm), which a connection that only reads may not.
            let connection = try SQLiteConnection(
                path: path,
                mode: DatabaseFile.isWritable(path) ? .readWrite : .readOnly
            )
            try connection.setBusyTimeout(milliseconds: 2000)
            try connection.keepLogOnClose(true)
            try connection.execute("PRAGMA query_only = 1")
            let application = try connection.integer("PRAGMA application_id")
            guard application == Schema.applicationID else {
                throw SQLiteError(code: .notADatabase, message: "its application_id is \(application)")
            }
            return connection
        } catch {
            throw DiskOpenError(error, path: path)
        }
    }

    private static func attempt(
        _ what: String,
        _ report: inout FolderReport,
        _ body: (inout FolderReport) throws(SQLiteError) -> Void
    ) {
        do throws(SQLiteError) {
            try body(&report)
        } catch {
            report.findings.append("Cannot read \(what): \(error)")
        }
    }

    private static func checkPages(
        _ connection: borrowing SQLiteConnection,
        _ report: inout FolderReport
    ) throws(SQLiteError) {
        let check = try Statement(connection, "PRAGMA integrity_check")
        while try check.step() {
            let line = check.text(0)
            if line != "ok" { report.findings.append(line) }
        }
    }

    private static func checkRows(
        _ connection: borrowing SQLiteConnection,
        _ report: inout FolderReport
    ) throws(SQLiteError) {
        let rows = try Statement(connection, "SELECT \(RowReading.columns), cost FROM entries ORDER BY id")
        var inflater: Inflater
        do {
            inflater = try Inflater()
        } catch {
            throw SQLiteError(code: .noMemory, message: error.description)
        }
        while try rows.step() {
            report.entries += 1
            report.bytes += rows.integer(RowReading.columnCount)
            if rows.integer(5) == StoredForm.deflated.rawValue { report.deflated += 1 }
            do throws(ReadFailure) {
                _ = try RowReading.entry(rows, &inflater)
            } catch {
                report.damagedRows += 1
                if report.damagedRows <= named { report.findings.append("Damaged: \(error.fault)") }
            }
        }
    }

    private static func checkJournal(
        _ connection: borrowing SQLiteConnection,
        _ report: inout FolderReport
    ) throws(SQLiteError) {
        let records = try Statement(
            connection,
            """
            SELECT changes, id FROM journal
            WHERE id > ifnull((SELECT value FROM state WHERE name = '\(StateName.journalEnd.rawValue)'), 0) ORDER BY id
            """
        )
        while try records.step() {
            if let changes = JournalRecord.decode(records.bytes(0)) {
                report.journaled += Int64(changes.count)
            } else {
                report.damagedRows += 1
                report.findings.append("Damaged: row \(records.integer(1)) of the journal.")
            }
        }
    }

    /// The small tables, which a start goes by.
    private static func checkState(
        _ connection: borrowing SQLiteConnection,
        _ report: inout FolderReport
    ) throws(SQLiteError) {
        for table in CheckedTable.allCases where report.schemaVersion >= table.since {
            let isSound = table.isSound(in: report.schemaVersion)
            let damaged = try connection.integer("SELECT count(*) FROM \(table.rawValue) WHERE NOT (\(isSound))")
            guard damaged > 0 else { continue }
            report.damagedRows += damaged
            report.findings.append("Damaged: \(damaged) rows of \(table.rawValue).")
        }
    }

    /// The usage of each namespace has to be the sum over its rows.
    private static func checkUsage(
        _ connection: borrowing SQLiteConnection,
        _ report: inout FolderReport
    ) throws(SQLiteError) {
        report.namespaces = Int(try connection.integer("SELECT count(*) FROM namespaces"))
        let sums = try Statement(
            connection,
            """
            SELECT namespace, sum(entries), sum(bytes) FROM (
                SELECT namespace, entries, bytes FROM usage
                UNION ALL SELECT namespace, -count(*), -sum(cost) FROM entries GROUP BY namespace)
            GROUP BY namespace HAVING sum(entries) <> 0 OR sum(bytes) <> 0
            """
        )
        while try sums.step() {
            report.findings.append(
                "Namespace \(sums.integer(0)): the usage is off by \(sums.integer(1)) entries and \(sums.integer(2)) bytes."
            )
        }
    }
}
