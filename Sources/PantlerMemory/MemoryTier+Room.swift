package import PantlerModel
import Synchronization

// How the tier stays within its bounds.
//
// A namespace's quota counts what its entries cost: whoever is over it evicts exactly that namespace's oldest, until it
// is not. The tier's bound counts what is held from the system, and an entry that leaves gives nothing back by itself:
// its payload is a hole in a segment. So two things are done by turns: segments with a fifth of holes are compacted,
// and when there are none, the oldest entries leave, which makes holes. Holding back from compacting fuller segments is
// what keeps a byte from being copied more than about four times for each byte that is freed.
//
// Each caller does a little of it, as soon as the tier comes near its bound: so an insert never waits for long, and the
// bound is rarely reached. Where it is all the same (a large value, a lowered bound), the caller goes on until it
// holds.
/// An entry that has left to make room.
package struct Evicted {
    package let hash: UInt64
    package let slot: NamespaceSlot
    /// In microseconds of the clock's monotonic time.
    package let lastUse: UInt64
}

extension MemoryTier {
    /// What an entry finds that is to come behind all others; see `Shard.insertOldest`.
    package enum RoomBehind {
        case enough
        /// Its namespace has none left, or not for one of this size.
        case noneInNamespace
        /// The tier has none left without another entry leaving.
        case none
    }

    /// Whether there is room for one more entry of about `bytes` bytes (key, value, and all that belongs to it) without another one
    /// leaving for it. Complexity: O(1).
    package func roomBehind(_ slot: NamespaceSlot, bytes entryBytes: Int) -> RoomBehind {
        let soft = ledger.softBound(segmentBytes: segmentBytes)
        // Segments are counted as a whole when they are opened: what goes into one costs no more.
        let isLarge = entryBytes > Self.largeValueBytes
        if bytes >= soft || isLarge && bytes + entryBytes > soft { return .none }
        let usage = ledger.usage(slot)
        let cost = Int64(entryBytes + Shard.fixedCost)
        let isFull =
            usage.pointee.entries.load(ordering: .relaxed) >= usage.pointee.maxEntries.load(ordering: .relaxed)
            || usage.pointee.bytes.load(ordering: .relaxed) + cost > usage.pointee.maxBytes.load(ordering: .relaxed)
        return isFull ? .noneInNamespace : .enough
    }

    /// Share of a segment that must be holes for it to be compacted.
    private static let worthCompacting = 5
    /// Bytes of a segment looked at, and entries evicted, under one hold of a shard's lock.
    private static let compactionStep = 16 << 10
    private static let evictionStep = 8

    /// To be called after each insert, outside of any lock: evicts least recently used entries until the namespace's
    /// quota and the tier's bound hold again.
    ///
    /// Why each left is recorded in the miss memory of the entry's shard, as `reason` has it, which is asked under the
    /// shard's lock: an entry may have been dead already when its turn came. `evicted` is called, without a lock, for
    /// each that left. While many threads insert, the tier is over its bound by what those took that have not come back from here
    /// yet. Complexity: O(1) while nothing is over; O(shards) for each entry evicted for a quota, O(shards +
    /// namespaces) for the tier.
    package func makeRoom(
        _ slot: NamespaceSlot,
        evicted: (Evicted) -> Void = { _ in },
        reason: (EntryView, NamespaceSlot) -> MissReason = { _, _ in .evicted }
    ) {
        let usage = ledger.usage(slot)
        while usage.pointee.isOver {
            guard evictOldest(slot, while: { usage.pointee.isOver }, reason, evicted) else { break }
        }
        let limit = maxBytes
        let soft = ledger.softBound(segmentBytes: segmentBytes)
        guard bytes > soft else { return }
        var steps = 0
        while bytes > limit || bytes > soft && steps < 2 {
            steps += 1
            if compactSparsest() { continue }
            // A large value alone may bring all that is needed.
            guard evictOldest(nil, while: { bytes > soft }, reason, evicted) else { break }
        }
    }

    /// Empties a bit of the sparsest segment of all shards. Returns `false` if none is sparse enough, or there is no
    /// memory to move its blocks to. Each block is moved from a segment with holes into one without: it does not go on
    /// for ever.
    private func compactSparsest() -> Bool {
        let candidate = ledger.mostReclaimable()
        guard candidate.bytes * Self.worthCompacting >= segmentBytes else { return false }
        var hadMemory = true
        shard(candidate.shard).pointee.withLock {
            hadMemory = $0.compact(limit: Self.compactionStep, worth: segmentBytes / Self.worthCompacting)
        }
        return hadMemory
    }

    /// Evicts up to `evictionStep` of the oldest entries; returns `false` if there is none.
    private func evictOldest(
        _ slot: NamespaceSlot?,
        while more: () -> Bool,
        _ reason: (EntryView, NamespaceSlot) -> MissReason,
        _ evicted: (Evicted) -> Void
    ) -> Bool {
        guard let (number, runnerUp) = ledger.oldestShard(slot) else { return false }
        withUnsafeTemporaryAllocation(of: Evicted.self, capacity: Self.evictionStep) { left in
            var count = 0
            shard(number).pointee.withLock { shard in
                let more = { count < Self.evictionStep && more() }
                shard.evict(slot, notAfter: runnerUp, while: more, reason) { evicted in
                    left.initializeElement(at: count, to: evicted)
                    count += 1
                }
            }
            // Out of the lock: what is done about an entry that left is not the shard's business.
            for index in 0..<count { evicted(left[index]) }
        }
        return true
    }
}
