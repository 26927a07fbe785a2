import PantlerInsight
import PantlerMemory
import PantlerModel
import PantlerStore
import Support
import Testing

/// Many keys looked up together: what each is told is what it would be told alone.
@Suite("Lookups of many keys")
struct LookupTests {
    /// What is said of each key, in the order in which it was said.
    private func lookUp(
        _ driver: StoreDriver,
        _ ns: Namespace,
        _ keys: [String],
        fits: (Found) -> Bool = { _ in true }
    ) -> [String] {
        var text: [UInt8] = []
        let places = keys.map { key in
            text += key.utf8
            return text.count - key.utf8.count..<text.count
        }
        var said: [String] = []
        text.withUnsafeBytes { text in
            driver.store.lookup(ns, text, places, driver.store.moment(), fits: fits) { found in
                let state = found.staleSince == nil ? "fresh" : "stale"
                said.append("\(String(decoding: found.entry.key, as: UTF8.self)) \(found.entry.value.count) \(state)")
            } other: { place, lookup in
                switch lookup {
                case .omitted: said.append("\(keys[place]) omitted")
                case .absent: said.append("\(keys[place]) negative")
                case .missing(let reason): said.append("\(keys[place]) \(reason.name)")
                case .below: said.append("\(keys[place]) below")
                }
            }
        }
        return said
    }

    @Test("keys are told in their order, however many, and counted", arguments: [0, 1, 3, 4, 127, 128, 129, 1000])
    func order(count: Int) throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        let keys = (0..<count).map { "key \($0)" }
        for (number, key) in keys.enumerated() where number % 3 != 1 {
            try driver.put(ns, key, String(repeating: "1", count: number % 7 == 0 ? 20_000 + number : 1 + number))
        }
        let expected = keys.enumerated().map { number, key in
            number % 3 == 1 ? "\(key) absent" : "\(key) \(number % 7 == 0 ? 20_000 + number : 1 + number) fresh"
        }
        #expect(lookUp(driver, ns, keys) == expected)
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hitsMemory == UInt64(count - (count + 1) / 3))
        #expect(tally.missAbsent == UInt64((count + 1) / 3))
    }

    @Test("an entry that has run out is told once as that, and a key that comes twice twice")
    func ages() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        try driver.put(ns, "short", ttl: 10)
        try driver.put(ns, "stale", ttl: 10, staleTTL: 1000)
        try driver.put(ns, "long", ttl: 1000)
        driver.clock.advance(byMilliseconds: 20)
        let keys = ["short", "stale", "long", "short", "long", "none"]
        #expect(
            lookUp(driver, ns, keys)
                == ["short expired", "stale 1 stale", "long 1 fresh", "short expired", "long 1 fresh", "none absent"]
        )
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hitsMemory == 2 && tally.hitsStale == 1 && tally.missExpired == 2 && tally.missAbsent == 1)
        #expect(tally.expirations == 1)
    }

    @Test("what does not fit is neither shown nor counted, and keeps its place in the order of eviction")
    func omitted() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        for key in ["a", "b", "c"] { try driver.put(ns, key, key == "b" ? "22" : "1") }
        let said = lookUp(driver, ns, ["a", "b", "c", "x"]) { $0.entry.value.count < 2 }
        #expect(said == ["a 1 fresh", "b omitted", "c 1 fresh", "x absent"])
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hitsMemory == 2 && tally.missAbsent == 1 && tally.gets == 3)
    }

    @Test("a negative entry is told by itself: it is not shown, not asked whether it fits, and counted")
    func negative() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        for key in ["a", "c"] { try driver.put(ns, key) }
        try driver.putAbsent(ns, "b")
        let said = lookUp(driver, ns, ["a", "b", "c", "x"]) { !$0.entry.isAbsent }
        #expect(said == ["a 1 fresh", "b negative", "c 1 fresh", "x absent"])
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hitsMemory == 2 && tally.missAbsent == 1 && tally.hitsAbsent == 1 && tally.gets == 3)
    }

    @Test("where there is a lower tier, what memory does not have is asked for there")
    func below() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["a", "b", "c"] { try driver.put(ns, key) }
        #expect(
            lookUp(driver, ns, ["x", "a", "b", "y", "c"])
                == ["x below", "a 1 fresh", "b 1 fresh", "y below", "c 1 fresh"]
        )
        #expect(driver.store.statistics(ns).figures.tally.gets == 3, "who asks below counts the others")
    }
}
