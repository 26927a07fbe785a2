import PantlerInsight
package import PantlerModel
import Synchronization

/// The memory tier: entries of all namespaces, bounded in bytes that are really the process's, least recently used
/// first to leave.
///
/// Shards are chosen by the hash's highest bits, and each is under its own lock; see `Shard` for what is inside,
/// `Record` for what an entry costs. This file is the tier's face; `MemoryTier+Room` keeps it within its bounds,
/// `MemoryTier+Sweep` is its background work.
package final class MemoryTier: Sendable {
    /// Values longer than this have an allocation of their own.
    package static let largeValueBytes = 16 << 10

    package let shardCount: Int
    let ledger: Ledger
    let segmentBytes: Int
    /// Where the sweep stands.
    let sweep = Mutex(SweepPosition())
    private let attached: Mutex<[Bool]>
    /// A hash shifted right by it is a shard's number.
    private let shardShift: UInt64
    // `shardCount` shards, each in cache lines of its own, in memory that is allocated in `init` and freed in `deinit`;
    // what lies there is only ever used through its `Mutex`.
    nonisolated(unsafe) private let shards: UnsafeMutableRawPointer
    /// Bytes from one shard to the next.
    private static let stride = (MemoryLayout<Mutex<Shard>>.stride + 127) & ~127

    /// - Parameters:
    ///   - maxBytes: bound of all the memory that the tier holds, its own tables and the miss memory included. 0 = off:
    ///     nothing is kept (each insert is rejected), but locks, tallies, miss memory and pending loads work.
    ///   - shardCount: rounded down to a power of two, and to what `maxBytes` can feed (1 MiB a shard).
    ///   - maxNamespaces: how many may be attached at a time, at most 16,384.
    ///   - missMemoryBytes: what remembers why keys left; at most an eighth of `maxBytes` unless that is 0.
    package init(maxBytes: Int, shardCount: Int = 16, maxNamespaces: Int = 1024, missMemoryBytes: Int = 1 << 20) {
        let count = Geometry.shards(wanted: shardCount, maxBytes: maxBytes)
        let geometry = Geometry(maxBytes: maxBytes, shardCount: count)
        let missBytes = maxBytes > 0 ? min(missMemoryBytes, maxBytes / 8) : missMemoryBytes
        self.shardCount = count
        segmentBytes = geometry.segmentBytes
        shardShift = UInt64(64 - count.trailingZeroBitCount)
        let slots = max(1, min(maxNamespaces, Record.slotLimit))
        ledger = Ledger(maxBytes: maxBytes, shardCount: count, slotCapacity: slots)
        attached = Mutex(Array(repeating: false, count: slots))
        shards = .allocate(byteCount: Self.stride * count, alignment: 128)
        for number in 0..<count {
            let shard = Shard(
                number: number,
                ledger: ledger,
                geometry: geometry,
                missMemoryBytes: missBytes / count
            )
            (shards + number * Self.stride).initializeMemory(as: Mutex<Shard>.self, to: Mutex(shard))
        }
    }

    deinit {
        for number in 0..<shardCount { shard(number).deinitialize(count: 1) }
        shards.deallocate()
    }

    func shard(_ number: Int) -> UnsafeMutablePointer<Mutex<Shard>> {
        (shards + number * Self.stride).assumingMemoryBound(to: Mutex<Shard>.self)
    }

    /// Runs `body` under the lock of the shard that a hash belongs to. No I/O and no other shard's lock inside.
    package func withShard(_ hash: UInt64, _ body: (inout Shard) -> Void) {
        shard(number(of: hash)).pointee.withLock { body(&$0) }
    }

    /// The shard that a hash belongs to.
    @inline(__always)
    func number(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> shardShift) }

    /// The same for a shard by its number, for those who walk over all of them in steps.
    package func withShard(number: Int, _ body: (inout Shard) -> Void) {
        shard(number).pointee.withLock { body(&$0) }
    }

    /// Runs `body` for each shard, one after the other, each under its own lock.
    package func withEachShard(_ body: (Int, inout Shard) -> Void) {
        for number in 0..<shardCount { shard(number).pointee.withLock { body(number, &$0) } }
    }

    // MARK: Bounds and figures

    package var maxBytes: Int { ledger.maxBytes.load(ordering: .relaxed) }

    /// Takes effect at the next `makeRoom`, which after a much smaller bound has a lot to do. The sizes of the pieces
    /// in which memory is taken stay as they were chosen for the first bound.
    package func setMaxBytes(_ bytes: Int) { ledger.maxBytes.store(bytes, ordering: .relaxed) }

    /// All that the tier holds from the system. Complexity: O(1).
    package var bytes: Int { ledger.held.load(ordering: .relaxed) }

    /// Complexity: O(shards).
    package var entries: Int {
        (0..<shardCount).reduce(0) { $0 + ledger.signals($1).pointee.entries.load(ordering: .relaxed) }
    }

    /// What a namespace holds, in entries and in what these cost (see `Record`), and how many made room for others
    /// since it was attached. Complexity: O(1).
    package func usage(_ slot: NamespaceSlot) -> (entries: Int64, bytes: Int64, evictions: UInt64) {
        let usage = ledger.usage(slot)
        return (
            usage.pointee.entries.load(ordering: .relaxed), usage.pointee.bytes.load(ordering: .relaxed),
            usage.pointee.evictions.load(ordering: .relaxed)
        )
    }

    // MARK: Namespaces

    /// A slot for a namespace, with these quotas; `nil` if `maxNamespaces` have one already. Complexity: O(namespaces).
    package func attach(_ id: NamespaceID, maxBytes: Int64?, maxEntries: Int64?) -> NamespaceSlot? {
        let slot: NamespaceSlot? = attached.withLock { attached in
            guard let slot = attached.firstIndex(of: false) else { return nil }
            attached[slot] = true
            return slot
        }
        guard let slot else { return nil }
        ledger.usage(slot).pointee.evictions.store(0, ordering: .relaxed)
        setQuota(slot, maxBytes: maxBytes, maxEntries: maxEntries)
        withEachShard { _, shard in shard.attach(slot) }
        return slot
    }

    /// `nil` = as much as fits. Takes effect at the next `makeRoom`.
    package func setQuota(_ slot: NamespaceSlot, maxBytes: Int64?, maxEntries: Int64?) {
        ledger.usage(slot).pointee.maxBytes.store(maxBytes ?? .max, ordering: .relaxed)
        ledger.usage(slot).pointee.maxEntries.store(maxEntries ?? .max, ordering: .relaxed)
    }

    /// Removes a namespace's entries, at most 1000 under one hold of a lock, then frees the slot for another.
    ///
    /// Inserts into the slot are rejected from the moment that their shard was reached. The caller sees to it that none
    /// comes after the return: it marks the namespace as gone before this call, and looks at that mark under the
    /// shard's lock. Complexity: O(entries of the namespace).
    package func detach(_ slot: NamespaceSlot) {
        for number in 0..<shardCount {
            var isEmpty = false
            while !isEmpty {
                shard(number).pointee.withLock { shard in
                    shard.close(slot)
                    isEmpty = shard.removeAll(slot, limit: 1000) < 1000
                    if isEmpty { shard.releaseIfEmpty() }
                }
            }
        }
        attached.withLock { $0[slot] = false }
    }
}
