import Glibc

/// The file `pantler.sqlite`: how it is opened for writing, and how large it is.
enum DatabaseFile {
    /// Opens or makes the file, brings it to the present schema, and sets the connection up as the writer's.
    static func open(path: String, _ options: DiskOptions) throws(DiskOpenError) -> Connection {
        try checkAccess(path)
        let connection = try make(path)
        try Schema.prepare(connection, path: path)
        do throws(SQLiteError) {
            try setUp(connection, options)
        } catch {
            throw DiskOpenError(error, path: path)
        }
        return connection
    }

    private static func make(_ path: String) throws(DiskOpenError) -> Connection {
        do throws(SQLiteError) {
            let connection = try Connection(path: path, mode: .create)
            // Whoever looks at the file by other means may hold it for a moment.
            try connection.setBusyTimeout(milliseconds: 2000)
            return connection
        } catch {
            throw DiskOpenError(error, path: path)
        }
    }

    private static func setUp(_ connection: borrowing Connection, _ options: DiskOptions) throws(SQLiteError) {
        // Debian builds SQLite with secure_delete on, which writes zeros over all that is deleted. A cache has no use for that.
        try connection.execute(
            """
            PRAGMA synchronous = FULL;
            PRAGMA secure_delete = OFF;
            PRAGMA temp_store = MEMORY;
            PRAGMA wal_autocheckpoint = 0;
            PRAGMA journal_size_limit = \(options.walBytes * 4);
            PRAGMA cache_size = -\(max(64, options.writerCacheBytes >> 10));
            """
        )
        if let pages = options.maxPages { try connection.execute("PRAGMA max_page_count = \(pages)") }
        let seed = Int64(bitPattern: UInt64.random(in: .min ... .max))
        let statement = try Statement(
            connection,
            """
            INSERT OR IGNORE INTO state (name, value, checksum)
            VALUES (?1, ?2, \(CheckedTable.state.checksum("?1, ?2")))
            """
        )
        try statement.bind(1, StateName.hashSeed.rawValue)
        try statement.bind(2, seed)
        try statement.run()
    }

    /// SQLite falls back to reading only where it may not write, and says so much later.
    private static func checkAccess(_ path: String) throws(DiskOpenError) {
        guard exists(path), !isWritable(path) else { return }
        throw .notAllowed(path: path, reason: FolderLock.reason(errno))
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isWritable(_ path: String) -> Bool { access(path, R_OK | W_OK) == 0 }

    /// Sees to it that the names of the files in the folder are on disk. Some file systems cannot be asked for that, and need not be.
    static func syncFolder(of path: String) {
        guard let slash = path.lastIndex(of: "/") else { return }
        let folder = Glibc.open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        _ = fsync(folder)
        _ = close(folder)
    }

    /// 0 where there is no file.
    static func bytes(of path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }
}
