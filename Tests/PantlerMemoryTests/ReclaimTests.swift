import PantlerModel
import Support
import Testing

@testable import PantlerMemory

/// Memory that entries leave behind is used again or given back, and nothing is lost when others move.
struct ReclaimTests {
    private func name(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }

    @Test("index and slab grow and shrink with the entries, and lose none", arguments: [1, 4])
    func growth(shards: Int) throws {
        let driver = TierDriver(maxBytes: 64 << 20, shards: shards)
        let slot = try #require(driver.tier.attach())
        let empty = driver.tier.bytes
        var generator = SeededGenerator()
        var there: Set<Int> = []
        // Up to several chunks a shard, and down to none, with steps that cross a chunk's border more than once.
        for target in [1500, 700, 9000, 1025, 1023, 6000, 3, 2000, 0] {
            while there.count < target {
                let number = Int.random(in: 0..<20_000, using: &generator)
                if there.insert(number).inserted { driver.put(slot, name(number), Content(value: name(number))) }
            }
            while there.count > target, let number = there.randomElement(using: &generator) {
                #expect(driver.remove(slot, name(number)), "\(generator)")
                there.remove(number)
            }
            #expect(driver.tier.checkInvariants() == [], "at \(target), \(generator)")
            #expect(driver.tier.entries == target)
            for number in there where driver.get(slot, name(number))?.value != name(number) {
                Issue.record("\(number) is lost at \(target), \(generator)")
            }
        }
        while !driver.tier.sweepStep(limit: 1 << 20, { _, _ in false }) {}
        #expect(driver.tier.bytes == empty, "all pages are given back")
    }

    @Test(
        "the bound holds with entries of any size, and room is found for each",
        arguments: [1, 3000, 12_500, 13_000, 15_000, 16_000, 16 << 10, 17_000, 100_000],
        [1, 16]
    )
    func bound(size: Int, shards: Int) throws {
        let maxBytes = shards * 2 << 20
        let driver = TierDriver(maxBytes: maxBytes, shards: shards)
        let slot = try #require(driver.tier.attach())
        let count = min(6000, 3 * maxBytes / size)
        for number in 0..<count {
            // Sizes that differ a little, so that blocks do not fit where their predecessors were.
            let content = Content(value: Array(repeating: UInt8(truncatingIfNeeded: number), count: size + number % 7))
            #expect(driver.put(slot, name(number), content) == .stored)
            if driver.tier.bytes > maxBytes { Issue.record("\(driver.tier.bytes) bytes after \(number)") }
            // What was put last is never what makes room.
            #expect(driver.get(slot, name(number), promotes: false) == content)
        }
        #expect(driver.tier.checkInvariants() == [])
        // Of what the tier may hold, most is entries: the rest is pieces that are not full, holes, and the room kept free.
        if size >= 3000 { #expect(driver.tier.usage(slot).bytes > maxBytes / 2) }
    }

    @Test("replacing values again and again, in every order, keeps within the bound and loses nothing")
    func churn() throws {
        let maxBytes = 4 << 20
        let driver = TierDriver(maxBytes: maxBytes, shards: 1)
        let slot = try #require(driver.tier.attach())
        var generator = SeededGenerator()
        var sizes: [Int: Int] = [:]
        for step in 0..<30_000 {
            let number = Int.random(in: 0..<300, using: &generator)
            // 300 entries of 6 KB on average: two thirds of what there is, so that only compaction makes room.
            let size = Int.random(in: 0..<12_000, using: &generator)
            driver.put(
                slot,
                name(number),
                Content(value: Array(repeating: UInt8(truncatingIfNeeded: number), count: size))
            )
            sizes[number] = size
            #expect(driver.tier.bytes <= maxBytes)
            if step % 500 == 0 { #expect(driver.tier.checkInvariants() == [], "step \(step), \(generator)") }
        }
        #expect(driver.evicted.isEmpty, "\(driver.evicted.count) left though there was room, \(generator)")
        for (number, size) in sizes {
            let expected = Array(repeating: UInt8(truncatingIfNeeded: number), count: size)
            #expect(driver.get(slot, name(number))?.value == expected)
        }
    }

    @Test("a segment that is being emptied may lose its entries to anyone meanwhile")
    func interruptedCompaction() throws {
        let driver = TierDriver(maxBytes: 32 << 20, shards: 1)
        let slot = try #require(driver.tier.attach())
        var generator = SeededGenerator()
        for round in 0..<60 {
            for number in 0..<2000 {
                driver.put(
                    slot,
                    name(number),
                    Content(value: Array(repeating: 7, count: 200 + Int.random(in: 0..<50, using: &generator)))
                )
            }
            // Two of three leave, so that each segment is worth emptying; the sweep then does 64 KiB at a time.
            for number in 0..<2000 where Int.random(in: 0..<3, using: &generator) > 0 {
                driver.remove(slot, name(number))
            }
            _ = driver.tier.sweepStep(limit: 1) { _, _ in false }
            #expect(driver.tier.checkInvariants() == [], "round \(round), \(generator)")
            switch round % 4 {
            case 0: for number in 0..<2000 { driver.remove(slot, name(number)) }
            case 1: for number in (0..<2000).reversed() { driver.remove(slot, name(number)) }
            case 2:
                driver.tier.setQuota(slot, maxBytes: nil, maxEntries: 100)
                driver.tier.makeRoom(slot)
                driver.tier.setQuota(slot, maxBytes: nil, maxEntries: nil)
            default: _ = driver.tier.sweepStep(limit: 5000) { _, _ in true }
            }
            #expect(driver.tier.checkInvariants() == [], "round \(round), \(generator)")
        }
    }

    @Test("a bound that was lowered holds at the next makeRoom, and 0 lets nothing stay")
    func loweredBound() throws {
        let driver = TierDriver(maxBytes: 32 << 20, shards: 4)
        let slot = try #require(driver.tier.attach())
        for number in 0..<20_000 { driver.put(slot, name(number), Content(value: Array(repeating: 1, count: 500))) }
        for bound in [8 << 20, 3 << 20] {
            driver.tier.setMaxBytes(bound)
            driver.tier.makeRoom(slot)
            #expect(driver.tier.bytes <= bound)
            #expect(driver.get(slot, name(19_999), promotes: false) != nil)
            #expect(driver.tier.checkInvariants() == [])
        }
        driver.tier.setMaxBytes(0)
        driver.tier.makeRoom(slot)
        #expect(driver.tier.entries == 0)
        #expect(driver.put(slot, name(1), Content(value: [1])) == .rejected)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a large value finds the room that deleted entries left in other shards")
    func emptiedShards() throws {
        let driver = TierDriver(maxBytes: 16 << 20, shards: 16)
        let slot = try #require(driver.tier.attach())
        for number in 0..<2000 { driver.put(slot, name(number), Content(value: Array(repeating: 1, count: 500))) }
        for number in 0..<2000 { driver.remove(slot, name(number)) }
        let size = 15 << 20
        #expect(driver.put(slot, name(1), Content(value: Array(repeating: 1, count: size))) == .stored)
        #expect(driver.tier.bytes <= 16 << 20)
        #expect(driver.get(slot, name(1))?.value.count == size)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test(
        "a value just small enough is kept, and one just too large is refused: none is taken and lost",
        arguments: [1, 16]
    )
    func justFitting(shards: Int) throws {
        let maxBytes = 16 << 20
        let driver = TierDriver(maxBytes: maxBytes, shards: shards)
        let slot = try #require(driver.tier.attach())
        var outcomes: [InsertOutcome] = []
        for step in 0..<80 {
            let size = maxBytes - step * (16 << 10)
            let outcome = driver.put(slot, name(1), Content(value: Array(repeating: 1, count: size)))
            #expect((driver.get(slot, name(1)) != nil) == (outcome == .stored), "\(size) bytes")
            #expect(driver.tier.bytes <= maxBytes)
            outcomes.append(outcome)
        }
        #expect(outcomes.first == .rejected && outcomes.last == .stored)
    }

    @Test("the sweep goes on from its place when the chunk that it was in is gone")
    func sweepPastTheEnd() throws {
        let driver = TierDriver(maxBytes: 8 << 20, shards: 1)
        let slot = try #require(driver.tier.attach())
        for number in 0..<6001 { driver.put(slot, name(number), Content(value: [1])) }
        // The last chunk holds two records, and with one more that is free the slab gives up two: the sweep's first removal
        // takes away the record that it would look at next.
        var isReady = false
        for number in 0..<6001 where !isReady {
            driver.remove(slot, name(number))
            driver.tier.withEachShard { _, shard in
                isReady = shard.records.end == 4098 && shard.records.freeCount == 4098 / 8 + 1023
            }
        }
        #expect(isReady)
        var left = driver.tier.entries
        while !driver.tier.sweepStep(limit: 777, { _, _ in true }) {
            #expect(driver.tier.entries < left)
            left = driver.tier.entries
            #expect(driver.tier.checkInvariants() == [])
        }
        #expect(driver.tier.entries == 0)
    }

    @Test("a tier without memory keeps nothing, and its locks work")
    func off() throws {
        let driver = TierDriver(maxBytes: 0)
        let slot = try #require(driver.tier.attach())
        #expect(driver.put(slot, "a") == .rejected)
        #expect(driver.get(slot, "a") == nil)
        #expect(driver.tier.sweepStep(limit: 10) { _, _ in false } == false)
        driver.tier.makeRoom(slot, evicted: { _ in Issue.record("nothing can leave") })
        driver.tier.detach(slot)
        #expect(driver.tier.checkInvariants() == [])
    }
}
