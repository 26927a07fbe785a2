import Glibc
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The journal")
struct JournalTests {
    /// A tier that puts everything into the journal and leaves it there until it is asked.
    private func fixture(_ change: (inout DiskOptions) -> Void = { _ in }) throws -> Fixture {
        try Fixture {
            $0.journaledChanges = 1
            $0.journalMilliseconds = 3_600_000
            $0.journalIdleMilliseconds = 3_600_000
            change(&$0)
        }
    }

    private func journalRows(_ fixture: Fixture) throws -> Int64 {
        try fixture.number("SELECT count(*) FROM journal")
    }

    private func rows(_ fixture: Fixture) throws -> Int64 {
        try fixture.number("SELECT count(*) FROM entries")
    }

    @Test("what is in it is read, listed, and there after a crash; a flush brings it to its rows")
    func destination() throws {
        let fixture = try fixture()
        for number in 0..<40 { fixture.put("k/\(number)", fixture.entry("first")) }
        for number in 0..<20 { fixture.put("k/\(number)", fixture.entry("second", ttl: 60_000, tags: ["t"])) }
        fixture.delete("k/0")
        #expect(fixture.putThrough("k/1", fixture.entry("third")) == nil)
        #expect(try rows(fixture) == 0)
        #expect(try journalRows(fixture) > 0)
        func look(_ fixture: Fixture) throws {
            #expect(try fixture.value("k/0") == nil)
            #expect(try fixture.value("k/1") == "third")
            #expect(try fixture.value("k/2") == "second")
            #expect(try fixture.read("k/2")?.tags == ["t"])
            #expect(try fixture.value("k/39") == "first")
            #expect(try fixture.keys("k/").count == 39)
        }
        try look(fixture)
        let crashed = try fixture.crashed()
        #expect(try journalRows(crashed) > 0)
        try look(crashed)
        for tier in [fixture, crashed] {
            try tier.tier.flush()
            #expect(try rows(tier) == 39)
            #expect(try journalRows(tier) == 0)
            #expect(tier.tier.usage(of: 1).entries == 39)
            try look(tier)
            try tier.reopen()
            try look(tier)
            #expect(try FolderCheck.run(folder: tier.folder).findings == [])
        }
    }

    @Test("few changes go to their rows at once, but not past others that are in it")
    func few() throws {
        let fixture = try fixture {
            $0.journaledChanges = 16
            // So that the sixteen are one commit.
            $0.lingerMilliseconds = 3_600_000
        }
        #expect(fixture.putThrough("a", fixture.entry("v")) == nil)
        #expect(try rows(fixture) == 1 && journalRows(fixture) == 0)
        let tickets = (0..<16).map { fixture.put("k\($0)", fixture.entry("v")) }
        #expect(tickets.compactMap { fixture.settle($0) }.isEmpty)
        try #require(try journalRows(fixture) > 0)
        let taken = try rows(fixture)
        fixture.delete("k0")
        #expect(fixture.putThrough("k1", fixture.entry("w")) == nil)
        #expect(try rows(fixture) == taken)
        #expect(try fixture.crashed().value("k0") == nil)
        #expect(try fixture.crashed().value("k1") == "w")
    }

    @Test("large values do not stay in it")
    func large() throws {
        let fixture = try fixture()
        fixture.put("small", fixture.entry("v"))
        #expect(fixture.putThrough("small too", fixture.entry("v")) == nil)
        try #require(try journalRows(fixture) > 0)
        #expect(fixture.putThrough("large", fixture.entry([UInt8](repeating: 7, count: 100_000))) == nil)
        #expect(try journalRows(fixture) == 0)
        #expect(try rows(fixture) == 3)
    }

    @Test("large values among many small ones: nobody waits until all are merged, and all are in their rows soon")
    func mixed() throws {
        let fixture = try fixture()
        for number in 0..<4000 { fixture.put("\(number)", fixture.entry("v")) }
        for number in 0..<5 {
            fixture.put("\(number)", fixture.entry("again"))
            if number == 4 { fixture.delete("large 0") }
            let value = [UInt8](repeating: UInt8(number), count: 100_000)
            #expect(fixture.putThrough("large \(number)", fixture.entry(value)) == nil)
        }
        let crashed = try fixture.crashed()
        try eventually("it is empty") { try journalRows(fixture) == 0 }
        for fixture in [fixture, crashed] {
            try fixture.tier.flush()
            #expect(try rows(fixture) == 4004)
            #expect(try fixture.value("4") == "again")
            #expect(try fixture.read("large 0") == nil)
            #expect(try fixture.read("large 4")?.value.count == 100_000)
            #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
        }
    }

    @Test("which commits go there: many small changes, and all others while it is not empty, unless few are in it")
    func ways() {
        let options = DiskOptions()
        var state = JournalState(RestoredJournal())
        let large = Int64(1 << 20)
        #expect(state.destination(changes: 15, bytes: 15_000, waiting: 0, options) == .rows)
        #expect(state.destination(changes: 16, bytes: 16_000, waiting: 0, options) == .journal)
        #expect(state.destination(changes: 16, bytes: large, waiting: 0, options) == .rows)
        state.note(bytes: 1000, at: 0)
        #expect(state.destination(changes: 1, bytes: 1000, waiting: 16, options) == .journal)
        #expect(state.destination(changes: 1, bytes: large, waiting: 256, options) == .rowsOnceMerged)
        #expect(state.destination(changes: 1, bytes: large, waiting: 257, options) == .journalToBeMerged)
        state.note(bytes: options.journalBytes * 2, at: 0)
        #expect(state.destination(changes: 1, bytes: 1000, waiting: 257, options) == .journalOnceEased)
        state.note(bytes: options.journalBytes * 2, at: 0)
        #expect(state.destination(changes: 1, bytes: 1000, waiting: 257, options) == .rowsOnceMerged)
        var damaged = RestoredJournal()
        damaged.isUsable = false
        #expect(JournalState(damaged).destination(changes: 16, bytes: 16_000, waiting: 0, options) == .rows)
    }

    @Test("it is merged once it is large, old, or has nothing added", arguments: ["entries", "bytes", "age", "idle"])
    func due(by reason: String) throws {
        let fixture = try fixture {
            switch reason {
            case "entries": $0.journalEntries = 100
            case "bytes": $0.journalBytes = 20_000
            case "age": $0.journalMilliseconds = 1
            default: $0.journalIdleMilliseconds = 1
            }
        }
        for number in 0..<200 { fixture.put("\(number)", fixture.entry("v")) }
        #expect(fixture.putThrough("last", fixture.entry("v")) == nil)
        try eventually("it is merged") { try rows(fixture) > 100 }
        try fixture.tier.flush()
        #expect(try rows(fixture) == 201)
    }

    @Test("a merge that a crash cut short is done again, and comes to the same", arguments: [0, 2, 5])
    func repeated(removed: Int) throws {
        let fixture = try fixture()
        for round in 0..<6 {
            for number in 0..<50 { fixture.put("\(number)", fixture.entry("\(round)")) }
            #expect(fixture.settle(fixture.delete("\(round)")) == nil)
        }
        let before = try fixture.list().map { $0.version }
        // Merged, with the oldest rows of the journal gone and the others still there.
        let crashed = try fixture.crashed { file in
            try file.execute("CREATE TABLE kept AS SELECT * FROM journal ORDER BY id LIMIT -1 OFFSET \(removed)")
        }
        try crashed.tier.flush()
        #expect(try journalRows(crashed) == 0)
        let again = try crashed.crashed { file in
            try file.execute("INSERT INTO journal (changes) SELECT changes FROM kept ORDER BY id; DROP TABLE kept")
        }
        #expect(try again.list().map { $0.version } == before)
        try again.tier.flush()
        #expect(try again.list().map { $0.version } == before)
        #expect(again.tier.usage(of: 1).entries == Int64(before.count))
        #expect(try FolderCheck.run(folder: again.folder).findings == [])
    }

    @Test("what a prefix, a dropped namespace or a mark ended does not come back from it after a crash")
    func ended() throws {
        let fixture = try fixture()
        for number in 0..<30 { fixture.put("p/\(number)", fixture.entry("v")) }
        for number in 0..<30 { fixture.put("\(number)", fixture.entry("v"), in: 2) }
        fixture.put("q", fixture.entry("v"))
        #expect(try fixture.removePrefix("p/", before: fixture.nextVersion()) == 30)
        #expect(fixture.settle(fixture.tier.enqueue(.dropNamespace(2))) == nil)
        let crashed = try fixture.crashed()
        #expect(try crashed.keys() == ["q"])
        try crashed.tier.flush()
        try eventually("its rows are gone") { try crashed.number("SELECT count(*) FROM dropped") == 0 }
        #expect(try crashed.number("SELECT count(*) FROM entries WHERE namespace = 2") == 0)
        #expect(try crashed.keys() == ["q"])
        #expect(try FolderCheck.run(folder: crashed.folder).findings == [])
    }

    @Test("a dropped namespace is remembered until the journal is rid of it")
    func dropped() throws {
        let fixture = try fixture()
        for number in 0..<30 { fixture.put("\(number)", fixture.entry("v"), in: 2) }
        #expect(fixture.settle(fixture.tier.enqueue(.dropNamespace(2))) == nil)
        try eventually("it is forgotten") { try fixture.number("SELECT count(*) FROM dropped") == 0 }
        #expect(try journalRows(fixture) == 0)
        #expect(try rows(fixture) == 0)
    }

    @Test("void changes in it are not seen, and make no rows")
    func void() throws {
        let fixture = try fixture()
        for number in 0..<20 { fixture.put("k/\(number)", fixture.entry("old")) }
        #expect(fixture.putThrough("k/20", fixture.entry("old")) == nil)
        let through = fixture.nextVersion()
        let copy = try fixture.crashed { file in
            try file.execute("INSERT INTO voids VALUES (1, \(through), row_checksum('voids', 1, \(through)))")
        }
        #expect(try copy.value("k/3") == nil)
        #expect(try copy.keys() == [])
        #expect(copy.putThrough("k/3", copy.entry("new")) == nil)
        #expect(try copy.value("k/3") == "new")
        try eventually("the mark goes") { try copy.number("SELECT count(*) FROM voids") == 0 }
        #expect(try copy.keys() == ["k/3"])
        #expect(try rows(copy) <= 1)
    }

    @Test("a damaged row of it is counted and told, and the others are taken")
    func damaged() throws {
        let fixture = try fixture()
        for key in ["a", "b", "c"] { #expect(fixture.putThrough(key, fixture.entry("v")) == nil) }
        let crashed = try fixture.crashed { file in
            try file.execute("UPDATE journal SET changes = changes || x'00' WHERE id = 2")
        }
        #expect(try FolderCheck.run(folder: crashed.folder).damagedRows == 1)
        #expect(try FolderCheck.run(folder: crashed.folder).journaled == 2)
        #expect(crashed.tier.health().corruptions == 1)
        #expect(try crashed.keys() == ["a", "c"])
        try crashed.tier.flush()
        #expect(try crashed.keys() == ["a", "c"])
        #expect(try FolderCheck.run(folder: crashed.folder).isSound)
    }

    @Test("rows of it that cannot be removed are over all the same")
    func unremovable() throws {
        let fixture = try fixture()
        for number in 0..<20 { fixture.put("\(number)", fixture.entry("v")) }
        #expect(fixture.putThrough("last", fixture.entry("v")) == nil)
        fixture.tier.close()
        try fixture.sql(
            "CREATE TRIGGER held BEFORE DELETE ON journal WHEN old.id = 7 BEGIN SELECT RAISE(ABORT, 'held'); END;"
                + "INSERT INTO journal VALUES (7, x'00')"
        )
        try fixture.open()
        #expect(fixture.tier.health().corruptions == 1)
        for number in 0..<40 { fixture.put("\(number)", fixture.entry("w")) }
        #expect(fixture.putThrough("last", fixture.entry("w")) == nil)
        try fixture.tier.flush()
        #expect(fixture.tier.health().fault == nil)
        #expect(try journalRows(fixture) > 0)
        try fixture.reopen()
        #expect(fixture.tier.health().corruptions == 0, "it is not read again")
        #expect(try fixture.keys().count == 41)
        #expect(try fixture.value("3") == "w")
    }

    @Test("where it cannot be read at all, changes go to their rows at once")
    func unusable() throws {
        let fixture = try fixture()
        #expect(fixture.putThrough("k", fixture.entry("v")) == nil)
        fixture.tier.close()
        let root = Int(try fixture.number("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'"))
        try overwrite(fixture, page: root - 1, [UInt8](repeating: 0x5a, count: 4096))
        try fixture.open()
        #expect(fixture.tier.health().corruptions == 1)
        #expect(try fixture.value("k") == "v")
        for number in 0..<40 { fixture.put("\(number)", fixture.entry("w")) }
        #expect(fixture.putThrough("k", fixture.entry("w")) == nil)
        #expect(try rows(fixture) == 41)
        #expect(try fixture.value("k") == "w")
    }

    /// - Parameter page: counted from 0.
    private func overwrite(_ fixture: Fixture, page: Int, _ bytes: [UInt8]) throws {
        let file = Glibc.open(fixture.file, O_RDWR)
        try #require(file >= 0)
        defer { close(file) }
        try #require(pwrite(file, bytes, bytes.count, off_t(page * 4096)) == bytes.count)
    }

    @Test(
        "a change that cannot come to its row is lost and counted, keeps none from it, and nothing older is seen in its place"
    )
    func unmergeable() throws {
        let fixture = try fixture()
        try fixture.sql("CREATE UNIQUE INDEX extra ON entries (size) WHERE size > 10 AND size < 20")
        try fixture.reopen()
        fixture.put("first", fixture.entry("eleven byte"))
        fixture.put("17", fixture.entry("older"))
        try fixture.tier.flush()
        for number in 0..<40 { fixture.put("\(number)", fixture.entry(number == 17 ? "also eleven" : "v")) }
        try fixture.tier.flush()
        #expect(try fixture.keys().count == 40)
        #expect(try fixture.value("17") == nil)
        #expect(fixture.tier.health().lostWrites == 1)
        #expect(fixture.tier.health().fault == nil)
        #expect(try journalRows(fixture) == 0)
    }

    @Test("a full disk: what is in it comes to its rows, and deletes make room")
    func full() throws {
        let fixture = try fixture { $0.maxPages = 200 }
        var random = SeededGenerator()
        for number in 0..<150 { fixture.put("\(number)", fixture.entry(random.bytes(1500))) }
        #expect(fixture.putThrough("last", fixture.entry("v")) == nil)
        try #require(try journalRows(fixture) > 0)
        for number in 150..<700 { fixture.put("\(number)", fixture.entry(random.bytes(1500))) }
        try eventually("the disk is full") { fixture.tier.health().fault?.cause == .full }
        #expect(try fixture.read("699") != nil)
        for number in 0..<650 { fixture.delete("\(number)") }
        try eventually("there is room") {
            fixture.tier.health().fault == nil && fixture.tier.health().queueEntries == 0
        }
        let crashed = try fixture.crashed()
        #expect(try crashed.value("last") == "v")
        #expect(try crashed.read("0") == nil)
        #expect(try crashed.read("699") != nil)
        #expect(crashed.tier.health().lostWrites == 0)
    }
}
