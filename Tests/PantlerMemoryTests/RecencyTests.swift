import PantlerMemory
import PantlerModel
import Support
import Testing

/// Which entry leaves.
struct RecencyTests {
    @Test(
        "a namespace with a quota of entries is one exact LRU, whatever the number of shards",
        arguments: [1, 10, 1000],
        [1, 16]
    )
    func exactLRU(capacity: Int, shards: Int) throws {
        let driver = TierDriver(maxBytes: 256 << 20, shards: shards)
        let slot = try #require(driver.tier.attach(maxEntries: Int64(capacity)))
        let generator = SeededGenerator()
        let trace = Trace(zipf: 5000, requests: 30_000, seed: generator.seed)
        var reference = ReferenceLRU(capacity: capacity)
        var hits = 0
        var referenceHits = 0
        for request in trace.requests {
            if reference.request(request.key) { referenceHits += 1 }
            if driver.get(slot, "k\(request.key)") != nil { hits += 1 } else { driver.put(slot, "k\(request.key)") }
        }
        #expect(hits == referenceHits, "\(generator)")
        #expect(driver.tier.usage(slot).entries == capacity)
        #expect(driver.tier.usage(slot).evictions == 30_000 - UInt64(hits) - UInt64(capacity))
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("what comes as the oldest stands behind all else, in the order in which it came", arguments: [1, 16])
    func oldest(shards: Int) throws {
        let driver = TierDriver(shards: shards)
        let slots = try (1...2).map { _ in try #require(driver.tier.attach()) }
        driver.now = 10_000
        for number in 0..<50 { driver.put(slots[number % 2], "used\(number)") }
        for number in 0..<500 {
            #expect(driver.putOldest(slots[number % 2], "came\(number)", stamp: 9000 - UInt64(number)) == .stored)
        }
        #expect(driver.putOldest(slots[0], "came0", stamp: 1) == .rejected, "it is here")
        for number in 50..<60 { driver.put(slots[number % 2], "used\(number)") }
        let order = (0..<60).reversed().map { "used\($0)" } + (0..<500).map { "came\($0)" }
        let hashes = order.map { name in
            driver.hash(slots[(Int(name.dropFirst(4)) ?? 0) % 2], Array(name.utf8))
        }
        #expect(driver.tier.hotHashes(limit: 1000) == hashes)
        #expect(driver.tier.hotHashes(limit: 1000) { $0 == slots[1] }.count == 280)
        #expect(driver.tier.checkInvariants() == [])
        driver.tier.setQuota(slots[0], maxBytes: nil, maxEntries: 30 + 10)
        driver.tier.makeRoom(slots[0])
        #expect(driver.get(slots[0], "came18") != nil)
        #expect(driver.get(slots[0], "came20") == nil)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("there is room behind all others until a quota or the bound is reached")
    func roomBehind() throws {
        let driver = TierDriver(maxBytes: 4 << 20, shards: 1)
        let slot = try #require(driver.tier.attach(maxEntries: 10))
        let other = try #require(driver.tier.attach(maxBytes: 5000))
        let third = try #require(driver.tier.attach())
        for number in 0..<10 {
            #expect(driver.tier.roomBehind(slot, bytes: 100) == .enough)
            driver.put(slot, "k\(number)")
        }
        #expect(driver.tier.roomBehind(slot, bytes: 100) == .noneInNamespace)
        #expect(driver.tier.roomBehind(other, bytes: 6000) == .noneInNamespace)
        #expect(driver.tier.roomBehind(other, bytes: 4000) == .enough)
        #expect(driver.tier.roomBehind(third, bytes: 5 << 20) == .none)
        var number = 0
        while driver.tier.roomBehind(third, bytes: 1000) == .enough, number < 10_000 {
            let content = Content(value: Array(repeating: 1, count: 1000))
            driver.put(third, Array("k\(number)".utf8), content, makesRoom: false)
            number += 1
        }
        #expect(driver.tier.roomBehind(third, bytes: 1000) == .none)
        #expect(driver.tier.bytes <= 4 << 20)
        #expect(driver.tier.bytes > (4 << 20) / 16 * 14)
    }

    @Test("a quota evicts the namespace's own entries and nobody else's")
    func quotaIsTheNamespacesOwn() throws {
        let driver = TierDriver()
        let small = try #require(driver.tier.attach(maxEntries: 10))
        let other = try #require(driver.tier.attach())
        for number in 0..<100 { driver.put(other, "old\(number)") }
        for number in 0..<100 { driver.put(small, "new\(number)") }
        #expect(driver.tier.usage(small).entries == 10)
        #expect(driver.tier.usage(other).entries == 100)
        #expect(driver.keys(small) == Set((90..<100).map { Array("new\($0)".utf8) }))
        #expect(driver.evicted.allSatisfy { $0.slot == small })
    }

    @Test("a quota of bytes holds, and a smaller one takes effect at the next makeRoom")
    func quotaOfBytes() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach(maxBytes: 100_000))
        for number in 0..<2000 {
            driver.put(slot, Array("k\(number)".utf8), Content(value: Array(repeating: 1, count: number % 700)))
            #expect(driver.tier.usage(slot).bytes <= 100_000)
        }
        #expect(driver.tier.usage(slot).bytes > 95_000)
        driver.tier.setQuota(slot, maxBytes: 5000, maxEntries: nil)
        driver.tier.makeRoom(slot)
        #expect(driver.tier.usage(slot).bytes <= 5000)
        #expect(driver.get(slot, "k1999") != nil)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("an entry that could never fit is rejected and takes its predecessor with it")
    func rejection() throws {
        let driver = TierDriver(maxBytes: 4 << 20)
        let quota = try #require(driver.tier.attach(maxBytes: 1000))
        let free = try #require(driver.tier.attach())
        let none = try #require(driver.tier.attach(maxEntries: 0))
        for (slot, size) in [(quota, 1000), (free, 4 << 20), (none, 1)] {
            driver.put(slot, "key", "old")
            #expect(driver.put(slot, Array("key".utf8), Content(value: Array(repeating: 1, count: size))) == .rejected)
            #expect(driver.get(slot, "key") == nil)
            #expect(driver.tier.checkInvariants() == [])
        }
        #expect(driver.put(free, Array("key".utf8), Content(value: Array(repeating: 1, count: 3 << 20))) == .stored)
        #expect(driver.get(free, "key") != nil)
        #expect(driver.tier.bytes <= 4 << 20)
    }

    @Test("stamps of a list never fall, though a thread's clock reading may be old")
    func clockOfAnotherThread() throws {
        let driver = TierDriver(shards: 1)
        let slot = try #require(driver.tier.attach(maxEntries: 2))
        driver.now = 100
        driver.put(slot, "a")
        driver.now = 50
        driver.put(slot, "b")
        driver.put(slot, "c")
        #expect(driver.keys(slot) == [Array("b".utf8), Array("c".utf8)])
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("only what was alive counts as evicted", arguments: [true, false])
    func evictions(isAlive: Bool) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach(maxEntries: 1))
        driver.put(slot, Array("a".utf8), Content(value: [1]), makesRoom: false)
        driver.put(slot, Array("b".utf8), Content(value: [2]), makesRoom: false)
        driver.tier.makeRoom(
            slot,
            isEviction: { view, viewSlot in
                #expect(Array(view.key) == Array("a".utf8) && viewSlot == slot)
                return isAlive
            }
        )
        #expect(driver.tier.usage(slot).evictions == (isAlive ? 1 : 0))
        #expect(driver.keys(slot) == [Array("b".utf8)])
    }
}
