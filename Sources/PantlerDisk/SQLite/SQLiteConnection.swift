import CSQLite

/// One connection to a database file; closes it at the end of its life. Used by one thread at a time: it is opened without SQLite's own
/// locks (SQLITE_OPEN_NOMUTEX, https://www.sqlite.org/threadsafe.html).
struct SQLiteConnection: ~Copyable {
    let handle: OpaquePointer

    enum OpenMode {
        /// Makes the file if there is none.
        case create
        case readWrite
        case readOnly

        var flags: Int32 {
            switch self {
            case .create: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            case .readWrite: SQLITE_OPEN_READWRITE
            case .readOnly: SQLITE_OPEN_READONLY
            }
        }
    }

    init(path: String, mode: OpenMode) throws(SQLiteError) {
        var database: OpaquePointer?
        let code = sqlite3_open_v2(path, &database, mode.flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard code == SQLITE_OK, let database else {
            // Even a failed open leaves a connection behind, which holds the message and has to be closed.
            let error = SQLiteError(code, on: database)
            _ = sqlite3_close_v2(database)
            throw error
        }
        let defined = RowChecksum.define(on: database)
        guard defined == SQLITE_OK else {
            let error = SQLiteError(defined, on: database)
            _ = sqlite3_close_v2(database)
            throw error
        }
        handle = database
    }

    deinit {
        // SQLITE_OK always: a connection with living statements stays on as a "zombie" until the last of them is gone.
        _ = sqlite3_close_v2(handle)
    }

    /// Runs statements that return nothing of interest.
    func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw SQLiteError(code, on: handle) }
    }

    /// The first column of the first row; 0 if there is none.
    func integer(_ sql: String) throws(SQLiteError) -> Int64 {
        let statement = try Statement(self, sql)
        return try statement.step() ? statement.integer(0) : 0
    }

    /// How long a locked file is waited for.
    func setBusyTimeout(milliseconds: Int32) throws(SQLiteError) {
        let code = sqlite3_busy_timeout(handle, milliseconds)
        guard code == SQLITE_OK else { throw SQLiteError(code, on: handle) }
    }

    /// Leaves the log as it is when this connection closes.
    func keepLogOnClose(_ keep: Bool) throws(SQLiteError) {
        let code = pantler_keep_wal_on_close(handle, keep ? 1 : 0)
        guard code == SQLITE_OK else { throw SQLiteError(code, on: handle) }
    }

    /// Whether a transaction is open: some errors end it by themselves, some do not.
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// How many rows the last statement has changed.
    var changes: Int { Int(sqlite3_changes(handle)) }

    /// Has the file take so many bytes of the device, and some more, so that it grows in few pieces.
    ///
    /// - Parameter chunkBytes: it is a multiple of this from then on.
    /// - Throws: `full` where there is no room for that.
    func reserveFile(_ bytes: Int64, chunkBytes: Int64) throws(SQLiteError) {
        var chunk = Int32(clamping: chunkBytes)
        var bytes = bytes
        // https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html
        guard sqlite3_file_control(handle, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk) == SQLITE_OK,
            sqlite3_file_control(handle, "main", SQLITE_FCNTL_SIZE_HINT, &bytes) == SQLITE_OK
        else { throw SQLiteError(code: .full, message: "There is no room for the database to grow.") }
    }

    enum Checkpoint {
        /// As much as can be done without waiting for anyone.
        case passive
        /// Everything, and the log is cut to nothing.
        case truncate
    }

    /// Copies the log into the file.
    ///
    /// - Returns: frames in the log, and how many of them are now in the file.
    @discardableResult
    func checkpoint(_ kind: Checkpoint) throws(SQLiteError) -> (frames: Int, copied: Int) {
        var frames: Int32 = 0
        var copied: Int32 = 0
        let mode = kind == .passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE
        let code = sqlite3_wal_checkpoint_v2(handle, nil, mode, &frames, &copied)
        guard code == SQLITE_OK else { throw SQLiteError(code, on: handle) }
        return (Int(frames), Int(copied))
    }
}
