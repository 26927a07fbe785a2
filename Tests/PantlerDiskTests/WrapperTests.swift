import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The wrapper around SQLite")
struct WrapperTests {
    private func withConnection(_ body: (borrowing SQLiteConnection) throws -> Void) throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        try body(try SQLiteConnection(path: directory.file("test.db"), mode: .create))
    }

    private func failure(_ body: () throws(SQLiteError) -> Void) -> SQLiteError? {
        do throws(SQLiteError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    @Test("what is bound comes back in its column")
    func values() throws {
        try withConnection { connection in
            try connection.execute("CREATE TABLE t (a, b, c, d, e, f)")
            let insert = try Statement(connection, "INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            let bytes: [UInt8] = [0, 255, 7]
            try bytes.withBytes { (bytes) throws(SQLiteError) in
                try insert.bind(1, Int64.min)
                try insert.bind(2, 0.25)
                try insert.bind(3, "tëxt")
                try insert.bind(4, borrowing: bytes)
                try insert.bind(5, borrowing: UnsafeRawBufferPointer(start: nil, count: 0))
                try insert.bind(6, Int64?.none)
                try insert.run()
            }
            let changes = connection.changes
            #expect(changes == 1)
            let select = try Statement(connection, "SELECT * FROM t")
            // The statement is no value that the macro could copy: what it says is taken out first.
            let isRow = try select.step()
            let (integer, double, text) = (select.integer(0), select.double(1), select.text(2))
            let (blob, isNull, none) = (Array(select.bytes(3)), select.isNull(4), select.optionalInteger(5))
            let isEmpty = select.bytes(4).isEmpty
            let isAnother = try select.step()
            #expect(isRow && !isAnother)
            #expect(integer == .min)
            #expect(double == 0.25)
            #expect(text == "tëxt")
            #expect(blob == bytes)
            #expect(isEmpty && !isNull)
            #expect(none == nil)
        }
    }

    @Test("text is bound and read with its length, whatever it holds", arguments: ["", "\u{0}", "a\u{0}b", "e\u{301}"])
    func text(text: String) throws {
        try withConnection { connection in
            try connection.execute("CREATE TABLE t (a TEXT NOT NULL)")
            let insert = try Statement(connection, "INSERT INTO t VALUES (?1)")
            try insert.bind(1, text)
            try insert.run()
            let select = try Statement(connection, "SELECT a, typeof(a) FROM t WHERE a = ?1")
            try select.bind(1, text)
            let isRow = try select.step()
            let (found, type) = (select.text(0), select.text(1))
            #expect(isRow && type == "text")
            #expect(Array(found.utf8) == Array(text.utf8))
        }
    }

    @Test("an error carries SQLite's extended code and words, and the statement can be used again")
    func errors() throws {
        try withConnection { connection in
            try connection.execute("CREATE TABLE t (a UNIQUE)")
            let insert = try Statement(connection, "INSERT INTO t VALUES (1)")
            try insert.run()
            let error = failure { () throws(SQLiteError) in try insert.run() }
            #expect(error?.code.primary == .constraint)
            #expect(error?.code != .constraint)
            #expect(error?.description.contains("UNIQUE constraint failed: t.a") == true)
            try connection.execute("DELETE FROM t")
            try insert.run()
            let others = [
                failure { () throws(SQLiteError) in try connection.execute("NO SQL") },
                failure { () throws(SQLiteError) in _ = try Statement(connection, "SELECT * FROM nowhere") },
                failure { () throws(SQLiteError) in _ = try Statement(connection, "") },
                failure { () throws(SQLiteError) in try insert.bind(9, Int64(1)) },
            ]
            #expect(others.allSatisfy { $0 != nil })
        }
    }

    @Test("a file that cannot be opened is an error with the system's reason")
    func cannotOpen() throws {
        let error = #expect(throws: SQLiteError.self) {
            _ = try SQLiteConnection(path: "/nowhere/at/all.db", mode: .readWrite)
        }
        #expect(error?.code.primary == .cannotOpen)
        #expect(error?.fault.cause == .unavailable)
    }

    @Test("a connection outlived by its statements closes in good order")
    func order() throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        func prepare() throws -> Statement {
            let connection = try SQLiteConnection(path: directory.file("test.db"), mode: .create)
            return try Statement(connection, "SELECT 42")
        }
        let statement = try prepare()
        let isRow = try statement.step()
        let answer = statement.integer(0)
        #expect(isRow && answer == 42)
    }

    @Test("each code has its meaning for the store")
    func faults() {
        func cause(_ code: ResultCode, _ systemError: Int32 = 0) -> String {
            SQLiteError(code: code, message: "", systemError: systemError).fault.cause.rawValue
        }
        #expect(cause(.full) == "full")
        #expect(cause(.ioError, 28) == "full")
        #expect(cause(.ioError, 5) == "unavailable")
        #expect(cause(ResultCode(rawValue: 11 | 3 << 8)) == "corrupt")
        #expect(cause(.notADatabase) == "corrupt")
        #expect(cause(.busy) == "unavailable")
    }
}
