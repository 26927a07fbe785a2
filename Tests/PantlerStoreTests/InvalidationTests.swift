import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@Suite("Invalidations")
struct InvalidationTests {
    @Test("a flush, a tag and a prefix hold over a restart", arguments: [InvalidationMode.gone, .stale])
    func restart(mode: InvalidationMode) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["a/1", "b/1"] { try driver.put(ns, key, staleTTL: 60_000, tags: [EntryTag(key)]) }
        try driver.invalidate(ns, .tags(["b/1"]), mode)
        try driver.invalidate(ns, .prefix(Array("a/".utf8)), mode)
        let ended = mode == .gone ? "invalidated" : "1 stale"
        for key in ["a/1", "b/1"] { #expect(try driver.get(ns, key) == ended) }
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        for key in ["a/1", "b/1"] { #expect(try ["absent", ended].contains(next.get(again, key))) }
        try next.put(again, "c", staleTTL: 60_000)
        #expect(try next.invalidate(again, .all, mode).generation == 1)
        #expect(try next.get(again, "c") == ended)
    }

    @Test(
        "tags are told apart by their bytes",
        arguments: [("K", "\u{212a}"), ("\u{e9}", "e\u{301}"), (";", "\u{37e}"), ("\u{ac00}", "\u{1100}\u{1161}")]
    )
    func bytes(one: String, other: String) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "one", tags: [EntryTag(one)])
        try driver.put(ns, "other", tags: [EntryTag(other)])
        try driver.put(ns, "both", tags: [EntryTag(one), EntryTag(other)])
        try driver.invalidate(ns, .tags([EntryTag(one)]))
        #expect(try driver.get(ns, "one") == "invalidated")
        #expect(try driver.get(ns, "both") == "invalidated")
        #expect(try driver.get(ns, "other").hasPrefix("1"))
    }

    @Test("marks of tags are forgotten once nothing is left that they end")
    func forgetting() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "old", tags: ["t1"])
        try driver.invalidate(ns, .tags((0..<1500).map { EntryTag("t\($0)") }))
        #expect(driver.tier?.persisted.tags.count == 1500)
        try eventually("the marks are forgotten") {
            for _ in 0..<100 { driver.store.tick() }
            return driver.tier?.persisted.tags.isEmpty == true
        }
        #expect(driver.tier?.rows.isEmpty == true)
        #expect(try driver.get(ns, "old") == "invalidated")
    }

    /// Has the sweep of another namespace's flush remove what tags have ended, and forget their marks.
    private func forgetMarks(_ driver: StoreDriver) throws {
        try driver.invalidate(driver.namespace("other"), .all)
        try eventually("the marks are forgotten") {
            driver.store.tick()
            return driver.tier?.persisted.tags.isEmpty == true
        }
    }

    @Test("a page that was read before marks were forgotten is not judged without them")
    func listingWhileForgetting() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for (key, tags) in [("a", ["t"]), ("b", []), ("c", ["t"])] as [(String, [EntryTag])] {
            try driver.put(ns, key, tags: tags)
        }
        try driver.invalidate(ns, .tags(["t"]))
        driver.tier?.holdReads()
        let answer = Answer<Listing>()
        driver.store.list(ns, prefix: [], after: nil, limit: 10, completion: answer.give)
        try forgetMarks(driver)
        driver.tier?.releaseReads()
        #expect(try answer.get().rows.map { String(decoding: $0.entry.key, as: UTF8.self) } == ["b"])
    }

    @Test("the hot set brings nothing back that was invalidated after it was read", arguments: [true, false])
    func hotSetWhileForgetting(byTag: Bool) throws {
        let first = try StoreDriver()
        let ns = try first.namespace()
        try first.put(ns, "a/1", tags: ["t"])
        try first.put(ns, "b")
        for key in ["a/1", "b"] { _ = try first.get(ns, key) }
        first.store.close()
        let tier = try #require(first.tier).reopened()
        tier.holdReads()
        let driver = try StoreDriver(tier: tier)
        let again = try #require(driver.store.namespace("ns"))
        if byTag {
            try driver.invalidate(again, .tags(["t"]))
            try forgetMarks(driver)
        } else {
            #expect(try driver.invalidate(again, .prefix(Array("a/".utf8))).count == 1)
        }
        tier.releaseReads()
        #expect(try driver.get(again, "a/1").hasPrefix("1 ") == false)
        #expect(try driver.get(again, "b").hasPrefix("1 "))
    }

    @Test("what a tag made stale stays so, however many marks are forgotten")
    func staleMarks() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", staleTTL: 600_000, tags: ["stale"])
        try driver.invalidate(ns, .tags((0..<1500).map { EntryTag("t\($0)") }))
        try driver.invalidate(ns, .tags(["stale"]), .stale)
        try eventually("the others are forgotten") {
            for _ in 0..<100 { driver.store.tick() }
            return driver.tier?.persisted.tags.count == 1
        }
        #expect(try driver.get(ns, "a") == "1 stale")
    }

    @Test(
        "what a prefix hides that could not be removed yet is removed before a later prefix is answered",
        arguments: [
            InvalidationMode.gone, .stale,
        ]
    )
    func hiddenPrefix(mode: InvalidationMode) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        for key in ["a/1", "a/2", "b"] { try driver.put(ns, key, staleTTL: 60_000) }
        driver.tier?.fail(with: TierFault(.unavailable, "away").with(.kept))
        #expect(throws: Problem.self) { try driver.invalidate(ns, .prefix(Array("a/1".utf8))) }
        #expect(throws: Problem.self) { try driver.invalidate(ns, .prefix(Array("a/".utf8)), mode) }
        driver.tier?.fail(with: nil)
        try driver.invalidate(ns, .prefix(Array("a/".utf8)), mode)
        let rows = Set(driver.tier?.rows.keys.map { String(decoding: $0.key, as: UTF8.self) } ?? [])
        // The fake has lost the change of the other one that it failed, which a tier would have kept.
        #expect(rows.subtracting(["a/2"]) == ["b"])
    }

    @Test("a dropped namespace takes its entries along, and leaves its counts in the sums")
    func drop() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a")
        _ = try driver.get(ns, "a")
        let before = driver.store.statistics().total.tally
        let answer = Answer<Bool>()
        driver.store.dropNamespace(ns.name, completion: answer.give)
        #expect(try answer.get())
        #expect(throws: Problem.self) { try driver.put(ns, "a") }
        try eventually("its counts are in the sums") { driver.store.statistics().total.tally == before }
        let next = try driver.namespace()
        #expect(try driver.get(next, "a") == "absent")
        #expect(driver.store.statistics(next).figures.tally.gets == 1)
    }
}
