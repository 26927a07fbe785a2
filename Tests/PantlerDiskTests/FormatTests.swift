import PantlerCodec
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

/// The bytes of rows and of journal records, held against constants: whatever reads its own writing alone would not notice that both have
/// changed together, and that files of an earlier version are read as something else.
@Suite("The format on disk, byte by byte")
final class FormatTests {
    private static let advice: Comment =
        "The format on disk has changed, so that files that are there already would be misread: that needs a new version of the schema (a step in Schema.migrations that brings older files to it); then these constants may change"

    private let directory: TemporaryDirectory
    private let path: String
    private let connection: SQLiteConnection

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.file(DiskTier.fileName)
        connection = try DatabaseFile.open(path: path, DiskOptions())
    }

    private static func address(_ key: String) -> EntryAddress {
        EntryAddress(namespace: 7, key: Array(key.utf8), hash: 1)
    }

    private static let options = PutOptions(compressionThreshold: 1024, compressionLevel: 6)

    private static let json = Entry(value: Array(#"{"n":1}"#.utf8), kind: .json, version: 41, expiresAt: .never)

    private static let bytes = Entry(
        value: [0x00, 0x01, 0xfe, 0xff],
        kind: .bytes(mediaType: "image/png"),
        version: 42,
        expiresAt: Timestamp(milliseconds: 1_800_000_000_123),
        staleTTL: 30_000,
        tags: ["red", "grün"]
    )

    private static let absent = Entry(
        value: [],
        kind: .absent,
        version: 46,
        expiresAt: Timestamp(milliseconds: 1_800_000_060_000)
    )

    private static let deflatable = Entry(
        value: Array(("\"" + String(repeating: "x", count: 1022) + "\"").utf8),
        kind: .json,
        version: 45,
        expiresAt: .never
    )

    private static let touch = Touch(
        bases: [43, 40],
        head: EntryHead(
            version: 44,
            expiresAt: Timestamp(milliseconds: 1_800_000_000_000),
            staleTTL: 5,
            tags: ["new"]
        )
    )

    // MARK: Rows

    private static let columns = [
        "id", "namespace", "key", "version", "expires_at", "stale_ttl", "due_at", "size", "form", "cost", "checksum",
        "media_type",
        "tags", "value",
    ]

    /// The row of a deflated value. What zlib makes of a value may differ from version to version; what it has made must stay readable.
    private static let deflatedRow =
        "4, 7, X'64', 45, NULL, 0, NULL, 1024, 1, 90, -74621837, NULL, NULL, X'789C53AA1805A360148C50A00400D3DBDF64'"

    /// All rows as SQL writes their columns, with their types, in the order of their numbers.
    private func rows() throws -> [String] {
        let text = Self.columns.map { "quote(\($0))" }.joined(separator: " || ', ' || ")
        let statement = try Statement(connection, "SELECT \(text) FROM entries ORDER BY id")
        var rows: [String] = []
        while try statement.step() { rows.append(statement.text(0)) }
        return rows
    }

    @Test("the columns of a row of entries have their names and their order")
    func table() throws {
        let statement = try Statement(connection, "SELECT name FROM pragma_table_info('entries') ORDER BY cid")
        var names: [String] = []
        while try statement.step() { names.append(statement.text(0)) }
        #expect(names == Self.columns, Self.advice)
        #expect(Schema.current == 6, "The constants of FormatTests are those of version 6 of the schema")
    }

    @Test("rows are stored as they always were")
    func stored() throws {
        let table = try EntryTable(connection, counters: DiskCounters())
        _ = try table.put(Self.address("a/1"), Self.json, Self.options)
        _ = try table.put(Self.address("b"), Self.bytes, Self.options)
        var touched = Entry(value: Array(#""v""#.utf8), kind: .json, version: 43, expiresAt: .never)
        touched.tags = ["old"]
        _ = try table.put(Self.address("c"), touched, Self.options)
        #expect(try table.touch(Self.address("c"), Self.touch) != nil)
        let deleted = Entry(value: [], kind: .json, version: 45, expiresAt: .never)
        _ = try table.put(Self.address("e"), deleted, Self.options)
        _ = try table.delete(Self.address("e"), version: 46)
        let expected = [
            "1, 7, X'612F31', 41, NULL, 0, NULL, 7, 0, 84, 86669360, NULL, NULL, X'7B226E223A317D'",
            "2, 7, X'62', 42, 1800000000123, 30000, 1800000030123, 4, 0, 125, 957548663, 'image/png', "
                + "X'03726564056772C3BC6E', X'0001FEFF'",
            "3, 7, X'63', 44, 1800000000000, 5, 1800000000005, 3, 0, 110, 2050875333, NULL, X'036E6577', X'227622'",
        ]
        #expect(try rows() == expected, Self.advice)
    }

    @Test("a negative entry has the empty media type, and no value")
    func negative() throws {
        let table = try EntryTable(connection, counters: DiskCounters())
        // Where all values are to be deflated, too.
        let options = PutOptions(compressionThreshold: 0, compressionLevel: 6)
        _ = try table.put(Self.address("n"), Self.absent, options)
        #expect(try rows() == [Self.absentRow], Self.advice)
        let reader = try Reader(path: path, cacheBytes: 1 << 20)
        #expect(try reader.entry(namespace: 7, key: Array("n".utf8)) == Self.absent)
        #expect(try reader.head(namespace: 7, key: Array("n".utf8)) == EntryHead(Self.absent))
    }

    private static let absentRow =
        "1, 7, X'6E', 46, 1800000060000, 0, 1800000060000, 0, 0, 102, -1617047898, '', NULL, X''"

    @Test("a deflated value is stored in the form of zlib (RFC 1950)")
    func deflated() throws {
        let table = try EntryTable(connection, counters: DiskCounters())
        _ = try table.put(Self.address("d"), Self.deflatable, Self.options)
        let row = try Statement(connection, "SELECT size, form, value FROM entries")
        #expect(try row.step())
        #expect(row.integer(0) == 1024, Self.advice)
        #expect(row.integer(1) == 1, Self.advice)
        #expect(row.bytes(2).first == 0x78, Self.advice)
        var inflater = try Inflater()
        #expect(try inflater.inflate(row.bytes(2), size: 1024) == Self.deflatable.value, Self.advice)
    }

    @Test("a row that was stored before is read")
    func read() throws {
        try connection.execute("INSERT INTO entries VALUES (\(Self.deflatedRow))")
        let reader = try Reader(path: path, cacheBytes: 1 << 20)
        #expect(try reader.entry(namespace: 7, key: Array("d".utf8)) == Self.deflatable, Self.advice)
    }

    @Test("the row of a token is stored as it always was, and read")
    func token() throws {
        var token = TokenRecord(
            id: try #require(TokenID("abcdefgh")),
            grant: Grant(role: .write, namespaces: [try #require(NamespacePattern("team-*")), .everything]),
            note: "grün",
            createdAt: 1_800_000_000_000,
            expiresAt: 1_900_000_000_000,
            digest: try #require(TokenDigest([UInt8](0..<32)))
        )
        token.former = TokenRecord.Former(digest: try #require(TokenDigest([UInt8](32..<64))), until: 1_850_000_000_000)
        token.lastUsedDay = 20_787
        try StateTables(connection).put(token)
        let text = (TokenRows.columns + ", checksum").split(separator: ", ").map { "quote(\($0))" }
        let row = try Statement(connection, "SELECT \(text.joined(separator: " || ', ' || ")) FROM tokens")
        #expect(try row.step())
        #expect(row.text(0) == Self.tokenRow, Self.advice)
        row.reset()
        #expect(try RestoredState(connection).state.tokens == [token])
    }

    private static let tokenRow =
        "'abcdefgh', 'write', 'team-*,*', 'grün', 1800000000000, 1900000000000, "
        + "X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F', "
        + "X'202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F', 1850000000000, 20787, 1085349891"

    // MARK: The journal

    /// A change, and the bytes that it takes in a record.
    private static let journaled: [(change: KeyedChange, bytes: String)] = [
        (
            KeyedChange(address("a/1"), .put(json, options)),
            "01" + "0700000000000000" + "2900000000000000" + "03000000612f31"
                + "ffffffffffffff7f" + "0000000000000000" + "0004000000000000" + "06" + "00000000"
                + "070000007b226e223a317d"
        ),
        (
            KeyedChange(address("b"), .put(bytes, options)),
            "03" + "0700000000000000" + "2a00000000000000" + "0100000062"
                + "7b505c18a3010000" + "3075000000000000" + "0004000000000000" + "06" + "09000000696d6167652f706e67"
                + "0a00000003726564056772c3bc6e" + "040000000001feff"
        ),
        (
            KeyedChange(address("c"), .touch(touch)),
            "04" + "0700000000000000" + "2c00000000000000" + "0100000063"
                + "00505c18a3010000" + "0500000000000000" + "04000000036e6577"
                + "02000000" + "2b00000000000000" + "2800000000000000"
        ),
        (
            KeyedChange(address("e"), .delete(version: 46)),
            "00" + "0700000000000000" + "2e00000000000000" + "0100000065"
        ),
        (
            KeyedChange(address("n"), .put(absent, options)),
            "03" + "0700000000000000" + "2e00000000000000" + "010000006e"
                + "603a5d18a3010000" + "0000000000000000" + "0004000000000000" + "06" + "00000000"
                + "00000000" + "00000000"
        ),
    ]

    private static let record = "a2c1c4cd" + journaled.map(\.bytes).joined()

    private func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    @Test("a record of the journal is written as it always was")
    func record() throws {
        var record: [UInt8] = []
        JournalRecord.encode(Self.journaled.map { Batch.Item(ticket: 1, change: .entry($0.change)) }, into: &record)
        #expect(hex(record) == Self.record, Self.advice)
    }

    @Test("the journal's table holds a record in each row")
    func journal() throws {
        let items = Self.journaled.map { Batch.Item(ticket: 1, change: .entry($0.change)) }
        _ = try Journal(connection).append(items, as: 5)
        let row = try Statement(connection, "SELECT id, typeof(changes), changes FROM journal")
        #expect(try row.step())
        #expect(row.integer(0) == 5, Self.advice)
        #expect(row.text(1) == "blob", Self.advice)
        #expect(hex(row.bytes(2)) == Self.record, Self.advice)
        row.reset()
        let found = try RestoredJournal(connection, hash: EntryHash(seed: 1))
        #expect(found.rows == [5])
        #expect(found.damagedRows == 0, Self.advice)
        #expect(found.changes.map(\.version) == [41, 42, 44, 46, 46], Self.advice)
        #expect(found.changes.last?.change.entry == Self.absent, Self.advice)
    }
}
