import PantlerInsight
import PantlerModel
import Testing

@testable import PantlerStore

/// Gets of namespaces that are not there.
@Suite("Gets of what has no namespace")
struct UnmetTests {
    @Test("they are misses of the whole, and of their namespace once it is made")
    func carriedOver() throws {
        let driver = try StoreDriver(tier: nil)
        driver.store.countUnmet("ns")
        driver.store.countUnmet("ns", gets: 3)
        driver.store.countUnmet("other")
        #expect(driver.store.statistics().total.tally.missAbsent == 5)
        #expect(driver.store.statistics().total.minute == WindowFigures(gets: 5, hits: 0))
        let ns = try driver.namespace()
        try driver.put(ns, "a")
        #expect(try driver.get(ns, "a") == "1 memory")
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.missAbsent == 4 && tally.gets == 5)
        let all = driver.store.statistics()
        #expect(all.total.tally.gets == 6 && all.total.tally.hits == 1)
        #expect(all.unmet.map(\.name) == ["other"] && all.unnamedGets == 0)
        #expect(all.total.minute == WindowFigures(gets: 6, hits: 1))
    }

    @Test("names are bounded, and no get is lost for that")
    func bounded() throws {
        let driver = try StoreDriver(tier: nil)
        for number in 0..<UnmetGets.names + 10 { driver.store.countUnmet("n\(number)") }
        driver.store.countUnmet("n0")
        let all = driver.store.statistics()
        #expect(all.unmet.count == UnmetGets.names && all.unnamedGets == 11)
        #expect(all.total.tally.missAbsent == UInt64(UnmetGets.names) + 11)
        let ns = try driver.namespace("n\(UnmetGets.names)")
        #expect(driver.store.statistics(ns).figures.tally.gets == 1)
    }

    @Test("those of a namespace that is dropped meanwhile stay in the sums")
    func dropped() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        _ = try driver.get(ns, "a")
        let answer = Answer<Bool>()
        driver.store.dropNamespace(ns.name, completion: answer.give)
        #expect(driver.store.statistics().total.tally.missAbsent == 1)
        #expect(try answer.get())
        #expect(try driver.get(ns, "a") == "absent")
        #expect(driver.store.statistics().total.tally.missAbsent == 2)
    }

    @Test("what was made before there may be so many namespaces is there, and keeps its entries")
    func fewerNamespaces() throws {
        let driver = try StoreDriver()
        for number in 0..<8 { try driver.put(driver.namespace("n\(number)"), "a") }
        driver.store.close()
        let next = try StoreDriver(tier: driver.tier?.reopened()) { $0.maxNamespaces = 2 }
        #expect(next.store.namespaces().count == 8)
        for namespace in next.store.namespaces() { try next.invalidate(namespace, .tags(["none"])) }
        try next.invalidate(#require(next.store.namespace("n0")), .all)
        for number in 1..<8 {
            #expect(try next.get(#require(next.store.namespace("n\(number)")), "a").hasPrefix("1 "))
        }
        #expect(throws: Problem.self) { try next.namespace("n8") }
    }

    @Test("of a namespace that the store does not know nothing is called invalid")
    func unknown() throws {
        let driver = try StoreDriver()
        #expect(driver.store.listener.invalidAt(namespace: 99, version: 1, staleTTL: 0, tags: []) == nil)
    }
}
