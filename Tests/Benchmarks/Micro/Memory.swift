internal import PantlerMemory
internal import PantlerModel
internal import Support

extension BenchmarkGroup {
    private static let entries = 100_000

    /// The memory tier by itself: what a hit and a put cost below the store.
    static func memory() throws -> BenchmarkGroup {
        let hash = EntryHash(seed: 7)
        let numbers = Samples.shuffled(entries)
        let addresses = hash.addresses(numbers, in: 1)
        let strangers = hash.addresses(entries..<2 * entries, in: 1)
        let value = Samples.value(1)
        let roomy = try MemoryStock(maxBytes: 256 << 20)
        for address in addresses { roomy.put(address, value) }
        guard roomy.tier.entries == entries else { throw Failure("the memory tier does not hold its entries") }
        // Full, with about a third of the entries: each put makes room.
        let full = try MemoryStock(maxBytes: 12 << 20)
        for address in addresses { full.put(address, value) }
        // Each round puts the half that the one before it did not, which has been evicted since.
        let halves = [addresses + [], strangers]
        var turn = 0
        return BenchmarkGroup([
            Benchmark("memory: get, hit", operations: entries) {
                addresses.reduce(0) { $0 &+ roomy.get($1) }
            },
            Benchmark("memory: get, miss", operations: entries) {
                strangers.reduce(0) { $0 &+ roomy.get($1) }
            },
            Benchmark("memory: put, replacing", operations: entries) {
                for address in addresses { roomy.put(address, value) }
                return roomy.tier.entries
            },
            Benchmark("memory: put, evicting", operations: entries) {
                turn += 1
                let before = full.evictions
                for address in halves[turn % 2] { full.put(address, value) }
                guard full.evictions - before > entries / 2 else { throw Failure("nothing was evicted") }
                return full.tier.entries
            },
        ])
    }
}

/// A tier with one namespace in it. Of one thread.
private final class MemoryStock {
    let tier: LockedTier
    private let slot: NamespaceSlot
    private var now: UInt64 = 1

    init(maxBytes: Int) throws {
        tier = LockedTier(maxBytes: maxBytes)
        guard let slot = tier.attach() else { throw Failure("no slot is free") }
        self.slot = slot
    }

    var evictions: Int { Int(tier.usage(slot).evictions) }

    func put(_ address: EntryAddress, _ value: [UInt8]) {
        now += 1
        address.key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                let content = EntryContent(
                    value: value,
                    isJSON: true,
                    mediaType: UnsafeRawBufferPointer(start: nil, count: 0),
                    tags: [],
                    version: now,
                    expiresAt: .never,
                    staleTTL: 0
                )
                tier.withShard(address.hash) { _ = $0.insert(address.hash, slot, key, content, now: now) }
            }
        }
        tier.makeRoom(slot)
    }

    /// Bytes of the value; 0 for a miss.
    func get(_ address: EntryAddress) -> Int {
        now += 1
        var count = 0
        address.key.withUnsafeBytes { key in
            tier.withShard(address.hash) { shard in
                guard let ref = shard.find(address.hash, slot, key) else { return }
                count = shard.view(ref).value.count
                shard.promote(ref, now: now)
            }
        }
        return count
    }
}
