import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// The store's shards, each under its lock, over the memory tier that they share.
final class ShardTable: Sendable {
    let memory: MemoryTier
    /// How many leases there are in all shards, and those who wait for them.
    let leaseRoom: LeaseRoom
    // `count` shards, each in cache lines of its own, in memory that is allocated in `init` and freed in `deinit`;
    // what lies there is only ever used through its `Mutex`.
    nonisolated(unsafe) private let shards: UnsafeMutableRawPointer
    /// Bytes from one shard to the next.
    private static let stride = (MemoryLayout<Mutex<Shard>>.stride + 127) & ~127
    /// The memory of misses takes at most one part in so many of the tier's memory.
    private static let missMemoryDivisor = 8

    var count: Int { memory.shardCount }

    /// - Parameter missMemoryBytes: bytes of the memory of misses, for all shards together. It gets less where the tier has little.
    init(_ memory: MemoryTier, missMemoryBytes: Int = 1 << 20, leases: LeaseLimits = LeaseLimits()) {
        self.memory = memory
        leaseRoom = LeaseRoom(leases)
        let most = memory.maxBytes > 0 ? memory.maxBytes / Self.missMemoryDivisor : .max
        let bytes = min(missMemoryBytes, most) / memory.shardCount
        shards = .allocate(byteCount: Self.stride * memory.shardCount, alignment: 128)
        for number in 0..<memory.shardCount {
            let shard = Shard(memory, number: number, missMemoryBytes: bytes, leaseRoom)
            (shards + number * Self.stride).initializeMemory(as: Mutex<Shard>.self, to: Mutex(shard))
        }
    }

    deinit {
        for number in 0..<count { shard(number).deinitialize(count: 1) }
        shards.deallocate()
    }

    @inline(__always)
    private func shard(_ number: Int) -> UnsafeMutablePointer<Mutex<Shard>> {
        (shards + number * Self.stride).assumingMemoryBound(to: Mutex<Shard>.self)
    }

    /// Runs `body` under the lock of the shard that a hash belongs to. No I/O and no other shard's lock inside.
    @inline(__always)
    func withShard(_ hash: UInt64, _ body: (inout Shard) -> Void) {
        shard(memory.shard(of: hash)).pointee.withLock { body(&$0) }
    }

    /// Runs `body` under the lock of the shard with a number, for walks over all shards in steps.
    func withShard(number: Int, _ body: (inout Shard) -> Void) {
        shard(number).pointee.withLock { body(&$0) }
    }

    /// Runs `body` for each shard, one after the other, each under its own lock.
    func withEachShard(_ body: (Int, inout Shard) -> Void) {
        for number in 0..<count { shard(number).pointee.withLock { body(number, &$0) } }
    }

    private func withMemory(_ number: Int, _ body: (inout MemoryShard) -> Void) {
        shard(number).pointee.withLock { body(&$0.memory) }
    }

    // MARK: Namespaces

    /// A slot for a namespace, with these quotas; `nil` if all slots are taken. Complexity: O(namespaces + shards).
    func attach(maxBytes: Int64?, maxEntries: Int64?) -> NamespaceSlot? {
        guard let slot = memory.takeSlot(maxBytes: maxBytes, maxEntries: maxEntries) else { return nil }
        withEachShard { _, shard in memory.holdForGood(shard.open(slot)) }
        return slot
    }

    /// Entries that are removed under one hold of a lock.
    private static let detachStep = 1000

    /// Removes a namespace's entries, then frees the slot for another.
    ///
    /// Each shard rejects inserts into the slot from the moment that this has reached it. The caller has to prevent inserts after the
    /// return: it marks the namespace as dropped before this call, and whoever inserts looks at that mark under the shard's lock.
    /// Complexity: O(entries of the namespace).
    func detach(_ slot: NamespaceSlot) {
        for number in 0..<count {
            var isEmpty = false
            while !isEmpty { withShard(number: number) { isEmpty = $0.empty(slot, limit: Self.detachStep) } }
        }
        memory.giveBack(slot)
    }

    /// What a namespace has counted: the sum over all shards, each read under its lock.
    func tally(of slot: NamespaceSlot) -> NamespaceTally {
        var tally = NamespaceTally()
        withEachShard { _, shard in tally += shard.tally[slot] }
        return tally
    }

    // MARK: Room

    /// Evicts least recently used entries until the namespace's quota and the tier's bound hold again; see `RoomMaking`. To be called after
    /// each insert, outside of any lock.
    ///
    /// - Parameters:
    ///   - evicted: called for each entry that left, without a lock.
    ///   - reason: tells why an entry leaves. It is called under the entry's shard's lock.
    func makeRoom(
        _ slot: NamespaceSlot,
        evicted: (OldestEntry) -> Void = { _ in },
        reason: (EntryView, NamespaceSlot) -> MissReason = { _, _ in .evicted }
    ) {
        var making = memory.makingRoom(slot)
        while let step = making.next() {
            switch step {
            case .compact(let number): withMemory(number) { making.compact(&$0) }
            case .evict(let number, let order): evict(number, order, making, evicted, reason)
            }
        }
    }

    private func evict(
        _ number: Int,
        _ order: EvictionOrder,
        _ making: RoomMaking,
        _ evicted: (OldestEntry) -> Void,
        _ reason: (EntryView, NamespaceSlot) -> MissReason
    ) {
        withUnsafeTemporaryAllocation(of: OldestEntry.self, capacity: RoomMaking.evictionStep) { left in
            var count = 0
            withShard(number: number) { shard in
                shard.evict(order, while: { count < RoomMaking.evictionStep && making.goesOn(order) }, reason) {
                    left.initializeElement(at: count, to: $0)
                    count += 1
                }
            }
            // The lock is released by now: what is done about an entry that left does not concern the shard.
            for index in 0..<count { evicted(left[index]) }
        }
    }

    // MARK: All shards

    /// A small step of background work on one shard.
    ///
    /// - Parameter death: tells why an entry is dead; `nil` if it is not. It is called under the shard's lock.
    /// - Returns: whether this step ended a pass over all shards.
    func sweepStep(limit: Int, _ death: (EntryView, NamespaceSlot) -> MissReason?) -> Bool {
        var position = memory.sweepPosition
        withShard(number: position.shard) { $0.sweep(&position, limit: limit, death) }
        return memory.noteSwept(position)
    }

    /// See `MemoryTier.hotHashes`.
    func hotHashes(limit: Int, of includes: (NamespaceSlot) -> Bool = { _ in true }) -> [UInt64] {
        memory.hotHashes(limit: limit, of: includes, withMemory)
    }

    /// See `MemoryTier.readAhead`.
    func readAhead(_ hashes: UnsafeBufferPointer<UInt64>, _ hints: UnsafeMutableBufferPointer<EntryHint>) {
        memory.readAhead(hashes, hints, withMemory)
    }
}
