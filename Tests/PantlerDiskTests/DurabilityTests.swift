import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Durability")
struct DurabilityTests {
    @Test("a settled through write is there after a crash")
    func through() throws {
        let fixture = try Fixture { $0.lingerMilliseconds = 3_600_000 }
        #expect(fixture.putThrough("k", fixture.entry("v")) == nil)
        fixture.put("behind", fixture.entry("v"))
        let copy = try fixture.crashed()
        #expect(try copy.value("k") == "v")
        #expect(try copy.value("behind") == nil)
        #expect(copy.tier.usage(of: 1).entries == 1)
    }

    @Test("a behind write is on disk by itself")
    func behind() throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry("v"))
        try eventually("it is committed") { fixture.tier.health().queueEntries == 0 }
        #expect(try fixture.crashed().value("k") == "v")
        #expect(fixture.tier.health().committedChanges == 1)
    }

    @Test("closing keeps everything, leaves no log, and refuses what comes later")
    func closing() throws {
        let fixture = try Fixture { $0.lingerMilliseconds = 3_600_000 }
        for number in 0..<100 { fixture.put("\(number)", fixture.entry("v")) }
        fixture.tier.close()
        #expect(names(in: fixture.folder) == ["lock", Ballast.fileName, DiskTier.fileName])
        #expect(fixture.putThrough("late", fixture.entry("v"))?.cause == .closed)
        #expect { try fixture.read("0") } throws: { ($0 as? TierFault)?.cause == .closed }
        #expect { try fixture.list() } throws: { ($0 as? TierFault)?.cause == .closed }
        #expect(fixture.sweep()?.cause == .closed)
        #expect(throws: TierFault.self) { _ = try fixture.removePrefix("") }
        fixture.tier.close()
        try fixture.open()
        #expect(try fixture.keys().count == 100)
    }

    @Test("many changes share a commit")
    func groupCommit() throws {
        let fixture = try Fixture { $0.lingerMilliseconds = 3_600_000 }
        for number in 0..<1000 { fixture.put("\(number)", fixture.entry("v")) }
        try fixture.tier.flush()
        #expect(fixture.tier.health().commits == 1)
        #expect(fixture.tier.health().committedChanges == 1000)
        for _ in 0..<50 { fixture.put("same", fixture.entry("v")) }
        try fixture.tier.flush()
        #expect(fixture.tier.health().committedChanges == 1001)
    }

    @Test("a full disk: through writes are refused and taken back, reads go on, deletes make room again")
    func full() throws {
        let fixture = try Fixture { $0.maxPages = 64 }
        var random = SeededGenerator()
        fixture.put("old", fixture.entry("old"))
        for number in 0..<20 { fixture.put("filler/\(number)", fixture.entry(random.bytes(8000))) }
        try fixture.tier.flush()
        #expect(fixture.putThrough("old", fixture.entry(random.bytes(200_000)))?.cause == .full)
        #expect(fixture.tier.health().fault?.cause == .full)
        #expect(try fixture.value("old") == "old")
        #expect(fixture.putThrough("new", fixture.entry(random.bytes(200_000)))?.cause == .full)
        #expect(try fixture.value("new") == nil)
        // A behind write stays, and is read from the queue meanwhile.
        let waiting = fixture.entry(random.bytes(100_000))
        fixture.put("waiting", waiting)
        try eventually("it was tried") { fixture.tier.health().fault != nil }
        #expect(try fixture.read("waiting") == waiting)
        for number in 0..<15 { fixture.delete("filler/\(number)") }
        try eventually("there is room") {
            fixture.tier.health().fault == nil && fixture.tier.health().queueEntries == 0
        }
        #expect(try fixture.read("waiting") == waiting)
        try fixture.reopen()
        #expect(try fixture.read("waiting") == waiting)
        #expect(try fixture.value("old") == "old")
        #expect(fixture.tier.health().lostWrites == 0)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a disk that stays full: the queue keeps its bound, what is lost is counted, nobody waits for ever")
    func staysFull() throws {
        let fixture = try Fixture {
            $0.maxPages = 40
            $0.queueBytes = 1 << 20
        }
        var random = SeededGenerator()
        fixture.put("k", fixture.entry("older"))
        try fixture.tier.flush()
        fixture.put("k", fixture.entry(random.bytes(100_000)))
        for number in 0..<40 {
            #expect(fixture.settle(fixture.put("\(number)", fixture.entry(random.bytes(100_000))), .behind) == nil)
        }
        try eventually("some are lost") { fixture.tier.health().lostWrites > 0 }
        try eventually("within the bound") { fixture.tier.health().queueBytes <= 1 << 20 }
        // The value that could not be written must not be replaced by the one before it.
        #expect(try fixture.read("k")?.value != Array("older".utf8))
    }

    @Test("one change that cannot be made does not keep the others from being committed")
    func oneRejected() throws {
        let fixture = try Fixture { $0.journaledChanges = .max }
        try fixture.sql("CREATE UNIQUE INDEX extra ON entries (size) WHERE size > 10 AND size < 20")
        try fixture.reopen()
        fixture.put("first", fixture.entry("eleven byte"))
        try fixture.tier.flush()
        var tickets: [WriteTicket] = []
        for number in 0..<40 {
            tickets.append(fixture.put("\(number)", fixture.entry(number == 17 ? "also eleven" : "v")))
        }
        let faults = tickets.map { fixture.settle($0) }
        for number in 0..<40 { #expect((faults[number] != nil) == (number == 17), "\(number)") }
        #expect(try fixture.keys().count == 40)
        #expect(try fixture.value("17") == nil)
        #expect(fixture.tier.health().fault == nil)
    }

    @Test("writers wait for room when the queue is above its bound")
    func backpressure() throws {
        let fixture = try Fixture {
            $0.lingerMilliseconds = 3_600_000
            $0.queueEntries = 4
        }
        for number in 0..<4 {
            let ticket = fixture.put("\(number)", fixture.entry("v"))
            #expect(fixture.tier.settle(ticket, .behind) { _ in Issue.record("called") })
        }
        // Above the bound the writer begins at once; the completion tells of its end.
        let ticket = fixture.put("4", fixture.entry("v"))
        #expect(fixture.settle(ticket, .behind) == nil)
        #expect(fixture.tier.health().queueEntries == 0)
        #expect(fixture.tier.health().commits == 1)
    }

    @Test("a namespace whose end could not be written is still written to, and gone once its end is")
    func refusedDrop() throws {
        let fixture = try Fixture()
        _ = fixture.tier.enqueue(.namespace(try fixture.record(1, "one")))
        #expect(fixture.putThrough("k", fixture.entry("1")) == nil)
        try fixture.sql(
            "CREATE TRIGGER refusal BEFORE INSERT ON dropped BEGIN SELECT raise(ABORT, 'refused'); END"
        )
        let fault = fixture.settle(fixture.tier.enqueue(.dropNamespace(1), .through))
        #expect(fault?.outcome == .kept)
        #expect(fixture.tier.health().fault != nil)
        #expect(fixture.tier.usage(of: 1).entries == 1, "counters are those of the last commit")
        #expect(fixture.putThrough("k", fixture.entry("2")) == nil)
        let crashed = try fixture.crashed { try $0.execute("DROP TRIGGER refusal") }
        #expect(try crashed.value("k") == "2")
        #expect(crashed.tier.persistedState().namespaces.count == 1)
        try fixture.sql("DROP TRIGGER refusal")
        try eventually("the end is written") { fixture.tier.health().fault == nil }
        #expect(try fixture.crashed().tier.persistedState().namespaces.isEmpty)
        #expect(fixture.tier.usage(of: 1).entries == 0)
    }
}
