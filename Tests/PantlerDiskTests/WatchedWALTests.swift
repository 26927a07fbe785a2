import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Syncs of the log that are relied on")
struct WatchedWALTests {
    private let directory: TemporaryDirectory
    private let trust = WALTrust()

    init() throws {
        directory = try TemporaryDirectory()
        trust.answer(trust.doubt)
    }

    private func connect(_ mode: SQLiteConnection.OpenMode = .create) throws -> SQLiteConnection {
        let connection = try SQLiteConnection(path: directory.file("a.sqlite"), mode: mode)
        try connection.keepLogOnClose(true)
        try connection.execute(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (x)"
        )
        return connection
    }

    private func count(_ connection: borrowing SQLiteConnection) throws -> Int64 {
        try connection.integer("SELECT count(*) FROM t")
    }

    @Test("a commit is taken back if somebody else's sync has failed since it began")
    func commit() throws {
        let connection = try connect()
        let watched = try WatchedWAL(connection, trust: trust, isReliedOn: false)
        try connection.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
        try watched.relying { () throws(SQLiteError) in try connection.execute("COMMIT") }
        #expect(try count(connection) == 1)
        try connection.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)")
        // The checkpoint thread's.
        #expect(trust.sync(isReliedOn: true) { ResultCode.failedSync.rawValue } == ResultCode.failedSync.rawValue)
        #expect(!trust.isSound && trust.fault != nil)
        let error = #expect(throws: SQLiteError.self) {
            try watched.relying { () throws(SQLiteError) in try connection.execute("COMMIT") }
        }
        #expect(error?.isFailedSync == true)
        if connection.isInTransaction { try connection.execute("ROLLBACK") }
        #expect(try count(connection) == 1)
        // Who relies on nothing goes on.
        try connection.execute("INSERT INTO t VALUES (3)")
        #expect(try count(connection) == 2)
    }

    @Test("nothing is copied from a log that has come into doubt")
    func checkpoint() throws {
        let connection = try connect()
        try connection.execute("INSERT INTO t VALUES (1)")
        let other = try connect(.readWrite)
        _ = try WatchedWAL(other, trust: trust, isReliedOn: true)
        trust.doubt(because: TierFault(.unavailable, "elsewhere"))
        let error = #expect(throws: SQLiteError.self) { _ = try other.checkpoint(.passive) }
        #expect(error?.isFailedSync == true)
        trust.answer(trust.doubt)
        let (frames, copied) = try other.checkpoint(.passive)
        #expect(frames > 0 && frames == copied)
    }

    @Test("a connection that is watched closes like any other, and another takes its place")
    func close() throws {
        for row in 1...3 {
            let connection = try connect()
            _ = try WatchedWAL(connection, trust: trust, isReliedOn: true)
            try connection.execute("INSERT INTO t VALUES (\(row))")
            #expect(try count(connection) == Int64(row))
        }
        var trust: WALTrust? = WALTrust()
        weak let left = trust
        do {
            let connection = try connect()
            _ = try WatchedWAL(connection, trust: #require(trust), isReliedOn: false)
            trust = nil
            #expect(left != nil, "it is the file's as long as that is open")
            _ = try count(connection)
        }
        #expect(left == nil)
    }
}
