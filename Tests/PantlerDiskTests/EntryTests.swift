import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Entries on disk")
struct EntryTests {
    @Test("what was put is read back whole, from the queue and from the file")
    func roundTrip() throws {
        let fixture = try Fixture()
        var entry = fixture.entry(#"{"a":1}"#, ttl: 5000, staleTTL: 700, tags: ["x", "ü"])
        entry.kind = .bytes(mediaType: "text/plain; charset=utf-8")
        fixture.put("k", entry)
        #expect(try fixture.read("k") == entry)
        try fixture.tier.flush()
        #expect(try fixture.read("k") == entry)
        try fixture.reopen()
        #expect(try fixture.read("k") == entry)
        #expect(try fixture.read("other") == nil)
        #expect(try fixture.read("k", in: 2) == nil)
    }

    @Test("a later put takes an earlier one's place, a delete ends it", arguments: [false, true])
    func order(flushed: Bool) throws {
        let fixture = try Fixture()
        func flush() throws { if flushed { try fixture.tier.flush() } }
        fixture.put("k", fixture.entry("1"))
        try flush()
        fixture.put("k", fixture.entry("22"))
        try flush()
        #expect(try fixture.value("k") == "22")
        fixture.delete("k")
        try flush()
        #expect(try fixture.value("k") == nil)
        fixture.put("k", fixture.entry("333"))
        try flush()
        #expect(try fixture.value("k") == "333")
        try fixture.reopen()
        #expect(try fixture.value("k") == "333")
        #expect(fixture.tier.usage(of: 1).entries == 1)
    }

    @Test("values of every size come back", arguments: [0, 1, 1023, 1024, 4000, 4060, 4100, 70_000, 3_000_000])
    func sizes(size: Int) throws {
        let fixture = try Fixture()
        var random = SeededGenerator()
        let noise = fixture.entry(random.bytes(size))
        let smooth = fixture.entry([UInt8](repeating: 7, count: size))
        fixture.put("noise", noise)
        fixture.put("smooth", smooth)
        try fixture.reopen()
        #expect(try fixture.read("noise") == noise, "\(random)")
        #expect(try fixture.read("smooth") == smooth)
    }

    @Test("two keys of one hash are two entries")
    func collision() throws {
        let fixture = try Fixture()
        let first = EntryAddress(namespace: 1, key: Array("a".utf8), hash: 42)
        let second = EntryAddress(namespace: 1, key: Array("b".utf8), hash: 42)
        let elsewhere = EntryAddress(namespace: 2, key: Array("a".utf8), hash: 42)
        let options = PutOptions(compressionThreshold: 1024, compressionLevel: 6)
        for round in 0..<2 {
            _ = fixture.tier.enqueue(.put(first, fixture.entry("first"), options))
            _ = fixture.tier.enqueue(.put(second, fixture.entry("second"), options))
            #expect(try fixture.read(first)?.value == Array("first".utf8))
            #expect(try fixture.read(second)?.value == Array("second".utf8))
            #expect(try fixture.read(elsewhere) == nil)
            if round == 0 { try fixture.tier.flush() }
        }
        try fixture.tier.flush()
        #expect(try fixture.read(first)?.value == Array("first".utf8))
        #expect(try fixture.read(second)?.value == Array("second".utf8))
        #expect(try fixture.read(elsewhere) == nil)
        _ = fixture.tier.enqueue(.delete(first, version: fixture.nextVersion()))
        try fixture.tier.flush()
        #expect(try fixture.read(first) == nil)
        #expect(try fixture.read(second)?.value == Array("second".utf8))
    }

    @Test("values from the threshold on are deflated, if that pays")
    func compression() throws {
        let fixture = try Fixture()
        var random = SeededGenerator()
        fixture.put("short", fixture.entry([UInt8](repeating: 1, count: 99)), threshold: 100)
        fixture.put("smooth", fixture.entry([UInt8](repeating: 1, count: 100)), threshold: 100)
        fixture.put("noise", fixture.entry(random.bytes(500)), threshold: 100)
        fixture.put("off", fixture.entry([UInt8](repeating: 1, count: 5000)), threshold: 100, level: 0)
        try fixture.tier.flush()
        for (key, form) in [("short", 0), ("smooth", 1), ("noise", 0), ("off", 0)] {
            #expect(try fixture.number("SELECT form FROM entries WHERE key = CAST('\(key)' AS BLOB)") == form, "\(key)")
        }
        let health = fixture.tier.health()
        #expect(health.compressionInBytes == 600)
        #expect((500..<550).contains(health.compressionOutBytes))
    }
}
