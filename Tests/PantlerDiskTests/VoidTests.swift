import PantlerModel
import Support
import Testing

@testable import PantlerDisk

/// Rows that must not be seen, because changes that came after them were given up.
@Suite("Void rows")
struct VoidTests {
    /// A tier that opens with a mark over some of its rows, and cannot remove any.
    private func held() throws -> Fixture {
        let fixture = try Fixture()
        for number in 0..<700 { fixture.put("p/\(number)", fixture.entry("old")) }
        let through = fixture.nextVersion()
        fixture.put("p/5", fixture.entry("newer"))
        fixture.put("q", fixture.entry("newer"))
        fixture.put("p/1", Entry(value: [1], kind: .json, version: 1, expiresAt: .never), in: 2)
        fixture.tier.saveHotSet(["p/4", "p/5", "q"].map { fixture.address($0).hash })
        fixture.tier.close()
        try fixture.sql(
            """
            CREATE TRIGGER held BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'held'); END;
            INSERT INTO voids VALUES (1, \(through), row_checksum('voids', 1, \(through)));
            """
        )
        try fixture.open()
        return fixture
    }

    private func release(_ fixture: Fixture) throws {
        fixture.tier.close()
        try fixture.sql("DROP TRIGGER held")
        try fixture.open()
    }

    @Test("reads, listings and the hot set pass them over from the start, and newer rows are seen")
    func unseen() throws {
        let fixture = try held()
        #expect(try fixture.value("p/4") == nil)
        #expect(try fixture.value("p/5") == "newer")
        #expect(try fixture.value("p/1", in: 2) != nil)
        #expect(try fixture.keys() == ["p/5", "q"])
        #expect(try fixture.keys("p/", limit: 1) == ["p/5"])
        #expect(fixture.loadHotSet().map { String(decoding: $0.0.key, as: UTF8.self) } == ["p/5", "q"])
        // Writing goes on over them.
        #expect(fixture.putThrough("p/4", fixture.entry("again")) == nil)
        #expect(try fixture.value("p/4") == "again")
        #expect(try fixture.keys() == ["p/4", "p/5", "q"])
        #expect(try fixture.number("SELECT count(*) FROM entries WHERE namespace = 1") == 701, "none was removed")
        #expect(try fixture.number("SELECT count(*) FROM voids") == 1)
    }

    @Test("they are removed in the background, the store is told, and then the mark goes")
    func swept() throws {
        let fixture = try held()
        try release(fixture)
        try eventually("the mark goes") { try fixture.number("SELECT count(*) FROM voids") == 0 }
        #expect(fixture.tier.usage(of: 1).entries == 2)
        #expect(fixture.tier.usage(of: 2).entries == 1)
        #expect(fixture.delegate.departed(.evicted).count == 699)
        #expect(try fixture.keys() == ["p/5", "q"])
        // Small versions are as good as any again.
        let entry = Entry(value: [7], kind: .json, version: 3, expiresAt: .never)
        #expect(fixture.putThrough("p/9", entry) == nil)
        #expect(try fixture.read("p/9") == entry)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a prefix that is removed does not count them")
    func removePrefix() throws {
        let fixture = try held()
        try fixture.sql("DROP TRIGGER held")
        #expect(try fixture.removePrefix("p/") == 1)
    }

    @Test("a namespace that is dropped takes its mark along")
    func dropped() throws {
        let fixture = try held()
        #expect(fixture.settle(fixture.tier.enqueue(.dropNamespace(1))) == nil)
        #expect(try fixture.number("SELECT count(*) FROM voids") == 0)
        try release(fixture)
        try fixture.tier.tidy()
        #expect(try fixture.number("SELECT count(*) FROM entries") == 1)
    }

    @Test("what is given up while the file is full leaves room, and nothing older")
    func full() throws {
        let fixture = try Fixture {
            $0.maxPages = 64
            $0.queueEntries = 8
        }
        var random = SeededGenerator()
        for number in 0..<40 { fixture.put("\(number)", fixture.entry("old")) }
        fixture.put("other", fixture.entry("old"), in: 2)
        try fixture.tier.flush()
        let last = fixture.nextVersion()
        for number in 0..<40 {
            #expect(fixture.settle(fixture.put("\(number)", fixture.entry(random.bytes(50_000))), .behind) == nil)
        }
        try eventually("some are given up") { fixture.tier.health().lostWrites > 0 }
        for number in 0..<40 { #expect(try fixture.read("\(number)").map { $0.version > last } ?? true, "\(number)") }
        #expect(try fixture.list().allSatisfy { $0.version > last })
        fixture.options.maxPages = nil
        try fixture.reopen()
        for number in 0..<40 { #expect(try fixture.read("\(number)").map { $0.version > last } ?? true, "\(number)") }
        #expect(try fixture.value("other", in: 2) == "old")
        try fixture.tier.tidy()
        #expect(try fixture.number("SELECT count(*) FROM voids") == 0)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("what a stop cannot write any more leaves nothing older either")
    func stop() throws {
        let fixture = try Fixture {
            $0.maxPages = 64
            $0.lingerMilliseconds = 3_600_000
        }
        var random = SeededGenerator()
        for number in 0..<40 { fixture.put("\(number)", fixture.entry("old")) }
        try fixture.tier.flush()
        for number in 0..<10 { fixture.put("\(number)", fixture.entry(random.bytes(50_000))) }
        fixture.options.maxPages = nil
        try fixture.reopen()
        #expect(try fixture.keys().count == 30)
        for number in 0..<40 { #expect(try fixture.value("\(number)") == (number < 10 ? nil : "old"), "\(number)") }
    }
}
