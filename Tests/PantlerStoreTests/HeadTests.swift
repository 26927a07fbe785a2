import PantlerModel
import PantlerStore
import Support
import Testing

/// What need not look at a value does not read it.
@Suite("Writes without the value")
struct HeadTests {
    /// A store whose entry `a` is on disk alone, with its version.
    private func onDisk(_ value: String = "5") throws -> (driver: StoreDriver, ns: Namespace, version: Version) {
        let first = try StoreDriver()
        let version = try first.put(first.namespace(), "a", value, ttl: 50_000, staleTTL: 1000, tags: ["t"]).version
        first.store.close()
        first.tier?.saveHotSet([])
        let driver = try StoreDriver(tier: first.tier?.reopened())
        return (driver, try #require(driver.store.namespace("ns")), version)
    }

    @Test("a put, a condition, a delete and a touch of what is on disk alone read its head")
    func heads() throws {
        let (driver, ns, version) = try onDisk()
        let tier = try #require(driver.tier)
        let other = Condition(ifMatch: EntityTags(versions: [version + 1000]))
        #expect(throws: Problem.self) { try driver.put(ns, "a", "6", condition: other) }
        #expect(throws: Problem.self) { try driver.delete(ns, "a", other) }
        #expect(throws: Problem.self) {
            try driver.put(ns, "a", "6", condition: Condition(ifNoneMatch: EntityTags(any: true)))
        }
        let same = Condition(ifMatch: EntityTags(versions: [version]))
        let touched = try driver.patch(ns, "a", Patch(lifetime: .milliseconds(9000), condition: same))
        try driver.invalidate(ns, .keys([driver.address(ns, "a")]), .stale)
        #expect(tier.reads == 0 && tier.heads == 5)
        #expect(tier.mutations.allSatisfy { if case .put = $0 { false } else { true } })
        #expect(touched.version > version)
        #expect(try driver.get(ns, "a") == "5 stale")
        let reads = tier.reads
        driver.store.close()
        let next = try onDisk()
        #expect(try next.driver.put(next.ns, "a", "6").isNew == false)
        #expect(next.driver.tier?.reads == 0 && reads == 1)
        let last = try onDisk()
        try last.driver.delete(last.ns, "a")
        #expect(last.driver.tier?.reads == 0)
        #expect(try last.driver.get(last.ns, "a") == "deleted")
    }

    @Test("a head that was read before a write is not believed after it")
    func outdated() throws {
        let (driver, ns, version) = try onDisk()
        driver.tier?.holdReads()
        let answer = Answer<Written>()
        let put = Put(
            value: [0x37],
            kind: .json,
            condition: Condition(ifMatch: EntityTags(versions: [version]))
        )
        driver.store.put(ns, driver.address(ns, "a"), put, completion: answer.give)
        let blind = Answer<Written>()
        var other = Put(value: [0x38], kind: .json)
        other.wantsOutcome = false
        driver.store.put(ns, driver.address(ns, "a"), other, completion: blind.give)
        _ = try blind.get()
        driver.tier?.releaseReads()
        #expect(throws: Problem.self) { try answer.get() }
        #expect(try driver.get(ns, "a") == "8 memory")
    }

    @Test("a touch of what is in memory copies no value", arguments: [1, 1000, 100_000])
    func inMemory(size: Int) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let value = "\"\(String(repeating: "x", count: size))\""
        try driver.put(ns, "a", value, tags: ["t"])
        let before = try #require(driver.tier).mutations.count
        let bytes = driver.store.statistics(ns).figures.memory.bytes
        _ = try driver.patch(ns, "a", Patch(lifetime: .milliseconds(1000)))
        _ = try driver.patch(ns, "a", Patch(tags: ["u"]))
        #expect(
            try #require(driver.tier).mutations[before...].allSatisfy { if case .touch = $0 { true } else { false } }
        )
        #expect(driver.store.statistics(ns).figures.memory.bytes == bytes)
        #expect(try driver.get(ns, "a") == "\(value) memory")
        try driver.invalidate(ns, .tags(["t"]))
        #expect(try driver.get(ns, "a") == "\(value) memory")
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(try next.get(again, "a", counts: false).hasPrefix(value))
        next.clock.advance(byMilliseconds: 1000)
        #expect(try next.get(again, "a") == "expired")
    }

    @Test("what the disk has let go is written to it again when it is touched")
    func missing() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a")
        driver.tier?.evict(driver.address(ns, "a"))
        let version = try driver.patch(ns, "a", Patch(lifetime: .milliseconds(1000))).version
        try eventually("it is there again") { driver.tier?.rows[driver.address(ns, "a")]?.version == version }
    }
}
