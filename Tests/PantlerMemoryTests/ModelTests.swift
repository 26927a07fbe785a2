import PantlerMemory
import PantlerModel
import Support
import Testing

/// The tier beside a dictionary: thousands of random operations, both agree after each.
struct ModelTests {
    private struct Key: Hashable {
        var slot: NamespaceSlot
        var key: [UInt8]
    }

    private struct Modelled {
        var content: Content
        var stamp: UInt64
    }

    @Test(
        "random operations agree with a dictionary and an exact LRU",
        arguments: [1, 2, 3, 4] as [UInt64]
    )
    func randomOperations(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        // Small enough for some seeds that the tier's own bound evicts and compacts all the time.
        let maxBytes = seed % 2 == 0 ? 1 << 20 : 16 << 20
        let driver = TierDriver(maxBytes: maxBytes)
        var slots = try (1...3).map { _ in try #require(driver.tier.attach()) }
        var quota = [slots[1]: 40]
        driver.tier.setQuota(slots[1], maxBytes: nil, maxEntries: 40)
        var model: [Key: Modelled] = [:]
        let keys = (0..<400).map { number in
            Array("\(number)".utf8) + Array(repeating: UInt8(0x7a), count: number % 11 == 0 ? number * 2 : 0)
        }

        for step in 0..<3000 {
            let slot = slots[Int.random(in: 0..<slots.count, using: &random)]
            let key = keys[
                Int(
                    Double(keys.count) * Double.random(in: 0..<1, using: &random)
                        * Double.random(in: 0..<1, using: &random)
                )
            ]
            let name = Key(slot: slot, key: key)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<40:
                let content = randomContent(step, &random)
                driver.evicted = []
                #expect(driver.put(slot, key, content) == .stored, "seed \(seed) step \(step)")
                model[name] = Modelled(content: content, stamp: driver.now)
                for left in driver.evicted {
                    // The oldest of all, or of its namespace where that has a quota.
                    let candidates = model.filter { left.slot == $0.key.slot || quota[left.slot] == nil }
                    let oldest = candidates.min { $0.value.stamp < $1.value.stamp }?.key
                    let gone = model.keys.first { driver.hash($0.slot, $0.key) == left.hash }
                    let ofTier = model.min { $0.value.stamp < $1.value.stamp }?.key
                    #expect(gone != nil && (gone == oldest || gone == ofTier), "seed \(seed) step \(step)")
                    if let gone { model[gone] = nil }
                }
            case 40..<75:
                let found = driver.get(slot, key)
                #expect(found == model[name]?.content, "seed \(seed) step \(step)")
                model[name]?.stamp = driver.now
            case 75..<90:
                #expect(
                    driver.remove(slot, key) == (model.removeValue(forKey: name) != nil),
                    "seed \(seed) step \(step)"
                )
            case 90..<94:
                let staleTTL = Int64.random(in: 0...2, using: &random)
                driver.with(slot, key) { shard, ref in
                    shard.setLife(ref, version: Version(step), expiresAt: .never, staleTTL: staleTTL)
                }
                model[name]?.content.version = Version(step)
                model[name]?.content.expiresAt = .never
                model[name]?.content.staleTTL = staleTTL
            case 94..<98:
                let doomed = UInt64.random(in: 0..<8, using: &random)
                _ = driver.tier.sweepStep(limit: 20) { view, slot in
                    guard view.hash % 8 == doomed else { return false }
                    model[Key(slot: slot, key: Array(view.key))] = nil
                    return true
                }
            case 98 where step % 5 == 0:
                driver.tier.detach(slot)
                model = model.filter { $0.key.slot != slot }
                let limit: Int64? = slot == slots[1] ? 40 : nil
                slots = slots.map { $0 == slot ? driver.tier.attach(maxEntries: limit) ?? -1 : $0 }
                quota = [slots[1]: 40]
            default:
                let expected = Set(model.keys.filter { $0.slot == slot }.map(\.key))
                #expect(driver.keys(slot) == expected, "seed \(seed) step \(step)")
            }
            let faults = driver.tier.checkInvariants()
            #expect(faults == [], "seed \(seed) step \(step)")
            #expect(driver.tier.entries == model.count, "seed \(seed) step \(step)")
            #expect(driver.tier.bytes <= maxBytes, "seed \(seed) step \(step)")
            if !faults.isEmpty { return }
        }
        let hottest = model.sorted { $0.value.stamp > $1.value.stamp }.map { driver.hash($0.key.slot, $0.key.key) }
        #expect(driver.tier.hotHashes(limit: 10_000) == hottest)
        #expect(driver.tier.hotHashes(limit: 5) == Array(hottest.prefix(5)))
    }

    private func randomContent(_ step: Int, _ random: inout SeededGenerator) -> Content {
        let sizes = [0, 3, 64, 220, 1000, 4000, 9000, 16 << 10, 20_000]
        var content = Content(
            value: Array(repeating: UInt8(truncatingIfNeeded: step), count: sizes.randomElement(using: &random) ?? 0)
        )
        content.version = Version(step)
        content.expiresAt = Bool.random(using: &random) ? .never : Timestamp(milliseconds: Int64(step))
        if Int.random(in: 0..<4, using: &random) == 0 {
            content.tags = [EntryTag("tag\(step % 9)"), "x"]
            content.staleTTL = 5
        }
        if Bool.random(using: &random) {
            content.isJSON = false
            content.mediaType = Array("image/png".utf8)
        }
        return content
    }
}
