import Glibc

/// The file `pantler.sqlite`: how it is opened for writing, and how large it is.
enum DatabaseFile {
    /// Opens or makes the file, brings it to the present schema, and sets the connection up as the writer's.
    static func open(path: String, _ options: DiskOptions) throws(DiskOpenError) -> SQLiteConnection {
        try checkAccess(path)
        try checkWhole(path)
        let connection = try make(path)
        try Schema.prepare(connection, path: path)
        do throws(SQLiteError) {
            try setUp(connection, options)
        } catch {
            throw DiskOpenError(error, path: path)
        }
        return connection
    }

    /// How long a file that others have locked is waited for.
    static let busyMilliseconds: Int32 = 2000

    private static func make(_ path: String) throws(DiskOpenError) -> SQLiteConnection {
        do throws(SQLiteError) {
            let connection = try SQLiteConnection(path: path, mode: .create)
            // Another program that looks at the file may lock it for a moment.
            try connection.setBusyTimeout(milliseconds: Self.busyMilliseconds)
            return connection
        } catch {
            throw DiskOpenError(error, path: path)
        }
    }

    private static func setUp(_ connection: borrowing SQLiteConnection, _ options: DiskOptions) throws(SQLiteError) {
        // Debian builds SQLite with secure_delete on, which writes zeros over all that is deleted. A cache has no use for that.
        try connection.execute(
            """
            PRAGMA synchronous = FULL;
            PRAGMA secure_delete = OFF;
            PRAGMA temp_store = MEMORY;
            PRAGMA wal_autocheckpoint = 0;
            PRAGMA journal_size_limit = \(FolderBounds(maxBytes: options.maxFolderBytes, options).logBytes);
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

    /// Sees to it, before SQLite looks at them, that the files can belong together: it takes an empty file for a new database, and
    /// throws away the log beside it, with all that only the log has.
    ///
    /// - Throws: `damaged`, with everything left as it is.
    static func checkWhole(_ path: String) throws(DiskOpenError) {
        let (size, log) = (bytes(of: path), bytes(of: path + "-wal"))
        if size == 0, log > 0 {
            let what = exists(path) ? "it is empty" : "it is not there"
            throw .damaged(path: path, reason: "\(what), while its log '\(path)-wal' has \(log) bytes")
        }
        // As long as there is a log, the file may be shorter than its header says.
        guard size > 0, log == 0, let whole = headerBytes(path), size < whole else { return }
        throw .damaged(path: path, reason: "it was cut short, and has \(size) bytes of \(whole)")
    }

    /// Bytes that the file's header says it has (https://www.sqlite.org/fileformat2.html#the_database_header); `nil` where it does not
    /// say, or is none. For a file that this process has not open: closing it would take back SQLite's locks (fcntl(2)).
    private static func headerBytes(_ path: String) -> Int64? {
        let file = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var header = [UInt8](repeating: 0, count: headerCount)
        guard pread(file, &header, headerCount, 0) == headerCount, header.starts(with: "SQLite format 3\0".utf8) else {
            return nil
        }
        return bytes(inHeader: header)
    }

    static let headerCount = 100

    /// The same, from the bytes of the header.
    static func bytes(inHeader header: [UInt8]) -> Int64? {
        func number(_ range: Range<Int>) -> Int64 { header[range].reduce(0) { $0 << 8 | Int64($1) } }
        // The count of pages holds if it was written together with the last change.
        guard number(24..<28) == number(92..<96) else { return nil }
        let page = number(16..<18)
        return number(28..<32) * (page == 1 ? 65_536 : page)
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

    /// The length of a file; 0 where there is none.
    static func bytes(of path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }
}
