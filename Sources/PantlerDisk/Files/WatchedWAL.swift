import CSQLite

/// A connection's handle of the log, whose syncs go through `WALTrust`.
///
/// The writer and the checkpoint thread sync the same file. If the one's sync fails, what the other has just written is clean and not on
/// disk, and the other's own sync, a moment later, says that all is well. (Linux tells each open descriptor of an error once, since 4.13:
/// https://www.kernel.org/doc/html/latest/filesystems/vfs.html, "Handling errors during writeback". Not every file system does.) So syncs of the
/// log come one after the other, a failed one is a doubt at once, and while there is a doubt those fail that are relied on: SQLite then
/// takes the commit back, or ends the checkpoint.
///
/// SQLite asks a file for what it does by a table of functions (https://www.sqlite.org/c3ref/io_methods.html). Here the file gets a copy of its
/// own with two of them replaced, which lives as long as the file is open. Used by the connection's thread.
struct WatchedWAL {
    private struct MethodTable {
        // The first field, so that a pointer to the table is a pointer to SQLite's methods.
        var methods: sqlite3_io_methods
        let original: UnsafePointer<sqlite3_io_methods>
        let trust: Unmanaged<WALTrust>
        /// Whether syncs have to fail while the log is not to be trusted.
        var isReliedOn: Bool
    }

    private let table: UnsafeMutablePointer<MethodTable>

    /// - Parameters:
    ///   - connection: of a file in WAL mode, that has read something of it; it outlives this.
    ///   - isReliedOn: whether its syncs have to fail while the log is not to be trusted.
    init(_ connection: borrowing SQLiteConnection, trust: WALTrust, isReliedOn: Bool) throws(SQLiteError) {
        let file = try WALFile.handle(of: connection)
        guard let original = file.pointee.pMethods else {
            throw SQLiteError(code: .ioError, message: "The write-ahead log is not open.")
        }
        var methods = original.pointee
        methods.xSync = Self.sync
        methods.xClose = Self.close
        table = .allocate(capacity: 1)
        table.initialize(
            to: MethodTable(methods: methods, original: original, trust: .passRetained(trust), isReliedOn: isReliedOn)
        )
        let copy = UnsafeMutableRawPointer(table).assumingMemoryBound(to: sqlite3_io_methods.self)
        file.pointee.pMethods = UnsafePointer(copy)
    }

    /// Runs `body`, whose syncs are relied on.
    func relying(_ body: () throws(SQLiteError) -> Void) throws(SQLiteError) {
        table.pointee.isReliedOn = true
        defer { table.pointee.isReliedOn = false }
        try body()
    }

    private static func table(of file: UnsafeMutablePointer<sqlite3_file>?) -> UnsafeMutablePointer<MethodTable>? {
        guard let methods = file?.pointee.pMethods else { return nil }
        return UnsafeMutableRawPointer(mutating: methods).assumingMemoryBound(to: MethodTable.self)
    }

    private static let sync: @convention(c) (UnsafeMutablePointer<sqlite3_file>?, Int32) -> Int32 = { file, flags in
        guard let table = table(of: file), let sync = table.pointee.original.pointee.xSync else { return SQLITE_IOERR }
        let isReliedOn = table.pointee.isReliedOn
        return table.pointee.trust._withUnsafeGuaranteedRef { $0.sync(isReliedOn: isReliedOn) { sync(file, flags) } }
    }

    private static let close: @convention(c) (UnsafeMutablePointer<sqlite3_file>?) -> Int32 = { file in
        guard let table = table(of: file) else { return SQLITE_OK }
        let code = table.pointee.original.pointee.xClose(file)
        table.pointee.trust.release()
        table.deinitialize(count: 1)
        table.deallocate()
        return code
    }
}
