import PantlerModel
import PantlerStore
import Support
import Testing

/// What an invalidation that makes stale does: the same by key, prefix, tag and all.
@Suite("Made stale")
struct StalenessTests {
    enum Way: String, CaseIterable {
        case key, prefix, tag, all

        func what(_ driver: StoreDriver, _ ns: Namespace) -> Invalidation {
            switch self {
            case .key: .keys([driver.address(ns, "a")])
            case .prefix: .prefix(Array("a".utf8))
            case .tag: .tags(["t"])
            case .all: .all
            }
        }
    }

    @Test(
        "an entry is stale from the first mark on, for its stale TTL, and no later mark prolongs that or brings it back",
        arguments: Way.allCases,
        [Durability.memory, .behind]
    )
    func repeated(way: Way, durability: Durability) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = durability }
        try driver.put(ns, "a", ttl: 100_000, staleTTL: 1000, tags: ["t"])
        for _ in 0..<4 {
            try driver.invalidate(ns, way.what(driver, ns), .stale)
            #expect(try driver.get(ns, "a", counts: false) == "1 stale")
            driver.clock.advance(byMilliseconds: 250)
        }
        for _ in 0..<4 {
            let said = try driver.get(ns, "a", counts: false)
            #expect(["invalidated", "expired"].contains(said), "\(said)")
            try driver.invalidate(ns, way.what(driver, ns), .stale)
            driver.clock.advance(byMilliseconds: 250)
        }
        try driver.put(ns, "a", "2", ttl: 100_000, staleTTL: 1000, tags: ["t"])
        #expect(try driver.get(ns, "a") == "2 memory")
    }

    @Test("that holds for what is on disk alone, over a restart", arguments: Way.allCases)
    func restart(way: Way) throws {
        var driver = try StoreDriver()
        var ns = try driver.namespace()
        try driver.put(ns, "a", staleTTL: 1000, tags: ["t"])
        for step in 0..<6 {
            try driver.invalidate(ns, way.what(driver, ns), .stale)
            driver = try driver.restarted()
            ns = try #require(driver.store.namespace("ns"))
            driver.clock.advance(byMilliseconds: 250)
            #expect(try (driver.get(ns, "a", counts: false) == "1 stale") == (step < 3))
        }
    }

    @Test("entries of several moments are each stale since the first mark after them")
    func several() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for number in 0..<4 {
            try driver.put(ns, "\(number)", staleTTL: 1000, tags: [EntryTag("t\(number % 2)"), "all"])
            try driver.invalidate(ns, .tags(["all"]), .stale)
            driver.clock.advance(byMilliseconds: 400)
        }
        // 1600 ms after the first mark, 400 after the last.
        let seen = try (0..<4).map { try driver.get(ns, "\($0)", counts: false) }
        #expect(seen == ["invalidated", "invalidated", "1 stale", "1 stale"])
    }

    @Test("without a stale TTL it is gone at once, and leaves the lower tier", arguments: Way.allCases)
    func noStaleTTL(way: Way) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", tags: ["t"])
        try driver.invalidate(ns, way.what(driver, ns), .stale)
        #expect(try driver.get(ns, "a") == "invalidated")
        driver.clock.advance(byMilliseconds: 61_000)
        try eventually("its row leaves") {
            driver.store.tick()
            return driver.tier?.rows.isEmpty == true
        }
    }

    @Test(
        "a change that keeps the expiry keeps what is stale so, in memory and on disk",
        arguments: Way.allCases,
        ["counter", "merge", "tags", "stale_ttl"]
    )
    func changes(way: Way, change: String) throws {
        for isInMemory in [true, false] {
            let driver = try StoreDriver()
            var (store, ns) = (driver, try driver.namespace())
            try driver.put(ns, "a", "5", ttl: 500_000, staleTTL: 1000, tags: ["t"])
            try driver.invalidate(ns, way.what(driver, ns), .stale)
            driver.clock.advance(byMilliseconds: 600)
            if !isInMemory {
                store = try driver.restarted()
                ns = try #require(store.store.namespace("ns"))
            }
            switch change {
            case "counter": #expect(try store.count(ns, "a").value == 6)
            case "merge": _ = try store.patch(ns, "a", Patch(value: Array("6".utf8)))
            case "tags": _ = try store.patch(ns, "a", Patch(tags: []))
            default: _ = try store.patch(ns, "a", Patch(staleTTL: .milliseconds(700)))
            }
            #expect(try store.get(ns, "a", counts: false).hasSuffix("stale"))
            driver.clock.advance(byMilliseconds: 99)
            #expect(try store.get(ns, "a", counts: false).hasSuffix("stale"))
            try store.invalidate(ns, .all, .stale)
            driver.clock.advance(byMilliseconds: change == "stale_ttl" ? 1 : 301)
            #expect(try store.get(ns, "a", counts: false).hasSuffix("stale") == false)
        }
    }

    @Test("a touch with a TTL is a new word about its life: it is fresh again")
    func touch() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", ttl: 500_000, staleTTL: 1000, tags: ["t"])
        try driver.invalidate(ns, .tags(["t"]), .stale)
        _ = try driver.patch(ns, "a", Patch(lifetime: .milliseconds(1000)))
        #expect(try driver.get(ns, "a") == "1 memory")
        driver.clock.advance(byMilliseconds: 1000)
        #expect(try driver.get(ns, "a") == "1 stale")
    }

    @Test("marks go once nothing is left that they made stale, and keep none of those that came later")
    func forgetting() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "long", staleTTL: 100_000_000, tags: ["stale", "other"])
        try driver.put(ns, "short", staleTTL: 1000, tags: ["short"])
        try driver.invalidate(ns, .tags(["stale", "short"]), .stale)
        for round in 0..<3 {
            try driver.invalidate(ns, .tags((0..<500).map { EntryTag("t\(round)-\($0)") }), round == 1 ? .stale : .gone)
            try driver.invalidate(ns, .all, .stale)
        }
        driver.clock.advance(byMilliseconds: 61_000)
        try eventually("all but the mark that is needed are forgotten") {
            for _ in 0..<10 { driver.store.tick() }
            return driver.tier?.persisted.tags.map { $0.tag } == ["stale"]
        }
        #expect(driver.tier?.rows.count == 1)
        #expect(try driver.get(ns, "long") == "1 stale")
        let next = try driver.restarted()
        #expect(try next.get(#require(next.store.namespace("ns")), "long") == "1 stale")
    }
}
