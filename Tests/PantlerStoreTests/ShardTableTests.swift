import PantlerInsight
import PantlerMemory
import PantlerModel
import Support
import Testing

@testable import PantlerStore

/// What a shard keeps beside its entries: counts, reasons, and reads that are under way.
struct ShardTableTests {
    private let hasher = EntryHash(seed: 7)

    private func name(_ number: Int) -> [UInt8] { Array("key-\(number)".utf8) }

    private func hash(_ slot: NamespaceSlot, _ key: [UInt8]) -> UInt64 {
        hasher.hash(namespace: NamespaceID(slot), key: key)
    }

    private func table(maxBytes: Int = 64 << 20, shards: Int = 4, missMemoryBytes: Int = 1 << 16) -> ShardTable {
        ShardTable(
            MemoryTier(maxBytes: maxBytes, shardCount: shards, maxNamespaces: 4),
            missMemoryBytes: missMemoryBytes
        )
    }

    @discardableResult
    private func put(_ table: ShardTable, _ slot: NamespaceSlot, _ key: [UInt8], now: UInt64 = 1) -> InsertOutcome {
        let hash = hash(slot, key)
        var outcome = InsertOutcome.rejected
        let entry = Entry(value: [1], kind: .json, version: 1, expiresAt: .never)
        table.withShard(hash) { shard in
            key.withUnsafeBytes { key in
                outcome = entry.withContent(nil) { shard.memory.insert(hash, slot, key, $0, now: now) }
            }
        }
        return outcome
    }

    private func reason(_ table: ShardTable, _ hash: UInt64) -> MissReason? {
        var reason: MissReason?
        table.withShard(hash) { reason = $0.missMemory.reason(for: hash) }
        return reason
    }

    private func tally(_ table: ShardTable, _ slot: NamespaceSlot) -> NamespaceTally {
        var tally = NamespaceTally()
        table.withEachShard { _, shard in tally += shard.tally[slot] }
        return tally
    }

    @Test(
        "who makes room leaves for the reason that is given, and only what was alive counts as evicted",
        arguments: MissReason.allCases
    )
    func reasons(reason given: MissReason) throws {
        let table = table()
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: 1))
        put(table, slot, name(1), now: 1)
        put(table, slot, name(2), now: 2)
        var left: [UInt64] = []
        table.makeRoom(
            slot,
            evicted: { left.append($0.hash) },
            reason: { view, viewSlot in
                #expect(Array(view.key) == name(1) && viewSlot == slot)
                return given
            }
        )
        let hash = hash(slot, name(1))
        #expect(left == [hash])
        #expect(reason(table, hash) == (given == .absent ? nil : given))
        #expect(table.memory.usage(slot).evictions == (given == .evicted ? 1 : 0))
        #expect(tally(table, slot).expirations == (given == .expired ? 1 : 0))
        #expect(table.memory.entries == 1)
    }

    @Test("what the sweep finds dead is remembered as what it died of, and an expiry is counted")
    func sweep() throws {
        let table = table()
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: nil))
        for number in 0..<1000 { put(table, slot, name(number)) }
        func death(_ hash: UInt64) -> MissReason? {
            hash % 3 == 0 ? hash % 2 == 0 ? .expired : .invalidated : nil
        }
        while !table.sweepStep(limit: 64, { view, _ in death(view.hash) }) {}
        let hashes = (0..<1000).map { hash(slot, name($0)) }
        for hash in hashes { #expect(reason(table, hash) == death(hash)) }
        #expect(tally(table, slot).expirations == hashes.count { death($0) == .expired })
        #expect(table.memory.entries == hashes.count { death($0) == nil })
    }

    @Test("what a walk removes is remembered as invalidated, and a read of it that is under way is done again")
    func walk() throws {
        let table = table()
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: nil))
        for number in 0..<100 { put(table, slot, name(number)) }
        let read = EntryAddress(namespace: NamespaceID(slot), key: name(7), hash: hash(slot, name(7)))
        table.withShard(read.hash) { _ = $0.loads.join(read, fillsMemory: true) { _, _ in nil } }
        table.withEachShard { _, shard in
            var position = WalkPosition()
            while shard.walk(
                slot,
                &position,
                limit: 10,
                { $0.hash % 2 == 0 || Array($0.key) == name(7) ? .remove : .keep }
            ) {}
        }
        for number in 0..<100 {
            let hash = hash(slot, name(number))
            #expect(reason(table, hash) == (hash % 2 == 0 || number == 7 ? .invalidated : nil))
        }
        table.withShard(read.hash) { #expect($0.loads.isOutdated(read.hash)) }
    }

    @Test("a namespace leaves no count to its successor in the slot")
    func successor() throws {
        let table = table()
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: nil))
        for number in 0..<3000 { put(table, slot, name(number)) }
        table.withEachShard { _, shard in shard.tally[slot].puts += 5 }
        table.detach(slot)
        #expect(table.memory.entries == 0)
        #expect(table.attach(maxBytes: nil, maxEntries: nil) == slot)
        #expect(tally(table, slot) == NamespaceTally())
        #expect(table.memory.usage(slot) == (0, 0, 0))
    }

    @Test("a tier without memory keeps nothing, and its locks, tallies and memory of misses work")
    func off() throws {
        let table = table(maxBytes: 0)
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: nil))
        #expect(put(table, slot, name(1)) == .rejected)
        let hash = hash(slot, name(1))
        table.withShard(hash) { shard in
            shard.tally[slot].puts += 1
            shard.missMemory.record(hash, .rejected)
        }
        #expect(reason(table, hash) == .rejected)
        #expect(tally(table, slot).puts == 1)
        table.makeRoom(slot, evicted: { _ in Issue.record("nothing can leave") })
        table.detach(slot)
    }

    @Test(
        "what remembers reasons takes an eighth of the memory at most, and counts in it",
        arguments: [1 << 20, 64 << 20]
    )
    func missMemoryBytes(maxBytes: Int) {
        let small = table(maxBytes: maxBytes, shards: 1, missMemoryBytes: 64)
        let large = table(maxBytes: maxBytes, shards: 1, missMemoryBytes: 16 << 20)
        let more = large.memory.bytes - small.memory.bytes
        #expect(more > maxBytes / 16 && more <= maxBytes / 8 + 64)
    }

    @Test("what threads count adds up")
    func tallies() throws {
        let table = table()
        let slot = try #require(table.attach(maxBytes: nil, maxEntries: 100))
        let generator = SeededGenerator()
        let hits = try onThreads(4) { thread in
            var random = SeededGenerator(seed: generator.seed &+ UInt64(thread))
            var hits: UInt64 = 0
            for step in 0..<2000 {
                let key = name(Int(random.next() % 200))
                let hash = hash(slot, key)
                table.withShard(hash) { shard in
                    if key.withUnsafeBytes({ shard.memory.find(hash, slot, $0) }) != nil {
                        hits += 1
                        shard.tally[slot].countHit(.memory)
                    } else {
                        shard.tally[slot].countMiss(.absent)
                    }
                }
                put(table, slot, key, now: UInt64(step))
                table.makeRoom(slot)
            }
            return hits
        }
        let tally = tally(table, slot)
        #expect(tally.gets == 8000)
        #expect(tally.hits == hits.reduce(0, +))
        #expect(tally.hits > 0 && tally.misses > 0)
        #expect(table.memory.usage(slot).entries <= 100)
    }
}
