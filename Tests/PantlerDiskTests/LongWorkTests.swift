import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerDisk

@Suite("Work in small steps")
struct LongWorkTests {
    @Test("a sweep removes what the store calls invalidated, by version and by tag, and only that")
    func sweep() throws {
        let fixture = try Fixture()
        for number in 0..<1500 { fixture.put("old/\(number)", fixture.entry("v")) }
        let before = fixture.nextVersion()
        fixture.put("new", fixture.entry("v"))
        fixture.put("tagged", fixture.entry("v", tags: ["keep", "drop"]))
        fixture.put("other", fixture.entry("v", tags: ["keep"]))
        fixture.delegate.state.withLock {
            $0.invalidBefore = before
            $0.invalidTags = ["drop"]
        }
        #expect(fixture.sweep() == nil)
        #expect(try fixture.keys() == ["new", "other"])
        #expect(fixture.delegate.departed(.invalidated).count == 1501)
        #expect(fixture.tier.usage(of: 1).entries == 2)
        #expect(fixture.sweep() == nil)
        #expect(fixture.delegate.departed(.invalidated).count == 1501)
    }

    @Test("several jobs at once all come to their end")
    func together() throws {
        let fixture = try Fixture()
        for number in 0..<600 { fixture.put("k/\(number)", fixture.entry("v")) }
        let answers = (0..<4).map { number in
            let done = BlockingAnswer<Result<Int, TierFault>>()
            fixture.tier.removePrefix(
                namespace: 1,
                prefix: Array("k/\(number)".utf8),
                before: .max,
                durability: .behind
            ) { done.answer($0) }
            return done
        }
        #expect(fixture.sweep() == nil)
        let counts = try answers.map { try $0.wait().get() }
        #expect(counts == [1, 111, 111, 111])
    }

    @Test("a dropped namespace's rows go in the background, over a restart too, and its number is not given again")
    func drop() throws {
        let fixture = try Fixture()
        let record = try fixture.record(7, "gone")
        _ = fixture.tier.enqueue(.namespace(record))
        _ = fixture.tier.enqueue(.tag(7, tag: "t", Watermark()))
        for number in 0..<500 { fixture.put("\(number)", fixture.entry("v"), in: 7) }
        fixture.put("kept", fixture.entry("v"), in: 6)
        try fixture.tier.flush()
        #expect(fixture.settle(fixture.tier.enqueue(.dropNamespace(7))) == nil)
        #expect(fixture.tier.usage(of: 7) == TierUsage())
        fixture.put("late", fixture.entry("v"), in: 7)
        _ = fixture.tier.enqueue(.namespace(record))
        _ = fixture.tier.enqueue(.tag(7, tag: "late", Watermark()))
        try fixture.reopen()
        try fixture.tier.tidy()
        #expect(try fixture.number("SELECT count(*) FROM entries") == 1)
        #expect(try fixture.number("SELECT count(*) FROM dropped") == 0)
        #expect(try fixture.number("SELECT count(*) FROM usage") == 1)
        let state = fixture.tier.persistedState()
        #expect(state.namespaces.isEmpty)
        #expect(state.tags.isEmpty)
        #expect(state.nextNamespaceID == 8)
        #expect(fixture.delegate.departed(.invalidated).isEmpty)
    }

    @Test("what has expired leaves by itself once its stale TTL is over, and not before")
    func expiry() throws {
        let fixture = try Fixture()
        fixture.put("short", fixture.entry("v", ttl: 1000))
        fixture.put("stale", fixture.entry("v", ttl: 1000, staleTTL: 5000))
        fixture.put("forever", fixture.entry("v"))
        fixture.put("again", fixture.entry("v", ttl: 1000))
        fixture.put("sooner", fixture.entry("v", ttl: 100_000))
        try fixture.tier.flush()
        fixture.put("again", fixture.entry("v", ttl: 10_000))
        fixture.put("sooner", fixture.entry("v", ttl: 500))
        fixture.clock.advance(byMilliseconds: 999)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["again", "forever", "short", "stale"])
        fixture.clock.advance(byMilliseconds: 1)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["again", "forever", "stale"])
        fixture.clock.advance(byMilliseconds: 5000)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["again", "forever"])
        fixture.clock.advance(byMilliseconds: 1_000_000)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["forever"])
        #expect(fixture.delegate.departed(.expired) == ["sooner", "short", "stale", "again"])
        #expect(fixture.tier.health().expirations == 4)
    }

    @Test("what was made stale leaves once its stale TTL is over, however long it was to live, over a restart too")
    func staleness() throws {
        let fixture = try Fixture()
        for (key, staleTTL) in [("none", 0), ("short", 1000), ("long", 5000)] as [(String, Int64)] {
            fixture.put(key, fixture.entry("v", staleTTL: staleTTL))
        }
        let marked = fixture.nextVersion()
        fixture.put("later", fixture.entry("v", staleTTL: 1000))
        fixture.delegate.state.withLock {
            $0.staleBefore = marked
            $0.staleSince = fixture.clock.now()
        }
        #expect(fixture.sweep() == nil)
        #expect(try fixture.keys() == ["later", "long", "short"])
        fixture.clock.advance(byMilliseconds: 1000)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["later", "long"])
        try fixture.reopen()
        fixture.clock.advance(byMilliseconds: 4000)
        try fixture.tier.tidy()
        #expect(try fixture.keys() == ["later"])
    }

    @Test("what has expired leaves without being asked for")
    func background() throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry("v", ttl: 10))
        try fixture.tier.flush()
        fixture.clock.advance(byMilliseconds: 10)
        try eventually("it leaves") { fixture.delegate.departed(.expired) == ["k"] }
    }
}
