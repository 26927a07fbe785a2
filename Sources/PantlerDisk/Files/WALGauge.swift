import CSQLite

/// Counts the frames that the write-ahead log holds after each commit of a connection. Takes the place of SQLite's own automatic checkpoints,
/// which would run inside the writer's commits (https://www.sqlite.org/c3ref/wal_hook.html).
struct WALGauge: ~Copyable {
    /// Written by the hook, which runs on the committing thread alone.
    private let pages: UnsafeMutablePointer<Int32>
    private let handle: OpaquePointer

    /// - Parameter connection: outlives this.
    init(_ connection: borrowing SQLiteConnection) {
        pages = .allocate(capacity: 1)
        pages.initialize(to: 0)
        handle = connection.handle
        // The call returns the argument of an earlier hook, of which there is none.
        _ = sqlite3_wal_hook(
            handle,
            { argument, _, _, count in
                argument?.assumingMemoryBound(to: Int32.self).pointee = count
                return SQLITE_OK
            },
            pages
        )
    }

    deinit {
        _ = sqlite3_wal_hook(handle, nil, nil)
        pages.deallocate()
    }

    /// Sets the number of frames, where it was read from the log or the log was cut.
    func set(frames: Int) { pages.pointee = Int32(clamping: frames) }

    /// Bytes of log in use, as of the last commit; the file may be longer.
    var bytes: Int64 { Int64(pages.pointee) * Self.frameBytes }

    /// A page in the log, with its header.
    static let frameBytes = Int64(RowCost.pageBytes + 24)
}
