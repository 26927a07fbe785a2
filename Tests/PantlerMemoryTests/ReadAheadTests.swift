import PantlerMemory
import PantlerModel
import Support
import Testing

/// What is read ahead is found by its hint, and a hint that is not true any more leads nobody astray.
struct ReadAheadTests {
    private static let keys = (0..<500).map { Array("key-\($0)".utf8) }

    private func hints(_ driver: TierDriver, _ slot: NamespaceSlot, _ keys: [[UInt8]]) -> [EntryHint] {
        let hashes = keys.map { driver.hash(slot, $0) }
        return hashes.withUnsafeBufferPointer { hashes in
            Array(unsafeUninitializedCapacity: hashes.count) { hints, count in
                driver.tier.readAhead(hashes, UnsafeMutableBufferPointer(rebasing: hints[..<hashes.count]))
                count = hashes.count
            }
        }
    }

    /// The value that each key has by its hint.
    private func values(
        _ driver: TierDriver,
        _ slot: NamespaceSlot,
        _ keys: [[UInt8]],
        _ hints: [EntryHint]
    ) -> [[UInt8]?] {
        zip(keys, hints).map { key, hint in
            var value: [UInt8]?
            let hash = driver.hash(slot, key)
            driver.tier.withShard(hash) { shard in
                value = key.withUnsafeBytes { shard.find(hash, slot, $0, hint: hint) }.map {
                    Array(shard.view($0).value)
                }
            }
            return value
        }
    }

    private func value(_ number: Int) -> [UInt8] {
        Array(repeating: UInt8(truncatingIfNeeded: number), count: [0, 1, 60, 220, 5000, 20_000][number % 6])
    }

    private func filled(shards: Int) throws -> (TierDriver, NamespaceSlot) {
        let driver = TierDriver(shards: shards)
        let slot = try #require(driver.tier.attach())
        for (number, key) in Self.keys.enumerated() { driver.put(slot, key, Content(value: value(number))) }
        return (driver, slot)
    }

    @Test("entries of all sizes are found by their hints, and what is not there is not", arguments: [1, 4, 16])
    func found(shards: Int) throws {
        let (driver, slot) = try filled(shards: shards)
        let keys = Self.keys + [Array("none".utf8), Self.keys[3]]
        let expected = Self.keys.indices.map(value) + [nil, value(3)]
        #expect(values(driver, slot, keys, hints(driver, slot, keys)) == expected)
        #expect(driver.tier.checkInvariants() == [])
    }

    @Test("a tier without entries has none to read", arguments: [0, 1, 3, 4, 128])
    func empty(count: Int) throws {
        let driver = TierDriver()
        let slot = try #require(driver.tier.attach())
        let keys = Array(Self.keys.prefix(count))
        #expect(values(driver, slot, keys, hints(driver, slot, keys)).allSatisfy { $0 == nil })
        let off = TierDriver(maxBytes: 0)
        #expect(values(off, 0, keys, hints(off, 0, keys)).allSatisfy { $0 == nil })
    }

    @Test("hints of entries that have moved, left or changed since lead to what is there now")
    func stale() throws {
        let (driver, slot) = try filled(shards: 1)
        let old = hints(driver, slot, Self.keys)
        // So many leave that records move together, and some of the free ones are taken by other keys.
        for (number, key) in Self.keys.enumerated() where number % 5 != 0 { #expect(driver.remove(slot, key)) }
        for number in 0..<20 { driver.put(slot, "other-\(number)") }
        driver.put(slot, Self.keys[10], Content(value: [7]))
        let expected = Self.keys.indices.map { $0 == 10 ? [7] : $0 % 5 == 0 ? value($0) : nil }
        #expect(values(driver, slot, Self.keys, old) == expected)
        // Every hint with every other key's hash.
        #expect(values(driver, slot, Self.keys, old.reversed()) == expected)
    }

    @Test("an entry of another namespace, or of another key with the same hash, is not taken for it")
    func strangers() throws {
        let driver = TierDriver(shards: 1)
        let slot = try #require(driver.tier.attach())
        let other = try #require(driver.tier.attach())
        let key = Array("a".utf8)
        let hash = driver.hash(slot, key)
        driver.tier.withShard(hash) { shard in
            for (slot, key) in [(other, "a"), (slot, "b")] {
                Array(key.utf8).withUnsafeBytes { key in
                    Content(value: [1]).withEntryContent { _ = shard.insert(hash, slot, key, $0, now: 1) }
                }
            }
        }
        let hints = hints(driver, slot, Array(repeating: key, count: 4))
        #expect(values(driver, slot, [key, key], hints) == [nil, nil])
        #expect(values(driver, slot, [Array("c".utf8)], hints) == [nil])
    }
}
