import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The way back from a clock far ahead")
struct ClockResetTests {
    /// Later than the fixture's clock, by which nothing is to expire.
    private static let base: Int64 = 1_900_000_000_000
    /// The time line as it was before the wrong start, where that put it, and by how much it goes back, in milliseconds.
    private static let earlier = base + 1_000_000
    private static let wrong = base + 10_000_000
    private static let back: Int64 = 10_500_000

    private static let anchor = ClockAnchor(
        bootID: "that boot",
        bootMilliseconds: 0,
        wallMilliseconds: base + 12_000_000,
        serviceMilliseconds: base + 12_000_000,
        doubt: ClockDoubt(
            serviceMilliseconds: wrong,
            earlierServiceMilliseconds: earlier,
            earlierWallMilliseconds: base + 1_500_000
        )
    )
    private static let readings = ClockReadings(bootID: "this boot") {
        0
    } wallMilliseconds: {
        base + 2_000_000
    }

    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: Self.base + milliseconds) }

    private func entry(_ version: Version, _ expiresAt: Int64) -> Entry {
        Entry(value: [1], kind: .json, version: version, expiresAt: at(expiresAt))
    }

    /// A row of the journal as a run that was killed leaves it.
    private func addToJournal(_ changes: [EntryChange], _ connection: borrowing SQLiteConnection) throws {
        let items = changes.enumerated().map { number, change in
            let address = EntryAddress(namespace: 1, key: Array("journal \(number)".utf8), hash: 0)
            return Batch.Item(ticket: 0, change: .entry(KeyedChange(address, change)))
        }
        var record: [UInt8] = []
        JournalRecord.encode(items, into: &record)
        let insert = try Statement(connection, "INSERT INTO journal (id, changes) VALUES (1000, ?1)")
        try record.withBytes { (bytes) throws(SQLiteError) in
            try insert.bind(1, borrowing: bytes)
            try insert.run()
        }
    }

    @Test("moments since the wrong start go back, of rows, journal and marks alike; earlier ones and damage stay")
    func moments() throws {
        let fixture = try Fixture()
        let marks = Watermark(
            staleMarks: [StaleMark(before: 5, since: at(500_000)), StaleMark(before: 9, since: at(15_000_000))]
        )
        var record = try fixture.record(1, "one")
        record.createdAt = at(11_000_000)
        record.watermark = marks
        _ = fixture.tier.enqueue(.namespace(record))
        _ = fixture.tier.enqueue(.namespace(try fixture.record(2, "damaged")))
        _ = fixture.tier.enqueue(.tag(1, tag: "t", marks))
        fixture.put("late", entry(20, 20_000_000))
        fixture.put("early", entry(21, 900_000))
        try fixture.tier.flush()
        let copy = try fixture.crashed { connection in
            let touch = Touch(
                bases: [20],
                head: EntryHead(version: 22, expiresAt: at(21_000_000), staleTTL: 0, tags: [])
            )
            let put = EntryChange.put(
                entry(23, 22_000_000),
                PutOptions(compressionThreshold: 1024, compressionLevel: 1)
            )
            try addToJournal([put, .touch(touch), .delete(version: 24)], connection)
            try connection.execute("UPDATE namespaces SET checksum = checksum + 1 WHERE id = 2")
            try StateTables(connection).set(Self.anchor)
            let damage = try RestoredState(connection).damage
            let report = try ClockReset.run(connection, Self.readings)
            #expect(report?.milliseconds == Self.back)
            let restored = try RestoredState(connection)
            let expected = [StaleMark(before: 5, since: at(500_000)), StaleMark(before: 9, since: at(4_500_000))]
            let namespace = try #require(restored.state.namespaces.first { $0.id == 1 })
            #expect(namespace.watermark.staleMarks == expected)
            #expect(namespace.createdAt == at(500_000))
            #expect(restored.state.tags.map(\.watermark.staleMarks) == [expected])
            #expect(!damage.isEmpty && restored.damage == damage, "what was damaged is not sealed")
            let anchor = try #require(restored.state.clockAnchor)
            #expect(anchor.serviceMilliseconds == Self.base + 1_500_000 && anchor.doubt == nil)
            let changes = restored.journal.changes.map(\.change)
            #expect(changes.count == 3)
            for change in changes {
                switch change {
                case .put(let entry, _): #expect(entry.expiresAt == at(11_500_000))
                case .touch(let touch): #expect(touch.head.expiresAt == at(10_500_000))
                case .delete(let version): #expect(version == 24)
                }
            }
        }
        #expect(try copy.read("late")?.expiresAt == at(9_500_000))
        #expect(try copy.read("early")?.expiresAt == at(900_000))
    }

    @Test("a time line that is not ahead stays as it is")
    func notAhead() throws {
        let fixture = try Fixture()
        _ = try fixture.crashed { connection in
            var anchor = Self.anchor
            anchor.doubt = nil
            anchor.serviceMilliseconds = Self.base
            try StateTables(connection).set(anchor)
            #expect(try ClockReset.run(connection, Self.readings) == nil)
        }
    }
}
