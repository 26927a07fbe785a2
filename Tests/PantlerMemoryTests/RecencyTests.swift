import Glibc
import PantlerInsight
import PantlerMemory
import PantlerModel
import Testing

/// Which entry leaves.
struct RecencyTests {
    @Test(
        "a namespace with a quota of entries is one exact LRU, whatever the number of shards",
        arguments: [1, 2, 10, 173, 1000],
        [1, 16]
    )
    func exactLRU(capacity: Int, shards: Int) throws {
        let driver = TierDriver(maxBytes: 256 << 20, shards: shards)
        let slot = try #require(driver.tier.attach(1, maxBytes: nil, maxEntries: Int64(capacity)))
        var reference = ReferenceLRU(capacity: capacity)
        var random = SeededGenerator(seed: 20 + UInt64(capacity))
        let zipf = Zipf(count: 5000, exponent: 0.9)
        var hits = 0
        var referenceHits = 0
        for _ in 0..<60_000 {
            let number = zipf.next(&random)
            if reference.use(number) { referenceHits += 1 }
            if driver.get(slot, "k\(number)") != nil { hits += 1 } else { driver.put(slot, "k\(number)") }
        }
        #expect(hits == referenceHits)
        #expect(driver.tier.usage(slot).entries == capacity)
        #expect(driver.tier.usage(slot).evictions == 60_000 - UInt64(hits) - UInt64(capacity))
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a quota evicts the namespace's own entries and nobody else's")
    func quotaIsTheNamespacesOwn() throws {
        let driver = TierDriver()
        let small = try #require(driver.tier.attach(1, maxBytes: nil, maxEntries: 10))
        let other = try #require(driver.tier.attach(2, maxBytes: nil, maxEntries: nil))
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
        let slot = try #require(driver.tier.attach(1, maxBytes: 100_000, maxEntries: nil))
        for number in 0..<2000 {
            driver.put(slot, Array("k\(number)".utf8), Content(value: Array(repeating: 1, count: number % 700)))
            #expect(driver.tier.usage(slot).bytes <= 100_000)
        }
        #expect(driver.tier.usage(slot).bytes > 95_000)
        driver.tier.setQuota(slot, maxBytes: 5000, maxEntries: nil)
        driver.tier.makeRoom(slot) { _, _ in }
        #expect(driver.tier.usage(slot).bytes <= 5000)
        #expect(driver.get(slot, "k1999") != nil)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("an entry that could never fit is rejected and takes its predecessor with it")
    func rejection() throws {
        let driver = TierDriver(maxBytes: 4 << 20)
        let quota = try #require(driver.tier.attach(1, maxBytes: 1000, maxEntries: nil))
        let free = try #require(driver.tier.attach(2, maxBytes: nil, maxEntries: nil))
        let none = try #require(driver.tier.attach(3, maxBytes: nil, maxEntries: 0))
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
        let slot = try #require(driver.tier.attach(1, maxBytes: nil, maxEntries: 2))
        driver.now = 100
        driver.put(slot, "a")
        driver.now = 50
        driver.put(slot, "b")
        driver.put(slot, "c")
        #expect(driver.keys(slot) == [Array("b".utf8), Array("c".utf8)])
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("what was evicted is remembered as evicted")
    func missMemory() throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach(1, maxBytes: nil, maxEntries: 1))
        driver.put(slot, "a")
        driver.put(slot, "b")
        let hash = driver.hash(slot, Array("a".utf8))
        driver.tier.withShard(hash) { shard in #expect(shard.missMemory.reason(for: hash) == .evicted) }
    }
}

/// An LRU as plain as can be: the last use of each key, and the keys by last use.
private struct ReferenceLRU {
    let capacity: Int
    private var lastUse: [Int: Int] = [:]
    private var queue: [(key: Int, time: Int)] = []
    private var first = 0
    private var time = 0

    init(capacity: Int) { self.capacity = capacity }

    /// Whether the key was there; it is afterwards.
    mutating func use(_ key: Int) -> Bool {
        time += 1
        let isHit = lastUse.updateValue(time, forKey: key) != nil
        queue.append((key, time))
        while lastUse.count > capacity {
            let candidate = queue[first]
            first += 1
            if lastUse[candidate.key] == candidate.time { lastUse[candidate.key] = nil }
        }
        return isHit
    }
}

/// Numbers below `count`, the smaller the more often.
private struct Zipf {
    private let sums: [Double]

    init(count: Int, exponent: Double) {
        var sum = 0.0
        sums = (1...count).map { rank in

            sum += pow(Double(rank), -exponent)
            return sum
        }
    }

    func next(_ random: inout SeededGenerator) -> Int {
        let wanted = Double.random(in: 0..<(sums.last ?? 1), using: &random)
        var (low, high) = (0, sums.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
