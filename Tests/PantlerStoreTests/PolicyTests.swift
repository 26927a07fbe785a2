import PantlerModel
import PantlerStore
import Support
import Testing

@Suite("Changes of policy")
struct PolicyTests {
    private func set(_ driver: StoreDriver, _ durability: Durability) throws {
        _ = try driver.namespace { $0.durability = durability }
    }

    @Test(
        "what a namespace had on disk before it left is void, whatever was deleted or written since",
        arguments: [Durability.behind, .through]
    )
    func leaving(durability: Durability) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = durability }
        for key in ["kept", "deleted", "written", "evicted"] { try driver.put(ns, key, "1") }
        try set(driver, .memory)
        #expect(try driver.get(ns, "kept") == "1 memory", "what is in memory stays there")
        try driver.delete(ns, "deleted")
        try driver.put(ns, "written", "2")
        // As memory loses what a stop loses.
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        for key in ["kept", "deleted", "written"] { #expect(try next.get(again, key) == "absent") }
        try set(next, durability)
        for key in ["kept", "deleted", "written"] { #expect(try next.get(again, key) == "absent") }
        #expect(try next.list(again).rows.isEmpty)
        let last = try next.restarted()
        let third = try #require(last.store.namespace("ns"))
        for key in ["kept", "deleted", "written"] { #expect(try last.get(third, key) == "absent") }
    }

    @Test("back and forth in one run, every entry is what memory says, and stays so over a restart")
    func backAndForth() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["kept", "deleted", "written"] { try driver.put(ns, key, "1") }
        for round in 0..<3 {
            try set(driver, .memory)
            if round == 0 { try driver.delete(ns, "deleted") }
            try driver.put(ns, "written", "\(round + 2)")
            try set(driver, round == 1 ? .through : .behind)
            #expect(
                try driver.list(ns).rows.map { String(decoding: $0.entry.key, as: UTF8.self) } == ["kept", "written"]
            )
            #expect(try driver.get(ns, "deleted") == "deleted")
        }
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(try next.get(again, "kept").hasPrefix("1 "))
        #expect(try next.get(again, "written").hasPrefix("4 "))
        #expect(try next.get(again, "deleted") == "absent")
    }

    @Test("rows that are void leave in the background")
    func sweep() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for number in 0..<100 { try driver.put(ns, "k\(number)") }
        try set(driver, .memory)
        try eventually("they leave") {
            driver.store.tick()
            return driver.tier?.rows.isEmpty == true
        }
        #expect(try driver.get(ns, "k0") == "1 memory")
    }

    @Test("a read that is under way as its namespace leaves the disk brings nothing along")
    func readMeanwhile() throws {
        let first = try StoreDriver()
        try first.put(first.namespace(), "a")
        first.store.close()
        // Nothing is hot, so that it is on disk alone.
        first.tier?.saveHotSet([])
        let driver = try StoreDriver(tier: first.tier?.reopened())
        let ns = try #require(driver.store.namespace("ns"))
        driver.tier?.holdReads()
        let answer = Answer<String>()
        driver.store.load(ns, driver.address(ns, "a"), counts: true) { answer.give(.success(describe($0))) }
        try set(driver, .memory)
        try set(driver, .behind)
        driver.tier?.releaseReads()
        #expect(try answer.get() == "absent")
        #expect(try driver.get(ns, "a") == "absent")
    }

    @Test(
        "what is in memory as its namespace comes to the disk is listed, invalidated and restarted with",
        arguments: [Durability.behind, .through]
    )
    func entering(durability: Durability) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .memory }
        var versions: [String: Version] = [:]
        for number in 0..<3000 {
            let value = number % 500 == 0 ? "\"\(String(repeating: "x", count: 100_000))\"" : "\(number)"
            versions["k\(number)"] = try driver.put(ns, "k\(number)", value).version
        }
        try driver.put(ns, "dead", ttl: 10)
        driver.clock.advance(byMilliseconds: 10)
        try set(driver, durability)
        let rows = try #require(driver.tier).rows
        #expect(rows.count == 3000)
        for (address, entry) in rows {
            #expect(versions[String(decoding: address.key, as: UTF8.self)] == entry.version)
        }
        #expect(try driver.list(ns, limit: 5000).rows.count == 3000)
        #expect(try driver.invalidate(ns, .prefix(Array("k1".utf8))).count == 1111)
        try driver.delete(ns, "k2")
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(try next.list(again, limit: 5000).rows.count == 1888)
        #expect(try next.get(again, "k3").hasPrefix("3 "))
        #expect(try next.get(again, "k2") == "absent")
    }

    @Test("marks of a namespace in memory go to the disk with its entries", arguments: [InvalidationMode.gone, .stale])
    func marks(mode: InvalidationMode) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .memory }
        try driver.put(ns, "a", staleTTL: 1000, tags: ["t"])
        try driver.put(ns, "b", staleTTL: 1000, tags: ["u"])
        try driver.invalidate(ns, .tags(["t"]), mode)
        driver.clock.advance(byMilliseconds: 500)
        try set(driver, .behind)
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(try next.get(again, "a", counts: false) == (mode == .gone ? "absent" : "1 stale"))
        #expect(try ["1 memory", "1 disk"].contains(next.get(again, "b", counts: false)))
        next.clock.advance(byMilliseconds: 500)
        #expect(try next.get(again, "a", counts: false).hasPrefix("1 ") == false)
    }

    @Test("no write that went by the former policy comes back, whenever the policy changes")
    func concurrently() throws {
        var driver = try StoreDriver()
        for round in 0..<20 {
            let ns = try driver.namespace { $0.durability = .behind }
            let isOver = Shared(false)
            let writers = BackgroundThreads(1) { [driver] _ in
                var number = 0
                while !isOver.value {
                    try driver.put(ns, "other\(number % 50)", "\"old\"")
                    number += 1
                }
            }
            try set(driver, .memory)
            // From here on nothing may reach the disk.
            for number in 0..<50 { try driver.put(ns, "k\(number)", "\"new\"") }
            isOver.value = true
            _ = try writers.join()
            for number in 0..<50 { try driver.put(ns, "other\(number)", "\"new\"") }
            driver = try driver.restarted()
            let again = try #require(driver.store.namespace("ns"))
            try set(driver, .behind)
            for number in 0..<50 {
                for key in ["k\(number)", "other\(number)"] {
                    #expect(try driver.get(again, key) == "absent", "in round \(round)")
                }
            }
        }
    }

    @Test("a write goes by the policy that it finds: sizes and TTLs of the former one end with it")
    func limits() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", "1234")
        _ = try driver.namespace {
            $0.maxValueSize = 3
            $0.maxTTL = 1000
        }
        #expect(throws: Problem.self) { try driver.put(ns, "a", "1234") }
        let end = driver.store.wallTime(driver.clock.now().advanced(byMilliseconds: 1000))
        #expect(try driver.put(ns, "a", "123").expiresAt == end)
        #expect(try driver.patch(ns, "a", Patch(lifetime: .never)).expiresAt == end)
    }
}
