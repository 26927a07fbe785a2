import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

/// What a store remembers of keys under which the source has nothing.
@Suite("Negative entries")
struct NegativeTests {
    /// A store whose entries `a`, negative, and `b` are on disk alone.
    private func onDisk() throws -> (driver: StoreDriver, ns: Namespace) {
        let first = try StoreDriver()
        let ns = try first.namespace()
        try first.putAbsent(ns, "a", tags: ["t"])
        try first.put(ns, "b", "{}")
        first.store.close()
        first.tier?.saveHotSet([])
        let driver = try StoreDriver(tier: first.tier?.reopened(), clock: first.clock)
        return (driver, try #require(driver.store.namespace("ns")))
    }

    private func tally(_ driver: StoreDriver, _ ns: Namespace) -> NamespaceTally {
        driver.store.statistics(ns).figures.tally
    }

    @Test("gets of one count in a column of its own, wherever it is found, and a peek counts nowhere")
    func counted() throws {
        let (driver, ns) = try onDisk()
        #expect(try driver.get(ns, "a", counts: false) == "negative disk")
        #expect(tally(driver, ns) == NamespaceTally())
        #expect(try driver.get(ns, "a") == "negative disk")
        #expect(try driver.get(ns, "a") == "negative memory")
        #expect(try driver.get(ns, "a", counts: false) == "negative memory")
        #expect(tally(driver, ns).hitsAbsent == 2 && tally(driver, ns).gets == 0)
        #expect(driver.store.statistics().total.tally.hitsAbsent == 2)
        #expect(driver.store.statistics(ns).figures.minute.gets == 0)
    }

    @Test("a get that is read while another writes a negative entry finds that")
    func writtenMeanwhile() throws {
        let (driver, ns) = try onDisk()
        driver.tier?.holdReads()
        let answer = Answer<String>()
        driver.store.load(ns, driver.address(ns, "b"), counts: true) { answer.give(.success(describe($0))) }
        var put = Put(value: [], kind: .absent)
        put.wantsOutcome = false
        driver.store.put(ns, driver.address(ns, "b"), put) { _ in }
        driver.tier?.releaseReads()
        #expect(try answer.get() == "negative memory")
        #expect(tally(driver, ns).hitsAbsent == 1 && tally(driver, ns).gets == 0)
    }

    @Test("it is gone after its TTL, a miss that expired, and is never stale")
    func expires() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace {
            $0.negativeTTL = 2000
            $0.staleTTL = 10_000
        }
        try driver.putAbsent(ns, "a")
        driver.clock.advance(byMilliseconds: 1999)
        #expect(try driver.get(ns, "a") == "negative memory")
        driver.clock.advance(byMilliseconds: 1)
        #expect(try driver.get(ns, "a") == "expired")
        #expect(tally(driver, ns).hitsAbsent == 1 && tally(driver, ns).missExpired == 1)
    }

    @Test("a change of negative_ttl holds for what is written after it")
    func policyChange() throws {
        let driver = try StoreDriver()
        var ns = try driver.namespace { $0.negativeTTL = 5000 }
        func left(_ written: Written) -> Int64 {
            written.expiresAt.timestamp(aheadBy: driver.store.wallOffset).milliseconds(since: driver.clock.now())
        }
        #expect(left(try driver.putAbsent(ns, "a")) == 5000)
        ns = try driver.namespace { $0.negativeTTL = 1000 }
        #expect(left(try driver.putAbsent(ns, "b")) == 1000)
        #expect(left(try driver.putAbsent(ns, "b", .never)) == 1000)
        driver.clock.advance(byMilliseconds: 1000)
        #expect(try driver.get(ns, "a") == "negative memory")
        #expect(try driver.get(ns, "b") == "expired")
    }

    @Test("a value takes its place as if nothing were there, and it takes a value's place", arguments: [false, true])
    func replaced(isOnDisk: Bool) throws {
        let (driver, ns) = try onDisk()
        if !isOnDisk { for key in ["a", "b"] { _ = try driver.get(ns, key) } }
        #expect(throws: Problem.versionMismatch(found: nil)) {
            try driver.put(ns, "a", condition: Condition(ifMatch: EntityTags(any: true)))
        }
        #expect(throws: Problem.versionMismatch(found: nil)) {
            try driver.delete(ns, "a", Condition(ifMatch: EntityTags(any: true)))
        }
        #expect(try driver.put(ns, "a", condition: Condition(ifNoneMatch: EntityTags(any: true))).isNew)
        #expect(try driver.get(ns, "a") == "1 memory")
        #expect(try !driver.putAbsent(ns, "b").isNew)
        #expect(try driver.get(ns, "b") == "negative memory")
        #expect(try driver.putAbsent(ns, "b").isNew)
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(try next.get(again, "a").hasPrefix("1 ") && next.get(again, "b").hasPrefix("negative "))
    }

    @Test("what looks for an entry to change finds none, in memory and below", arguments: [false, true])
    func changed(isOnDisk: Bool) throws {
        let (driver, ns) = try onDisk()
        if !isOnDisk { _ = try driver.get(ns, "a") }
        for patch in [Patch(lifetime: .never), Patch(tags: []), Patch(value: Array("{}".utf8))] {
            #expect(throws: Problem.notFound(.absent)) { try driver.patch(ns, "a", patch) }
        }
        #expect(throws: Problem.notFound(.absent)) { try driver.count(ns, "a") }
        #expect(try driver.get(ns, "a").hasPrefix("negative"))
        let counted = try driver.count(ns, "a", CounterAdd(by: 2, initial: 3))
        #expect(counted.isNew && counted.value == 5)
    }

    @Test("a delete removes it", arguments: [false, true])
    func deleted(isOnDisk: Bool) throws {
        let (driver, ns) = try onDisk()
        if !isOnDisk { _ = try driver.get(ns, "a") }
        try driver.delete(ns, "a")
        #expect(try driver.get(ns, "a") == "deleted")
        #expect(tally(driver, ns).deletes == 1)
        #expect(try driver.restarted().tier?.rows.count == 1)
    }

    @Test(
        "every invalidation ends it, also one that makes entries stale",
        arguments: [InvalidationMode.gone, .stale],
        [false, true]
    )
    func invalidated(mode: InvalidationMode, isOnDisk: Bool) throws {
        for number in 0..<4 {
            let (driver, ns) = try onDisk()
            if !isOnDisk { _ = try driver.get(ns, "a") }
            let what: Invalidation =
                switch number {
                case 0: .keys([driver.address(ns, "a")])
                case 1: .tags(["t"])
                case 2: .prefix(Array("a".utf8))
                default: .all
                }
            let invalidated = try driver.invalidate(ns, what, mode)
            if number == 0 { #expect(invalidated.count == 1) }
            #expect(try driver.get(ns, "a") == "invalidated", "\(what)")
        }
    }

    @Test("it is listed as what it is, from memory and from below")
    func listed() throws {
        let (driver, ns) = try onDisk()
        #expect(try driver.list(ns).rows.map(\.entry.isAbsent) == [true, false])
        let memory = try driver.namespace("memory") { $0.durability = .memory }
        try driver.put(memory, "a")
        try driver.putAbsent(memory, "b")
        let rows = try driver.list(memory).rows
        #expect(rows.map(\.entry.isAbsent) == [false, true] && rows.map(\.entry.size) == [1, 0])
    }

    @Test("it comes to the lower tier with its namespace")
    func entering() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .memory }
        try driver.putAbsent(ns, "a", tags: ["t"])
        #expect(driver.tier?.rows.isEmpty == true)
        _ = try driver.namespace { $0.durability = .behind }
        let entry = try #require(driver.tier?.rows[driver.address(ns, "a")])
        #expect(entry.isAbsent && entry.tags == ["t"])
    }

    @Test("a get of it keeps it from being evicted")
    func promoted() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace {
            $0.durability = .memory
            $0.maxEntries = 2
        }
        try driver.putAbsent(ns, "a")
        driver.clock.advance(byMilliseconds: 1)
        try driver.put(ns, "b")
        driver.clock.advance(byMilliseconds: 1)
        _ = try driver.get(ns, "a")
        driver.clock.advance(byMilliseconds: 1)
        try driver.put(ns, "c")
        #expect(try driver.get(ns, "a") == "negative memory")
        #expect(try driver.get(ns, "b") == "evicted")
    }
}
