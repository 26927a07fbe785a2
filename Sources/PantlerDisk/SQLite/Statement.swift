import CSQLite

/// A prepared statement; finalised at the end of its life. Columns count from 0, parameters from 1, as in SQLite.
///
/// Use: bind, `step` until it is `false`, `reset`. A statement that has returned a row and was not reset holds a read transaction
/// open, which keeps the log from being reused: hence `defer { statement.reset() }` wherever one is stepped.
struct Statement: ~Copyable {
    private let pointer: OpaquePointer
    private let database: OpaquePointer

    init(_ connection: borrowing SQLiteConnection, _ sql: String) throws(SQLiteError) {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(
            connection.handle,
            sql,
            -1,
            UInt32(SQLITE_PREPARE_PERSISTENT),
            &statement,
            nil
        )
        guard code == SQLITE_OK else { throw SQLiteError(code, on: connection.handle) }
        guard let statement else { throw SQLiteError(code: .ok, message: "There is no statement in '\(sql)'.") }
        pointer = statement
        database = connection.handle
    }

    deinit {
        // Repeats the error of the last step, which was thrown then.
        _ = sqlite3_finalize(pointer)
    }

    // MARK: Binding

    func bind(_ index: Int32, _ value: Int64) throws(SQLiteError) {
        try check(sqlite3_bind_int64(pointer, index, value))
    }

    func bind(_ index: Int32, _ value: Int64?) throws(SQLiteError) {
        guard let value else { return try bindNull(index) }
        try bind(index, value)
    }

    func bind(_ index: Int32, _ value: Double) throws(SQLiteError) {
        try check(sqlite3_bind_double(pointer, index, value))
    }

    func bindNull(_ index: Int32) throws(SQLiteError) {
        try check(sqlite3_bind_null(pointer, index))
    }

    /// Binds bytes without a copy (SQLITE_STATIC): they have to stay where they are until the statement is reset.
    func bind(_ index: Int32, borrowing bytes: UnsafeRawBufferPointer) throws(SQLiteError) {
        // No address would bind NULL.
        guard let start = bytes.baseAddress, !bytes.isEmpty else {
            return try check(sqlite3_bind_zeroblob(pointer, index, 0))
        }
        try check(sqlite3_bind_blob64(pointer, index, start, UInt64(bytes.count), nil))
    }

    /// Binds text by copy (SQLITE_TRANSIENT). For what is rare: names and the like.
    func bind(_ index: Int32, _ text: String) throws(SQLiteError) {
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        // With its length: where SQLite has to look for the end itself, it takes a NUL for it.
        var text = text
        let code = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { text in
                // No address would bind NULL.
                guard let start = text.baseAddress else { return sqlite3_bind_text(pointer, index, "", 0, transient) }
                return sqlite3_bind_text64(pointer, index, start, UInt64(text.count), transient, UInt8(SQLITE_UTF8))
            }
        }
        try check(code)
    }

    func bind(_ index: Int32, _ text: String?) throws(SQLiteError) {
        guard let text else { return try bindNull(index) }
        try bind(index, text)
    }

    // MARK: Running

    /// - Returns: whether there is a row.
    func step() throws(SQLiteError) -> Bool {
        let code = sqlite3_step(pointer)
        if code == SQLITE_ROW { return true }
        guard code == SQLITE_DONE else {
            let error = SQLiteError(code, on: database)
            reset()
            throw error
        }
        return false
    }

    /// Runs a statement that returns no rows.
    func run() throws(SQLiteError) {
        defer { reset() }
        _ = try step()
    }

    /// Makes the statement ready to be bound and stepped again. What was bound stays bound.
    func reset() {
        // Repeats the error of the last step, which was thrown then.
        _ = sqlite3_reset(pointer)
    }

    // MARK: Columns of the present row

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(pointer, column) }

    func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    func double(_ column: Int32) -> Double { sqlite3_column_double(pointer, column) }

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(pointer, column) == SQLITE_NULL }

    /// Valid until the next `step` or `reset`.
    func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        // In this order: the first call converts where the column holds something else.
        let start = sqlite3_column_blob(pointer, column)
        return UnsafeRawBufferPointer(
            start: start,
            count: start == nil ? 0 : Int(sqlite3_column_bytes(pointer, column))
        )
    }

    func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }

    func optionalText(_ column: Int32) -> String? { isNull(column) ? nil : text(column) }

    private func check(_ code: Int32) throws(SQLiteError) {
        guard code == SQLITE_OK else { throw SQLiteError(code, on: database) }
    }
}

extension Array where Element == UInt8 {
    /// `withUnsafeBytes` with an error type of its own.
    func withBytes<Answer, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Answer
    ) throws(Failure) -> Answer {
        try withUnsafeBytes { bytes in
            Result { () throws(Failure) in try body(bytes) }
        }.get()
    }
}
