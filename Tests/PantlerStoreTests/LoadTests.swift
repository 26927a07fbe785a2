import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@Suite("Reads of the lower tier")
struct LoadTests {
    @Test("an entry that memory does not have is read from below once, and then is in memory")
    func fills() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        driver.tier?.plant(driver.address(ns, "a"), Entry(value: [0x31], kind: .json, version: 0, expiresAt: .never))
        #expect(try driver.get(ns, "a") == "1 disk")
        #expect(try driver.get(ns, "a") == "1 memory")
        #expect(driver.tier?.reads == 1)
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hitsDisk == 1 && tally.hitsMemory == 1 && tally.gets == 2)
    }

    @Test("many that ask at once cause one read, and each is counted")
    func joins() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let tier = try #require(driver.tier)
        tier.plant(driver.address(ns, "a"), Entry(value: [0x31], kind: .json, version: 1, expiresAt: .never))
        tier.holdReads()
        let answers = (0..<5).map { _ in Answer<String>() }
        for answer in answers {
            driver.store.load(ns, driver.address(ns, "a"), counts: true) { answer.give(.success(describe($0))) }
        }
        #expect(tier.reads == 1 && answers.allSatisfy { !$0.isThere })
        tier.releaseReads()
        for answer in answers { #expect(try answer.get() == "1 disk") }
        #expect(driver.store.statistics(ns).figures.tally.hitsDisk == 5)
    }

    /// get: reads the old row | write: answered | get: the row arrives
    @Test(
        "what was read before a write and arrives after it does not bring the old value back",
        arguments: ["put", "delete", "tag", "flush", "prefix"]
    )
    func overtaken(by write: String) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .behind }
        let tier = try #require(driver.tier)
        let old = Entry(value: Array("0".utf8), kind: .json, version: 0, expiresAt: .never, tags: ["t"])
        tier.plant(driver.address(ns, "a"), old)
        tier.holdReads()
        let answer = Answer<String>()
        driver.store.load(ns, driver.address(ns, "a"), counts: true) { answer.give(.success(describe($0))) }
        switch write {
        case "put":
            let put = Put(value: Array("2".utf8), kind: .json, wantsOutcome: false)
            driver.store.put(ns, driver.address(ns, "a"), put) { _ in }
        case "delete":
            // It has to know what is there, so it waits for the same read, and comes after the get.
            driver.store.delete(ns, driver.address(ns, "a"), .none) { _ in }
        case "tag": try driver.invalidate(ns, .tags(["t"]))
        case "flush": try driver.invalidate(ns, .all)
        default: try driver.invalidate(ns, .prefix([]))
        }
        tier.releaseReads()
        let expected = ["put": "2 memory", "delete": "0 disk"][write] ?? "invalidated"
        #expect(try answer.get() == expected)
        let after = ["put": "2 memory", "delete": "deleted"][write] ?? "invalidated"
        #expect(try driver.get(ns, "a") == after)
        #expect(try driver.get(ns, "a") == after)
    }

    @Test("a fault below is a miss that is counted, and memory goes on")
    func fault() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "here")
        driver.tier?.fail(with: TierFault(.unavailable, "gone"))
        #expect(try driver.get(ns, "there") == "absent")
        #expect(try driver.get(ns, "here") == "1 memory")
        try driver.put(ns, "new")
        #expect(try driver.get(ns, "new") == "1 memory")
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.tierFaults >= 1 && tally.missAbsent == 1)
        #expect(driver.store.readiness()?.cause == .unavailable)
        #expect(throws: Problem.self) {
            try driver.put(ns, "other", condition: Condition(ifMatch: EntityTags(any: true)))
        }
        driver.tier?.fail(with: nil)
        #expect(driver.store.readiness() == nil)
    }

    @Test("a write that could not be made durable is not seen")
    func takenBack() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        try driver.put(ns, "a", "1")
        driver.tier?.fail(with: TierFault(.full, "full"))
        let problem = #expect(throws: Problem.self) { try driver.put(ns, "a", "2") }
        #expect(problem?.code == .storageFull)
        driver.tier?.fail(with: nil)
        #expect(try driver.get(ns, "a") == "1 disk")
    }

    @Test("what was hot comes back into memory, and in the same order")
    func hotSet() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["a", "b", "c", "d"] { try driver.put(ns, key) }
        driver.clock.advance(by: .milliseconds(5))
        for key in ["b", "a"] {
            driver.clock.advance(by: .milliseconds(5))
            _ = try driver.get(ns, key)
        }
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(next.store.statistics(again).figures.memory.entries == 4)
        #expect(try next.get(again, "a") == "1 memory")
        #expect(next.tier?.reads == 0)
        #expect(next.tier?.hot.first == next.address(again, "a").hash)
    }

    @Test("where an entry went that left the lower tier is remembered")
    func departures() throws {
        let driver = try StoreDriver { $0.maxMemory = 0 }
        let ns = try driver.namespace()
        try driver.put(ns, "a")
        #expect(try driver.get(ns, "a") == "1 disk")
        driver.tier?.evict(driver.address(ns, "a"))
        #expect(try driver.get(ns, "a") == "evicted")
        #expect(driver.store.statistics(ns).figures.lowerEvictions == 1)
    }
}
