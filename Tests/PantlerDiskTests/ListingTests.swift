import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Listing and removing by prefix")
struct ListingTests {
    @Test("keys come in byte order, from file and queue alike", arguments: [0, 1, 2, 3])
    func order(flushes: Int) throws {
        let fixture = try Fixture()
        let keys = ["b", "a", "é", "ab", "a/2", "a/10", "Z"]
        for (number, key) in keys.enumerated() {
            fixture.put(key, fixture.entry("1"))
            if number % 4 < flushes { try fixture.tier.flush() }
        }
        fixture.put("other", fixture.entry("1"), in: 2)
        #expect(try fixture.keys() == ["Z", "a", "a/10", "a/2", "ab", "b", "é"])
        #expect(try fixture.keys("a") == ["a", "a/10", "a/2", "ab"])
        #expect(try fixture.keys("a/") == ["a/10", "a/2"])
        #expect(try fixture.keys("a", after: "a/10") == ["a/2", "ab"])
        #expect(try fixture.keys("a/", after: "Z") == ["a/10", "a/2"])
        #expect(try fixture.keys(after: "a/10", limit: 2) == ["a/2", "ab"])
        #expect(try fixture.keys("zz") == [])
        #expect(try fixture.keys("b", after: "é") == [])
        #expect(try fixture.keys(limit: 0) == [])
    }

    /// Holds back the writer, so that changes stay in the queue: a linger of an hour.
    private func slowFixture() throws -> Fixture {
        try Fixture { $0.lingerMilliseconds = 3_600_000 }
    }

    @Test("negative entries are listed as such, and so are their heads, from file and queue alike")
    func absent() throws {
        let fixture = try slowFixture()
        func absent() -> Entry {
            var entry = fixture.entry("", ttl: 1000)
            entry.kind = .absent
            return entry
        }
        for key in ["a", "c"] { fixture.put(key, absent()) }
        fixture.put("d", fixture.entry(""))
        try fixture.tier.flush()
        fixture.put("b", absent())
        fixture.put("c", fixture.entry("1"))
        let done = BlockingAnswer<Result<[ListedEntry], TierFault>>()
        fixture.tier.list(namespace: 1, prefix: [], after: nil, limit: 10) { done.answer($0) }
        let listed = try done.wait().get()
        #expect(listed.map { String(decoding: $0.key, as: UTF8.self) } == ["a", "b", "c", "d"])
        #expect(listed.map(\.isAbsent) == [true, true, false, false])
        for (key, isAbsent) in [("a", true), ("b", true), ("c", false), ("d", false)] {
            #expect(try fixture.head(key)?.isAbsent == isAbsent && fixture.read(key)?.isAbsent == isAbsent, "\(key)")
        }
    }

    @Test("what waits in the queue takes the place of what is in the file")
    func overlay() throws {
        let fixture = try slowFixture()
        for key in ["a", "b", "c", "d"] { fixture.put(key, fixture.entry("old")) }
        try fixture.tier.flush()
        fixture.delete("a")
        let newer = fixture.entry("newer", ttl: 500, staleTTL: 20, tags: ["t"])
        fixture.put("c", newer)
        fixture.put("bb", fixture.entry("new"))
        fixture.put("e", fixture.entry("new"))
        fixture.delete("nothing")
        #expect(fixture.tier.health().queueEntries == 5)
        #expect(try fixture.keys() == ["b", "bb", "c", "d", "e"])
        #expect(try fixture.keys(limit: 2) == ["b", "bb"])
        #expect(try fixture.keys(after: "bb", limit: 2) == ["c", "d"])
        let listed = try #require(try fixture.list("c").first)
        #expect(
            listed
                == ListedEntry(
                    key: Array("c".utf8),
                    version: newer.version,
                    expiresAt: newer.expiresAt,
                    staleTTL: 20,
                    tags: ["t"],
                    size: 5
                )
        )
        try fixture.tier.flush()
        #expect(try fixture.list("c") == [listed])
        #expect(try fixture.keys() == ["b", "bb", "c", "d", "e"])
    }

    @Test("pages of any size, one after the other, show every key once")
    func pages() throws {
        let fixture = try slowFixture()
        var random = SeededGenerator()
        var expected: Set<String> = []
        for round in 0..<400 {
            let key = "k\(Int.random(in: 0..<300, using: &random))"
            if Int.random(in: 0..<4, using: &random) == 0 {
                fixture.delete(key)
                expected.remove(key)
            } else {
                fixture.put(key, fixture.entry("v"))
                expected.insert(key)
            }
            if round == 250 { try fixture.tier.flush() }
        }
        for limit in [1, 7, 300] {
            var found: [String] = []
            var page = try fixture.keys("k", limit: limit)
            while let last = page.last {
                #expect(page.count <= limit)
                found += page
                page = try fixture.keys("k", after: last, limit: limit)
            }
            #expect(found == expected.sorted(), "\(random), limit \(limit)")
        }
    }

    @Test("a prefix is removed up to a version, queue included, and nothing else; the store is told of each")
    func removePrefix() throws {
        let fixture = try Fixture()
        for number in 0..<700 { fixture.put("p/\(number)", fixture.entry("v")) }
        for key in ["p", "p0", "o/1", "p/"] { fixture.put(key, fixture.entry("v")) }
        fixture.put("p/elsewhere", fixture.entry("v"), in: 2)
        let before = fixture.nextVersion()
        fixture.put("p/5", fixture.entry("later"))
        fixture.put("p/new", fixture.entry("later"))
        #expect(try fixture.removePrefix("p/", before: before) == 700)
        #expect(try fixture.keys() == ["o/1", "p", "p/5", "p/new", "p0"])
        #expect(try fixture.keys(in: 2) == ["p/elsewhere"])
        #expect(fixture.delegate.departed(.invalidated).count == 700)
        #expect(fixture.tier.usage(of: 1).entries == 5)
        #expect(try fixture.removePrefix("nothing") == 0)
        #expect(try fixture.removePrefix("") == 5)
        #expect(fixture.tier.usage(of: 1) == TierUsage())
    }
}
