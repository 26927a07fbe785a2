import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerDisk

/// Changes of an entry's head, which leave the value where it is.
@Suite("Touches")
struct TouchTests {
    /// In the queue, in the journal or in its row.
    enum Place: CaseIterable {
        case queue, journal, row
    }

    private func fixture(_ place: Place) throws -> Fixture {
        try Fixture {
            switch place {
            case .queue: $0.lingerMilliseconds = 60_000
            case .journal:
                $0.lingerMilliseconds = 0
                $0.journaledChanges = 1
                $0.journalMilliseconds = 600_000
                $0.journalIdleMilliseconds = 600_000
            case .row:
                $0.lingerMilliseconds = 0
                $0.journaledChanges = .max
            }
        }
    }

    private func values() -> [[UInt8]] {
        [Array("1".utf8), Array("\"\(String(repeating: "pantler ", count: 4000))\"".utf8), []]
    }

    @Test("the value stays, digit for digit, and the head is another", arguments: Place.allCases, Place.allCases)
    func touch(put: Place, touch: Place) throws {
        for value in values() {
            let fixture = try fixture(put)
            let entry = fixture.entry(value, ttl: 5000, tags: ["a"])
            fixture.put("k", entry, threshold: 100)
            if put == .row { try fixture.tier.flush() }
            if touch == .row { try fixture.tier.flush() }
            let first = fixture.touch(
                "k",
                from: [entry.version],
                ttl: 7000,
                tags: ["a", EntryTag("long \(value.count)")]
            )
            let second = fixture.touch("k", from: [first.version], ttl: nil)
            for step in 0..<3 {
                if step == 1 { try fixture.tier.flush() }
                if step == 2 { try fixture.reopen() }
                var expected = entry
                (expected.version, expected.expiresAt, expected.tags) = (second.version, .never, [])
                #expect(try fixture.read("k") == expected)
                #expect(try fixture.head("k") == second)
                #expect(try fixture.list().map { $0.version } == [second.version])
            }
            #expect(fixture.tier.health().corruptions == 0)
            #expect(fixture.delegate.state.withLock { $0.missing.isEmpty })
        }
    }

    @Test(
        "what was touched is not what is here: nothing older stands in its place, and the store is told",
        arguments: Place.allCases
    )
    func otherBase(place: Place) throws {
        let fixture = try fixture(place)
        let entry = fixture.entry("old")
        fixture.put("k", entry)
        if place == .row { try fixture.tier.flush() }
        let head = fixture.touch("k", from: [entry.version + 1000])
        let nothing = fixture.touch("none", from: [1])
        #expect(try fixture.read("k") == nil)
        #expect(try fixture.head("k") == nil)
        try fixture.tier.flush()
        #expect(try fixture.read("k") == nil)
        #expect(try fixture.keys().isEmpty)
        let told = fixture.delegate.state.withLock { $0.missing.map { $0.version } }
        #expect(told.contains(nothing.version))
        if place == .row { #expect(told.contains(head.version)) }
        #expect(fixture.tier.usage(of: 1) == TierUsage())
    }

    @Test("a change that is met twice on its way counts once")
    func twice() throws {
        func touch(_ bases: [Version], _ version: Version) -> EntryChange {
            .touch(Touch(bases: bases, head: EntryHead(version: version, expiresAt: .never, staleTTL: 0, tags: [])))
        }
        func text(_ change: EntryChange) -> String {
            switch change {
            case .put(let entry, _): "put \(entry.version)"
            case .touch(let touch): "touch \(touch.bases) \(touch.head.version)"
            case .delete(let version): "delete \(version)"
            }
        }
        let put = EntryChange.put(
            Entry(value: [1], kind: .json, version: 1, expiresAt: .never),
            PutOptions(compressionThreshold: 0, compressionLevel: 0)
        )
        let (first, second) = (touch([1], 2), touch([2], 3))
        #expect(text(first.following(first)) == "touch [1] 2")
        #expect(text(second.following(first)) == "touch [2, 1] 3")
        #expect(text(second.following(second.following(first))) == "touch [2, 1] 3")
        #expect(text(first.following(put)) == "put 2")
        #expect(text(first.following(first.following(put))) == "put 2")
        #expect(text(first.following(second.following(first.following(put)))) == "put 3")
        #expect(text(second.following(put)) == "delete 3")
        #expect(text(second.following(.delete(version: 2))) == "delete 3")
        #expect(text(put.following(second)) == "put 1")
    }

    @Test("a head is read without its value")
    func headOfDamagedValue() throws {
        let fixture = try Fixture()
        let entry = fixture.entry(String(repeating: "x", count: 100_000), ttl: 5000, tags: ["t"])
        fixture.put("k", entry)
        try fixture.tier.flush()
        try fixture.sql("UPDATE entries SET value = zeroblob(length(value))")
        #expect(try fixture.head("k") == EntryHead(entry))
        // A touch does not look at it either, and does not make it whole.
        fixture.touch("k", from: [entry.version])
        try fixture.tier.flush()
        #expect(fixture.tier.health().corruptions == 0)
        #expect(throws: TierFault.self) { _ = try fixture.read("k") }
        #expect(fixture.tier.health().corruptions == 1)
    }

    @Test("a page that only the value has is not written for a touch")
    func pages() throws {
        let fixture = try Fixture { $0.journaledChanges = .max }
        var generator = SeededGenerator()
        let value = (0..<1_000_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        // Versions 0 and 1 are shorter in a row than those that follow.
        for _ in 0..<4 { _ = fixture.nextVersion() }
        let entry = fixture.entry(value, ttl: 5000)
        fixture.put("k", entry)
        try fixture.tier.flush()
        let log = fixture.file + "-wal"
        // The tier's own checkpoint may be at it, too. The file is asked: what the tier tells of it is as of its last look.
        try eventually("the log is empty") {
            try fixture.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return contents(of: log).isEmpty
        }
        fixture.touch("k", from: [entry.version], ttl: 6000)
        try fixture.tier.flush()
        #expect(contents(of: log).count < 200_000)
        #expect(try fixture.read("k")?.value == value)
    }

    @Test("in any order of puts, touches and deletes an entry is what the last of them made of it")
    func model() throws {
        var generator = SeededGenerator()
        for journaledChanges in [1, Int.max] {
            let fixture = try Fixture {
                $0.journaledChanges = journaledChanges
                $0.lingerMilliseconds = 0
            }
            var model: [String: Entry] = [:]
            for step in 0..<600 {
                let key = "k\(Int.random(in: 0..<5, using: &generator))"
                switch Int.random(in: 0..<10, using: &generator) {
                case 0..<3:
                    let length = Int.random(in: 0..<3000, using: &generator)
                    let entry = fixture.entry(String(repeating: "\(step)", count: length))
                    fixture.put(key, entry)
                    model[key] = entry
                case 3..<8:
                    guard var entry = model[key] else { continue }
                    let head = fixture.touch(key, from: [entry.version], ttl: .random(in: 1...9000, using: &generator))
                    (entry.version, entry.expiresAt, entry.tags) = (head.version, head.expiresAt, head.tags)
                    model[key] = entry
                case 8:
                    fixture.delete(key)
                    model[key] = nil
                default:
                    if step % 5 == 0 { try fixture.reopen() } else { try fixture.tier.flush() }
                }
                #expect(try fixture.read(key) == model[key], "\(generator), step \(step)")
                #expect(try fixture.head(key) == model[key].map { EntryHead($0) }, "\(generator), step \(step)")
            }
            #expect(try Set(fixture.keys()) == Set(model.keys))
            #expect(fixture.delegate.state.withLock { $0.missing.isEmpty })
        }
    }
}
