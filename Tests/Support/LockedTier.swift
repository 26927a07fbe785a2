package import PantlerMemory
package import PantlerModel
import Synchronization

/// A memory tier with its shards, each under a lock of its own, and nothing else: what the store is to the tier, without a store.
package final class LockedTier: Sendable {
    private final class Locked: Sendable {
        let shard: Mutex<MemoryShard>

        init(_ shard: consuming MemoryShard) { self.shard = Mutex(shard) }
    }

    package let memory: MemoryTier
    private let shards: [Locked]

    package init(maxBytes: Int, shardCount: Int = 16, maxNamespaces: Int = 1024) {
        let memory = MemoryTier(maxBytes: maxBytes, shardCount: shardCount, maxNamespaces: maxNamespaces)
        self.memory = memory
        shards = (0..<memory.shardCount).map { Locked(memory.makeShard($0)) }
    }

    package var shardCount: Int { memory.shardCount }
    package var bytes: Int { memory.bytes }
    package var entries: Int { memory.entries }

    package func usage(_ slot: NamespaceSlot) -> (entries: Int64, bytes: Int64, evictions: UInt64) {
        memory.usage(slot)
    }

    package func setMaxBytes(_ bytes: Int) { memory.setMaxBytes(bytes) }

    package func setQuota(_ slot: NamespaceSlot, maxBytes: Int64?, maxEntries: Int64?) {
        memory.setQuota(slot, maxBytes: maxBytes, maxEntries: maxEntries)
    }

    package func roomBehind(_ slot: NamespaceSlot, bytes: Int) -> MemoryTier.RoomBehind {
        memory.roomBehind(slot, bytes: bytes)
    }

    package func withShard(_ hash: UInt64, _ body: (inout MemoryShard) -> Void) {
        withShard(number: memory.shard(of: hash), body)
    }

    package func withShard(number: Int, _ body: (inout MemoryShard) -> Void) {
        shards[number].shard.withLock { body(&$0) }
    }

    package func withEachShard(_ body: (Int, inout MemoryShard) -> Void) {
        for number in 0..<shardCount { withShard(number: number) { body(number, &$0) } }
    }

    package func attach(maxBytes: Int64? = nil, maxEntries: Int64? = nil) -> NamespaceSlot? {
        guard let slot = memory.takeSlot(maxBytes: maxBytes, maxEntries: maxEntries) else { return nil }
        withEachShard { _, shard in shard.open(slot) }
        return slot
    }

    package func detach(_ slot: NamespaceSlot) {
        withEachShard { _, shard in
            shard.close(slot)
            while shard.removeAll(slot, limit: 1000) == 1000 {}
            shard.releaseIfEmpty()
        }
        memory.giveBack(slot)
    }

    /// - Parameter isEviction: whether an entry that leaves is counted as one that made room.
    package func makeRoom(
        _ slot: NamespaceSlot,
        evicted: (OldestEntry) -> Void = { _ in },
        isEviction: (EntryView, NamespaceSlot) -> Bool = { _, _ in true }
    ) {
        var making = memory.makingRoom(slot)
        while let step = making.next() {
            switch step {
            case .compact(let number): withShard(number: number) { making.compact(&$0) }
            case .evict(let number, let order):
                withShard(number: number) { shard in
                    var count = 0
                    while count < RoomMaking.evictionStep, making.goesOn(order), let oldest = shard.oldest(order) {
                        shard.evict(oldest, isEviction: isEviction(shard.view(oldest.ref), oldest.slot))
                        evicted(oldest)
                        count += 1
                    }
                    shard.endEviction(order)
                }
            }
        }
    }

    package func sweepStep(limit: Int, _ isDead: (EntryView, NamespaceSlot) -> Bool) -> Bool {
        var position = memory.sweepPosition
        withShard(number: position.shard) { $0.sweep(&position, limit: limit, isDead) }
        return memory.noteSwept(position)
    }

    package func hotHashes(limit: Int, of includes: (NamespaceSlot) -> Bool = { _ in true }) -> [UInt64] {
        memory.hotHashes(limit: limit, of: includes) { withShard(number: $0, $1) }
    }

    package func readAhead(_ hashes: UnsafeBufferPointer<UInt64>, _ hints: UnsafeMutableBufferPointer<EntryHint>) {
        memory.readAhead(hashes, hints) { withShard(number: $0, $1) }
    }
}
