import Synchronization

/// Runs its second argument on a shard, given by its number, under the lock that guards it.
package typealias ShardAccess = (Int, (inout MemoryShard) -> Void) -> Void

/// The memory tier: the entries of all namespaces, bounded in bytes that are really the process's. The least recently used leave first.
///
/// A key's shard is chosen by the highest bits of its hash. `MemoryShard` says what is in a shard, and `Record` what an entry costs. A tier
/// has what its shards share, and decides what is to be done. The shards themselves and their locks belong to the tier's owner, who guards
/// by these locks what else belongs to a key. This file has the tier's settings and figures; `MemoryTier+Room` keeps it within its bounds,
/// `MemoryTier+Sweep` is its background work, `MemoryTier+Hot` lists its hottest entries, and `MemoryTier+ReadAhead` speeds up lookups of
/// many keys.
package final class MemoryTier: Sendable {
    /// Values longer than this have an allocation of their own.
    package static let largeValueBytes = 16 << 10

    package let shardCount: Int
    let ledger: Ledger
    let segmentBytes: Int
    private let geometry: Geometry
    /// Where the sweep stands.
    let sweep = Mutex(SweepPosition())
    private let attached: Mutex<[Bool]>
    /// A hash shifted right by so many bits is a shard's number.
    private let shardShift: UInt64

    /// - Parameters:
    ///   - maxBytes: the bound of all bytes that the tier holds, its own tables and those given to `holdForGood` included. 0 = off: nothing
    ///     is kept, and each insert is rejected.
    ///   - shardCount: rounded down to a power of two, and so far that `maxBytes` has 1 MiB for each shard.
    ///   - maxNamespaces: how many may have a slot at a time; 16,384 at most.
    package init(maxBytes: Int, shardCount: Int = 16, maxNamespaces: Int = 1024) {
        let count = Geometry.shards(wanted: shardCount, maxBytes: maxBytes)
        geometry = Geometry(maxBytes: maxBytes, shardCount: count)
        self.shardCount = count
        segmentBytes = geometry.segmentBytes
        shardShift = UInt64(64 - count.trailingZeroBitCount)
        let slots = max(1, min(maxNamespaces, Record.slotLimit))
        ledger = Ledger(maxBytes: maxBytes, shardCount: count, slotCapacity: slots)
        attached = Mutex(Array(repeating: false, count: slots))
    }

    /// One of the tier's shards. To be called once for each number below `shardCount`.
    package func makeShard(_ number: Int) -> MemoryShard {
        MemoryShard(number: number, ledger: ledger, geometry: geometry)
    }

    /// The shard that a hash belongs to.
    package func shard(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> shardShift) }

    // MARK: Bounds and figures

    /// All slots are below this number.
    package var slotCapacity: Int { ledger.slotCapacity }

    package var maxBytes: Int { ledger.maxBytes.load(ordering: .relaxed) }

    /// Sets the tier's bound. It takes effect at the next `RoomMaking`, which has a lot to do where the bound became much smaller. The
    /// sizes of the pieces in which memory is taken stay as they were chosen for the first bound.
    package func setMaxBytes(_ bytes: Int) { ledger.maxBytes.store(bytes, ordering: .relaxed) }

    /// Counts memory that the shards' owner holds beside their entries, as long as the tier lives.
    package func holdForGood(_ bytes: Int) { ledger.holdForGood(bytes) }

    /// Bytes that the tier holds from the system. Complexity: O(1).
    package var bytes: Int { ledger.held.load(ordering: .relaxed) }

    /// Complexity: O(shards).
    package var entries: Int {
        (0..<shardCount).reduce(0) { $0 + ledger.signals($1).pointee.entries.load(ordering: .relaxed) }
    }

    /// A namespace's entries, the bytes that these cost it (see `Record`), and how many were evicted since it took its slot. Complexity:
    /// O(1).
    package func usage(_ slot: NamespaceSlot) -> (entries: Int64, bytes: Int64, evictions: UInt64) {
        let usage = ledger.usage(slot)
        return (
            usage.pointee.entries.load(ordering: .relaxed), usage.pointee.bytes.load(ordering: .relaxed),
            usage.pointee.evictions.load(ordering: .relaxed)
        )
    }

    // MARK: Namespaces

    /// A slot for a namespace, with these quotas; `nil` if `maxNamespaces` have one already. Nothing can be put into it before it is opened in
    /// each shard. Complexity: O(namespaces).
    package func takeSlot(maxBytes: Int64?, maxEntries: Int64?) -> NamespaceSlot? {
        let slot: NamespaceSlot? = attached.withLock { attached in
            guard let slot = attached.firstIndex(of: false) else { return nil }
            attached[slot] = true
            return slot
        }
        guard let slot else { return nil }
        ledger.usage(slot).pointee.evictions.store(0, ordering: .relaxed)
        setQuota(slot, maxBytes: maxBytes, maxEntries: maxEntries)
        return slot
    }

    /// Makes a slot free for another namespace. To be called once the slot is empty in each shard.
    package func giveBack(_ slot: NamespaceSlot) { attached.withLock { $0[slot] = false } }

    /// Sets a namespace's quotas; `nil` = as much as fits. They take effect at the next `RoomMaking`.
    package func setQuota(_ slot: NamespaceSlot, maxBytes: Int64?, maxEntries: Int64?) {
        ledger.usage(slot).pointee.maxBytes.store(maxBytes ?? .max, ordering: .relaxed)
        ledger.usage(slot).pointee.maxEntries.store(maxEntries ?? .max, ordering: .relaxed)
    }
}
