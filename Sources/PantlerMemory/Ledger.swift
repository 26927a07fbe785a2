import Synchronization

/// The numbers that the shards share: what is held, what each namespace uses and may use, and where the oldest entries are. All atomics are
/// relaxed: none of them publishes other memory. A thread acts on one of these figures only after it has taken the lock of the shard
/// concerned and looked at the shard itself.
///
/// A hit reads and writes nothing here.
final class Ledger: Sendable {
    /// The stamp that stands for "nothing is here".
    static let noStamp = UInt64.max

    /// What a namespace uses in all shards together. It is as large as a cache line, since each write of the namespace changes it.
    struct SlotUsage: ~Copyable {
        let entries = Atomic<Int64>(0)
        let bytes = Atomic<Int64>(0)
        let evictions = Atomic<UInt64>(0)
        let maxBytes = Atomic<Int64>(.max)
        let maxEntries = Atomic<Int64>(.max)
        private let padding: (Int64, Int64, Int64) = (0, 0, 0)

        var isOver: Bool {
            entries.load(ordering: .relaxed) > maxEntries.load(ordering: .relaxed)
                || bytes.load(ordering: .relaxed) > maxBytes.load(ordering: .relaxed)
        }
    }

    /// What a shard tells the others. It is written only under the shard's lock, and read without it. It is as large as a cache line.
    struct ShardSignals: ~Copyable {
        /// No entry of the shard has a smaller stamp.
        let oldest = Atomic<UInt64>(noStamp)
        /// Dead bytes of the shard's sparsest segment.
        let reclaimable = Atomic<Int>(0)
        let entries = Atomic<Int>(0)
        private let padding: (Int64, Int64, Int64, Int64, Int64) = (0, 0, 0, 0, 0)
    }

    /// Where the shards' memory comes from.
    let extents = Extents()
    let shardCount: Int
    let slotCapacity: Int
    let maxBytes: Atomic<Int>
    /// Bytes that the tier holds from the system.
    let held = Atomic<Int>(0)
    /// The part of `held` that does not depend on entries.
    let fixed = Atomic<Int>(0)
    // The three arrays are allocated in `init`, freed in `deinit`, never change their place between, and hold nothing
    // but atomics: any thread may use them as long as it has the ledger.
    nonisolated(unsafe) private let usages: UnsafeMutablePointer<SlotUsage>
    nonisolated(unsafe) private let shards: UnsafeMutablePointer<ShardSignals>
    /// At `[slot * shardCount + shard]`, a stamp that no entry of that list is older than. It is a lower bound and not the stamp of the
    /// list's oldest entry, so that a hit on that entry writes nothing here. Whoever evicts corrects the bound under the shard's lock, and
    /// looks again.
    nonisolated(unsafe) private let oldest: UnsafeMutablePointer<Atomic<UInt64>>

    init(maxBytes: Int, shardCount: Int, slotCapacity: Int) {
        self.maxBytes = Atomic(maxBytes)
        self.shardCount = shardCount
        self.slotCapacity = slotCapacity
        usages = .allocate(capacity: slotCapacity)
        shards = .allocate(capacity: shardCount)
        oldest = .allocate(capacity: slotCapacity * shardCount)
        for slot in 0..<slotCapacity { (usages + slot).initialize(to: SlotUsage()) }
        for shard in 0..<shardCount { (shards + shard).initialize(to: ShardSignals()) }
        for index in 0..<slotCapacity * shardCount { (oldest + index).initialize(to: Atomic(Self.noStamp)) }
        holdForGood(slotCapacity * (MemoryLayout<SlotUsage>.stride + 8 * shardCount))
    }

    deinit {
        usages.deinitialize(count: slotCapacity).deallocate()
        shards.deinitialize(count: shardCount).deallocate()
        oldest.deinitialize(count: slotCapacity * shardCount).deallocate()
    }

    func hold(_ bytes: Int) { held.wrappingAdd(bytes, ordering: .relaxed) }
    func release(_ bytes: Int) { held.wrappingSubtract(bytes, ordering: .relaxed) }

    /// The bound that the tier keeps as far as it can, in bytes: `maxBytes` less room for the segments, chunks and blocks that are taken
    /// next, so that there is time to reclaim memory before `maxBytes` is reached.
    func softBound(segmentBytes: Int) -> Int {
        let limit = maxBytes.load(ordering: .relaxed)
        return limit - min(4 * segmentBytes, limit / 16)
    }

    func holdForGood(_ bytes: Int) {
        hold(bytes)
        fixed.wrappingAdd(bytes, ordering: .relaxed)
    }

    func usage(_ slot: NamespaceSlot) -> UnsafeMutablePointer<SlotUsage> { usages + slot }
    func signals(_ shard: Int) -> UnsafeMutablePointer<ShardSignals> { shards + shard }

    /// Counts an entry that was added. To be called with the shard's lock held, like `publishOldest`.
    func added(_ slot: NamespaceSlot, bytes: Int, stamp: UInt64, shard: Int, isOldest: Bool) {
        usages[slot].entries.wrappingAdd(1, ordering: .relaxed)
        usages[slot].bytes.wrappingAdd(Int64(bytes), ordering: .relaxed)
        guard isOldest else { return }
        let list = oldest + (slot * shardCount + shard)
        if stamp < list.pointee.load(ordering: .relaxed) { list.pointee.store(stamp, ordering: .relaxed) }
        if stamp < shards[shard].oldest.load(ordering: .relaxed) {
            shards[shard].oldest.store(stamp, ordering: .relaxed)
        }
    }

    func removed(_ slot: NamespaceSlot, bytes: Int) {
        usages[slot].entries.wrappingSubtract(1, ordering: .relaxed)
        usages[slot].bytes.wrappingSubtract(Int64(bytes), ordering: .relaxed)
    }

    func publishOldest(_ slot: NamespaceSlot, shard: Int, _ stamp: UInt64) {
        oldest[slot * shardCount + shard].store(stamp, ordering: .relaxed)
    }

    func oldestBound(_ slot: NamespaceSlot, shard: Int) -> UInt64 {
        oldest[slot * shardCount + shard].load(ordering: .relaxed)
    }

    /// The shard that may have the oldest entry of a slot, or of all slots where `slot` is `nil`; and a stamp that no entry in another
    /// shard is older than. The answer is `nil` when there are no entries. Complexity: O(shards).
    func oldestShard(_ slot: NamespaceSlot?) -> (shard: Int, runnerUp: UInt64)? {
        var best = Self.noStamp
        var runnerUp = Self.noStamp
        var found = 0
        for shard in 0..<shardCount {
            let stamp =
                if let slot { oldestBound(slot, shard: shard) } else { shards[shard].oldest.load(ordering: .relaxed) }
            if stamp < best {
                runnerUp = best
                best = stamp
                found = shard
            } else if stamp < runnerUp {
                runnerUp = stamp
            }
        }
        return best == Self.noStamp ? nil : (found, runnerUp)
    }

    /// The shard with the sparsest segment, and the bytes that are dead there. Complexity: O(shards).
    func mostReclaimable() -> (shard: Int, bytes: Int) {
        var best = (shard: 0, bytes: 0)
        for shard in 0..<shardCount {
            let bytes = shards[shard].reclaimable.load(ordering: .relaxed)
            if bytes > best.bytes { best = (shard, bytes) }
        }
        return best
    }
}
