import CSQLite
import PantlerModel

/// The write-ahead log as a file, through the handles by which a connection has it open, and the index of it in shared memory, both as
/// SQLite documents them (https://www.sqlite.org/walformat.html, https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
///
/// Why bytes are touched here at all. A sync that fails leaves pages that the system calls clean and that are not on disk: syncing once more
/// proves nothing of them. SQLite goes on as if they were there. What has to be done then is to write all of the log again, which makes the
/// pages dirty, and to sync that. And a commit whose sync fails leaves its frames in the log, whole and valid: a start would find them there,
/// although their writer was told that they had failed.
///
/// Used by the thread that writes, which holds SQLite's write lock while it changes something: nothing else adds to the log, or begins it anew.
/// Readers may read meanwhile, and frames may be copied into the database: the bytes of the frames that count do not change.
struct WALFile {
    private let log: UnsafeMutablePointer<sqlite3_file>
    private let database: UnsafeMutablePointer<sqlite3_file>

    private static let headerBytes = 32
    private static let frameHeaderBytes = 24
    /// Bytes that are read and written at a time, rounded to whole frames: SQLite's files take less than 128 KiB in one call.
    private static let chunkBytes = 64 << 10
    /// Bytes of one region of the index; all that is read here stands in the first.
    private static let regionBytes: Int32 = 32 << 10
    /// Where the index says how many frames were copied into the database.
    private static let copiedOffset = 96

    /// - Parameter connection: of a file in WAL mode, that has read something of it; it outlives this.
    init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
        log = try Self.handle(of: connection)
        database = try Self.handle(SQLITE_FCNTL_FILE_POINTER, connection)
    }

    /// The log's handle.
    static func handle(
        of connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> UnsafeMutablePointer<sqlite3_file> {
        try handle(SQLITE_FCNTL_JOURNAL_POINTER, connection)
    }

    private static func handle(
        _ which: Int32,
        _ connection: borrowing SQLiteConnection
    ) throws(SQLiteError) -> UnsafeMutablePointer<sqlite3_file> {
        var file: UnsafeMutablePointer<sqlite3_file>?
        let code = sqlite3_file_control(connection.handle, "main", which, &file)
        guard code == SQLITE_OK else { throw SQLiteError(code, on: connection.handle) }
        guard let file, file.pointee.pMethods != nil else {
            throw SQLiteError(code: .ioError, message: "The write-ahead log is not open.")
        }
        return file
    }

    // MARK: Rewriting and cutting

    /// Writes the whole log again as it is, from its beginning to the last commit, ends it there, and syncs it. After a power cut it then still
    /// holds what it holds now.
    ///
    /// Complexity: O(log).
    ///
    /// - Throws: `corrupt` where frames are not what was written, so that they are lost.
    func rewrite() throws(SQLiteError) {
        let index = try index()
        var end = Int64(Self.headerBytes)
        if index.frames > 0 {
            var header = [UInt8](repeating: 0, count: Self.headerBytes)
            try read(&header, at: 0)
            guard var chain = FrameChain(header: header), header[16..<24].elementsEqual(index.salts) else {
                throw Self.lost
            }
            try write(header, at: 0)
            let frameBytes = Self.frameHeaderBytes + index.pageBytes
            var left = index.frames
            while left > 0 {
                let count = min(left, max(1, Self.chunkBytes / frameBytes))
                var frames = [UInt8](repeating: 0, count: count * frameBytes)
                try read(&frames, at: end)
                for number in 0..<count {
                    let frame = frames[number * frameBytes..<(number + 1) * frameBytes]
                    guard chain.follows(frame, salts: index.salts) else { throw Self.lost }
                }
                try write(frames, at: end)
                end += Int64(frames.count)
                left -= count
            }
            guard chain.sums == index.sums else { throw Self.lost }
        }
        try cut(at: end)
        try sync()
    }

    /// Ends the log at the last commit: frames of a commit that failed may stand behind it, which no start may find.
    func cut() throws(SQLiteError) {
        let index = try index()
        try cut(at: Int64(Self.headerBytes) + Int64(index.frames) * Int64(Self.frameHeaderBytes + index.pageBytes))
    }

    /// Has the next checkpoint copy the whole log into the database again. Called after a failed sync of the database: what earlier
    /// checkpoints have copied may not be there.
    func forgetCopied() throws(SQLiteError) {
        try region().storeBytes(of: 0, toByteOffset: Self.copiedOffset, as: UInt32.self)
    }

    /// The frames that a look at the log has found in order; see `holds`.
    struct Look {
        fileprivate var salts: [UInt8] = []
        fileprivate var frames = 0
    }

    /// The number of frames up to the last commit.
    func frames() throws(SQLiteError) -> Int { try index().frames }

    /// Whether the log still holds what was written: its header, the last frame that the earlier look has seen, and some of those that came
    /// since. So a file is noticed that was cut short and has grown again by what was written behind: it has holes in the place of frames.
    ///
    /// Complexity: O(1), and at most some hundred reads of a few bytes.
    func holds(since look: inout Look) throws(SQLiteError) -> Bool {
        let index = try index()
        let isSameLog = index.salts == look.salts && look.frames <= index.frames
        let first = isSameLog ? max(1, look.frames) : 1
        if try stands(index, from: first) {
            look = Look(salts: index.salts, frames: index.frames)
            return true
        }
        // Another process may have copied the log just now, and begun it anew.
        let now = try self.index()
        return now.salts != index.salts || now.frames < index.frames
    }

    private func stands(_ index: Index, from first: Int) throws(SQLiteError) -> Bool {
        if index.frames == 0 { return true }
        let frameBytes = Int64(Self.frameHeaderBytes + index.pageBytes)
        func offset(of frame: Int) -> Int64 { Int64(Self.headerBytes) + Int64(frame - 1) * frameBytes }
        do throws(SQLiteError) {
            var header = [UInt8](repeating: 0, count: Self.headerBytes)
            try read(&header, at: 0)
            guard var chain = FrameChain(header: header), header[16..<24].elementsEqual(index.salts) else {
                return false
            }
            var start = [UInt8](repeating: 0, count: Self.frameHeaderBytes)
            if first > 1 {
                try read(&start, at: offset(of: first - 1))
                chain.goOn(after: start)
            }
            var frame = [UInt8](repeating: 0, count: Int(frameBytes))
            try read(&frame, at: offset(of: first))
            guard chain.follows(frame[...], salts: index.salts) else { return false }
            let step = max(1, (index.frames - first) / Self.mostProbes)
            for number in stride(from: index.frames, to: first, by: -step) {
                try read(&start, at: offset(of: number))
                guard start[8..<16].elementsEqual(index.salts) else { return false }
            }
            return true
        } catch {
            // The file ends before the frame.
            guard error.code == .corrupt else { throw error }
            return false
        }
    }

    /// How many of the new frames are looked at, about.
    private static let mostProbes = 256

    private func cut(at end: Int64) throws(SQLiteError) {
        var length: Int64 = 0
        try check(log.pointee.pMethods.pointee.xFileSize?(log, &length))
        // Zeros in the place of the next frame end the log for whoever reads it.
        if length > end { try write([UInt8](repeating: 0, count: Self.frameHeaderBytes), at: end) }
    }

    // MARK: The index

    private struct Index {
        var pageBytes: Int
        /// The number of frames up to the last commit.
        var frames: Int
        /// The random bytes that the header and every frame of the present log carry.
        var salts: [UInt8]
        /// Checksums of the last of the frames.
        var sums: (UInt32, UInt32)
    }

    private func index() throws(SQLiteError) -> Index {
        let region = UnsafeRawPointer(try region())
        let pageBytes = Int(region.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
        return Index(
            pageBytes: pageBytes == 1 ? 1 << 16 : pageBytes,
            frames: Int(region.loadUnaligned(fromByteOffset: 16, as: UInt32.self)),
            salts: Array(UnsafeRawBufferPointer(start: region + 32, count: 8)),
            sums: (
                region.loadUnaligned(fromByteOffset: 24, as: UInt32.self),
                region.loadUnaligned(fromByteOffset: 28, as: UInt32.self)
            )
        )
    }

    private func region() throws(SQLiteError) -> UnsafeMutableRawPointer {
        var region: UnsafeMutableRawPointer?
        let code = database.pointee.pMethods.pointee.xShmMap?(database, 0, Self.regionBytes, 0, &region)
        try check(code)
        guard let region else { throw SQLiteError(code: .ioError, message: "The log has no index.") }
        return region
    }

    // MARK: Bytes

    private func read(_ bytes: inout [UInt8], at offset: Int64) throws(SQLiteError) {
        let code = bytes.withUnsafeMutableBytes { buffer in
            log.pointee.pMethods.pointee.xRead?(log, buffer.baseAddress, Int32(buffer.count), offset)
        }
        if code == ResultCode.shortRead.rawValue { throw Self.lost }
        try check(code)
    }

    private func write(_ bytes: [UInt8], at offset: Int64) throws(SQLiteError) {
        let code = bytes.withUnsafeBytes { buffer in
            log.pointee.pMethods.pointee.xWrite?(log, buffer.baseAddress, Int32(buffer.count), offset)
        }
        try check(code)
    }

    private func sync() throws(SQLiteError) {
        try check(log.pointee.pMethods.pointee.xSync?(log, SQLITE_SYNC_NORMAL))
    }

    private func check(_ code: Int32?) throws(SQLiteError) {
        guard let code, code == SQLITE_OK else { throw SQLiteError(code ?? SQLITE_IOERR, on: nil) }
    }

    private static var lost: SQLiteError {
        SQLiteError(code: .corrupt, message: "The write-ahead log is not what was written.")
    }
}

/// The checksums that bind the frames of a log to each other.
private struct FrameChain {
    private(set) var sums: (UInt32, UInt32) = (0, 0)
    /// Whether the words that are summed are big-endian; those that are stored always are.
    private let isBigEndian: Bool

    private static let magic: UInt32 = 0x377f_0682

    /// - Parameter header: the log's.
    init?(header: [UInt8]) {
        let magic = Self.stored(header[0..<4])
        guard magic == Self.magic || magic == Self.magic + 1 else { return nil }
        isBigEndian = magic == Self.magic + 1
        add(header[0..<24])
        guard holds(header[24..<32]) else { return nil }
    }

    /// Whether `frame`, header and page together, is the next one of the log.
    mutating func follows(_ frame: ArraySlice<UInt8>, salts: [UInt8]) -> Bool {
        let start = frame.startIndex
        guard frame[start + 8..<start + 16].elementsEqual(salts) else { return false }
        add(frame[start..<start + 8])
        add(frame[(start + 24)...])
        return holds(frame[start + 16..<start + 24])
    }

    /// Sets the chain behind a frame, without reading those before it.
    ///
    /// - Parameter header: the frame's, which holds the sums up to there.
    mutating func goOn(after header: [UInt8]) {
        sums = (Self.stored(header[16..<20]), Self.stored(header[20..<24]))
    }

    private func holds(_ bytes: ArraySlice<UInt8>) -> Bool {
        Self.stored(bytes.prefix(4)) == sums.0 && Self.stored(bytes.dropFirst(4).prefix(4)) == sums.1
    }

    private static func stored(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Adds bytes to the sums; their number is a multiple of 8. Complexity: O(n).
    private mutating func add(_ bytes: ArraySlice<UInt8>) {
        var (first, second) = sums
        bytes.withUnsafeBytes { bytes in
            for offset in stride(from: 0, to: bytes.count, by: 8) {
                first &+= word(bytes, offset) &+ second
                second &+= word(bytes, offset + 4) &+ first
            }
        }
        sums = (first, second)
    }

    private func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
        let word = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        return isBigEndian ? UInt32(bigEndian: word) : UInt32(littleEndian: word)
    }
}
