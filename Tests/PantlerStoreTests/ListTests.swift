import PantlerModel
import PantlerStore
import Support
import Testing

@Suite("Listings")
struct ListTests {
    private func keys(_ driver: StoreDriver, _ ns: Namespace, prefix: String, limit: Int) throws -> [String] {
        var keys: [String] = []
        var after: [UInt8]?
        while true {
            let page = try driver.list(ns, prefix: prefix, after: after, limit: limit)
            #expect(page.rows.count <= limit && (page.isComplete || page.rows.count == limit))
            keys += page.rows.map { String(decoding: $0.entry.key, as: UTF8.self) }
            if page.isComplete { return keys }
            after = page.rows.last?.entry.key
        }
    }

    @Test("pages give every key once, in byte order", arguments: [Durability.memory, .behind], [1, 7, 100, 1000])
    func pages(durability: Durability, limit: Int) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = durability }
        let all = (0..<300).map { "k\($0)" } + ["a", "é", "z"]
        for key in all { try driver.put(ns, key) }
        try driver.put(ns, "expired", ttl: 10)
        try driver.put(ns, "invalid", tags: ["t"])
        try driver.invalidate(ns, .tags(["t"]))
        driver.clock.advance(byMilliseconds: 10)
        let sorted = all.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        #expect(try keys(driver, ns, prefix: "", limit: limit) == sorted)
        #expect(try keys(driver, ns, prefix: "k1", limit: limit) == sorted.filter { $0.hasPrefix("k1") })
        #expect(try keys(driver, ns, prefix: "none", limit: limit) == [])
    }

    @Test("what the lower tier could not keep is listed out of memory")
    func memoryOnly() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["a", "c"] { try driver.put(ns, key) }
        #expect(try driver.list(ns).rows.map(\.tier) == [.memory, .memory])
        let next = try driver.restarted()
        let again = try #require(next.store.namespace("ns"))
        #expect(Set(try next.list(again).rows.map(\.tier)).isSubset(of: [.memory, .disk]))
    }
}
