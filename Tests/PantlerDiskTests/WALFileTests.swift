import Foundation
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The log as a file")
struct WALFileTests {
    /// A database in WAL mode with some rows in its log, none of them copied.
    private final class Database {
        let directory: TemporaryDirectory
        let connection: SQLiteConnection
        var path: String { directory.file("a.sqlite") }
        var log: String { path + "-wal" }

        init(rows: Int = 200) throws {
            directory = try TemporaryDirectory()
            connection = try SQLiteConnection(path: directory.file("a.sqlite"), mode: .create)
            try connection.keepLogOnClose(true)
            try connection.execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)")
            for row in 0..<rows { try connection.execute("INSERT INTO t VALUES (\(row)), (randomblob(900))") }
        }

        func count() throws -> Int64 { try connection.integer("SELECT count(*) FROM t") }

        /// Rows that a start would find.
        func countAfterCrash() throws -> Int64 {
            let copy = try TemporaryDirectory()
            try Data(contents(of: path)).write(to: URL(fileURLWithPath: copy.file("a.sqlite")))
            try Data(contents(of: log)).write(to: URL(fileURLWithPath: copy.file("a.sqlite-wal")))
            let connection = try SQLiteConnection(path: copy.file("a.sqlite"), mode: .readWrite)
            return try connection.integer("SELECT count(*) FROM t")
        }
    }

    @Test("written anew it is what it was, to the byte")
    func rewritten() throws {
        let database = try Database()
        let before = contents(of: database.log)
        #expect(before.count > 32 * 4120)
        try WALFile(database.connection).rewrite()
        #expect(contents(of: database.log) == before)
        #expect(try database.count() == 400)
        #expect(try database.countAfterCrash() == 400)
        // And can be gone on with.
        try database.connection.execute("INSERT INTO t VALUES (1)")
        try WALFile(database.connection).rewrite()
        #expect(try database.countAfterCrash() == 401)
    }

    @Test("a log that was begun anew, and one without a frame, are written too")
    func begunAnew() throws {
        let database = try Database()
        try database.connection.checkpoint(.passive)
        try database.connection.execute("INSERT INTO t VALUES (1)")
        try WALFile(database.connection).rewrite()
        #expect(try database.countAfterCrash() == 401)
        try database.connection.checkpoint(.truncate)
        try WALFile(database.connection).rewrite()
        #expect(try database.countAfterCrash() == 401)
    }

    @Test("frames that are not what was written are found out", arguments: [5, 40, 32 + 10, 32 + 4120 * 3 + 2000])
    func lost(place: Int) throws {
        let database = try Database()
        let file = open(database.log, O_RDWR)
        try #require(file >= 0)
        defer { close(file) }
        var byte = contents(of: database.log)[place] ^ 1
        try #require(pwrite(file, &byte, 1, off_t(place)) == 1)
        let error = #expect(throws: SQLiteError.self) { try WALFile(database.connection).rewrite() }
        #expect(error?.code == .corrupt)
    }

    @Test(
        "a hole in the place of frames is found out, wherever it is, and what is begun anew by others is none",
        arguments: [0.0, 0.3, 0.6, 0.9]
    )
    func hole(share: Double) throws {
        let database = try Database()
        let file = try WALFile(database.connection)
        var look = WALFile.Look()
        #expect(try file.holds(since: &look))
        try database.connection.execute("INSERT INTO t VALUES (randomblob(100000))")
        #expect(try file.holds(since: &look))
        for _ in 0..<10 { try database.connection.execute("INSERT INTO t VALUES (randomblob(10000))") }
        let bytes = contents(of: database.log).count
        try #require(truncate(database.log, off_t(Double(bytes) * share)) == 0)
        try database.connection.execute("INSERT INTO t VALUES (1)")
        #expect(contents(of: database.log).count > bytes)
        #expect(try !file.holds(since: &look))
    }

    @Test("a log that somebody else has copied and cut to nothing holds all that it is to hold")
    func begunAnewByOthers() throws {
        let database = try Database()
        let file = try WALFile(database.connection)
        var look = WALFile.Look()
        #expect(try file.holds(since: &look))
        let other = try SQLiteConnection(path: database.path, mode: .readWrite)
        // Before it has read something it has no log.
        #expect(try other.integer("SELECT count(*) FROM t") == 400)
        try other.checkpoint(.truncate)
        #expect(try file.frames() == 0)
        #expect(try file.holds(since: &look))
        try database.connection.execute("INSERT INTO t VALUES (1)")
        #expect(try file.holds(since: &look))
    }

    @Test("frames behind the last commit are cut off, and are not found by a start")
    func cut() throws {
        let database = try Database(rows: 10)
        let whole = contents(of: database.log)
        try database.connection.execute("INSERT INTO t VALUES (1), (2), (3)")
        let longer = contents(of: database.log)
        try WALFile(database.connection).cut()
        #expect(contents(of: database.log) == longer, "what is committed is not cut")
        #expect(try database.countAfterCrash() == 23)
        let file = open(database.log, O_RDWR)
        try #require(file >= 0)
        defer { close(file) }
        // A copy of the last frames, behind them: no frame of the log either, and the bytes are gone from its beginning on.
        let tail = Array(longer[whole.count...])
        try #require(pwrite(file, tail, tail.count, off_t(longer.count)) == tail.count)
        try WALFile(database.connection).cut()
        #expect(Array(contents(of: database.log)[longer.count..<longer.count + 24]) == [UInt8](repeating: 0, count: 24))
        #expect(try database.countAfterCrash() == 23)
        try database.connection.execute("INSERT INTO t VALUES (4)")
        #expect(try database.countAfterCrash() == 24)
    }

    @Test("copies that may not be on disk are made once more")
    func copiedAgain() throws {
        let database = try Database()
        let copied = try database.connection.checkpoint(.passive).copied
        #expect(copied > 0)
        // What the copies were made of is lost in the database.
        let before = contents(of: database.path)
        let file = open(database.path, O_RDWR)
        try #require(file >= 0)
        defer { close(file) }
        try WALFile(database.connection).forgetCopied()
        let noise = [UInt8](repeating: 0x5a, count: before.count - 4096)
        try #require(pwrite(file, noise, noise.count, 4096) == noise.count)
        #expect(try database.connection.checkpoint(.passive).copied == copied)
        #expect(contents(of: database.path) == before)
        #expect(try database.count() == 400)
    }
}
