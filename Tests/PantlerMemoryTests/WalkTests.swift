import PantlerMemory
import PantlerModel
import Support
import Testing

/// Walks over all entries: listing, sweep, and the hottest.
struct WalkTests {
    private func name(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }

    @Test("a walk in pieces meets every entry that is there the whole time, though others come, go and are used")
    func walk() throws {
        let driver = TierDriver(shards: 1)
        let slot = try #require(driver.tier.attach())
        let other = try #require(driver.tier.attach())
        var generator = SeededGenerator()
        for number in 0..<6000 { driver.put(number % 6 == 0 ? other : slot, name(number), Content(value: [1])) }
        // Those that stay; the rest leave during the walk, so that records move down, and with them places that the walk remembers.
        let staying = (0..<6000).filter { $0 % 6 == 1 }
        var leaving = (0..<6000).filter { $0 % 6 != 1 }.shuffled(using: &generator)
        var seen: Set<[UInt8]> = []
        var position = WalkPosition()
        var goesOn = true
        var pieces = 0
        while goesOn {
            driver.tier.withEachShard { _, shard in
                goesOn = shard.walk(slot, &position, limit: 100) {
                    seen.insert(Array($0.key))
                    return .keep
                }
            }
            pieces += 1
            for _ in 0..<90 {
                if let number = leaving.popLast() { driver.remove(number % 6 == 0 ? other : slot, name(number)) }
            }
            // What is used moves ahead of the walk, also what it was about to come to.
            for _ in 0..<20 {
                if let number = staying.randomElement(using: &generator) {
                    driver.with(slot, name(number)) { $0.promote($1, now: UInt64(1_000_000 + pieces)) }
                }
            }
            driver.put(slot, name(10_000 + pieces), Content(value: [1]))
        }
        #expect(pieces > 20)
        #expect(seen.isSuperset(of: staying.map(name)), "\(generator)")
        #expect(seen.isDisjoint(with: (0..<6000).filter { $0 % 6 == 0 }.map(name)), "another namespace's")
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a walk looks at the entries of its namespace alone, however many there are of others")
    func walkSteps() throws {
        let driver = TierDriver(shards: 1)
        let few = try #require(driver.tier.attach())
        let many = try #require(driver.tier.attach())
        for number in 0..<5000 { driver.put(many, name(number), Content(value: [1])) }
        for number in 0..<10 { driver.put(few, name(number), Content(value: [1])) }
        var position = WalkPosition()
        var steps = 0
        var shown = 0
        var goesOn = true
        while goesOn {
            steps += 1
            driver.tier.withEachShard { _, shard in
                goesOn = shard.walk(few, &position, limit: 4) { _ in
                    shown += 1
                    return .keep
                }
            }
        }
        #expect(shown == 10)
        #expect(steps == 3)
    }

    @Test(
        "what a walk condemns is gone, for the reason that it gives, and the rest is shown all the same",
        arguments: [1, 7, 1000]
    )
    func removingWalk(limit: Int) throws {
        let driver = TierDriver(shards: 1)
        let slot = try #require(driver.tier.attach())
        for number in 0..<3000 { driver.put(slot, name(number), Content(value: [1])) }
        var kept: Set<[UInt8]> = []
        var removed: Set<[UInt8]> = []
        var position = WalkPosition()
        var goesOn = true
        while goesOn {
            driver.tier.withEachShard { _, shard in
                goesOn = shard.walk(slot, &position, limit: limit) { view in
                    let key = Array(view.key)
                    if view.hash % 10 == 0 {
                        kept.insert(key)
                        return .keep
                    }
                    #expect(removed.insert(key).inserted)
                    return .remove
                }
            }
        }
        #expect(kept.count + removed.count == 3000)
        #expect(driver.keys(slot) == kept)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a pass of the sweep shows every entry once, in steps no larger than asked for, and removes the condemned")
    func sweep() throws {
        let driver = TierDriver(maxBytes: 64 << 20, shards: 4)
        let slot = try #require(driver.tier.attach())
        for number in 0..<5000 { driver.put(slot, name(number), Content(value: [1])) }
        var shown: [[UInt8]: Int] = [:]
        var isOver = false
        while !isOver {
            var inStep = 0
            isOver = driver.tier.sweepStep(limit: 64) { view, viewSlot in
                #expect(viewSlot == slot)
                shown[Array(view.key), default: 0] += 1
                inStep += 1
                return view.hash % 3 == 0
            }
            #expect(inStep <= 64)
        }
        #expect(shown.count == 5000)
        for number in 0..<5000 {
            let hash = driver.hash(slot, name(number))
            #expect((driver.get(slot, name(number), promotes: false) == nil) == (hash % 3 == 0))
        }
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("the hottest come first, over all shards and namespaces", arguments: [1, 10, 999, 1000, 1001, 3500, 10_000])
    func hottest(limit: Int) throws {
        let driver = TierDriver()
        let slots = try (1...3).map { _ in try #require(driver.tier.attach()) }
        var generator = SeededGenerator()
        for number in 0..<4000 { driver.put(slots[number % 3], name(number), Content(value: [1])) }
        var order = Array(0..<4000)
        for number in (0..<4000).shuffled(using: &generator).prefix(2500) {
            #expect(driver.get(slots[number % 3], name(number)) != nil)
            order.append(number)
        }
        var seen: Set<Int> = []
        let hottest = order.reversed().filter { seen.insert($0).inserted }
        #expect(
            driver.tier.hotHashes(limit: limit)
                == hottest.prefix(limit).map { driver.hash(slots[$0 % 3], name($0)) },
            "\(generator)"
        )
    }
}
