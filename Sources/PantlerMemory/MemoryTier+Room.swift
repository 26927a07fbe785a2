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

extension MemoryTier {
    /// What an entry finds that is to come behind all others; see `MemoryShard.insertOldest`.
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
        let cost = Int64(entryBytes + MemoryShard.fixedCost)
        let isFull =
            usage.pointee.entries.load(ordering: .relaxed) >= usage.pointee.maxEntries.load(ordering: .relaxed)
            || usage.pointee.bytes.load(ordering: .relaxed) + cost > usage.pointee.maxBytes.load(ordering: .relaxed)
        return isFull ? .noneInNamespace : .enough
    }

    /// What is to be done until a namespace's quota and the tier's bound hold again; see `RoomMaking`. Complexity: O(1).
    package func makingRoom(_ slot: NamespaceSlot) -> RoomMaking { RoomMaking(self, slot) }
}

/// Whose oldest entries are to leave, and how old these have to be.
package struct EvictionOrder {
    /// `nil` = those of all namespaces.
    let slot: NamespaceSlot?
    /// No entry in another shard is older than this.
    let runnerUp: UInt64
}

/// The steps that bring a namespace within its quota and the tier within its bound, to be taken after each insert, outside of any lock, as
/// long as there is a next one.
///
/// While many threads insert, the tier is over its bound by what those took that have not come to the end of these steps yet. Complexity: O(1)
/// while nothing is over; O(shards) for each entry evicted for a quota, O(shards + namespaces) for the tier.
package struct RoomMaking {
    package enum Step {
        /// Empty a bit of a shard's sparsest segment, by `RoomMaking.compact`.
        case compact(shard: Int)
        /// Evict some of a shard's oldest entries: `MemoryShard.oldest` as long as it finds one, then `MemoryShard.endEviction`.
        case evict(shard: Int, EvictionOrder)
    }

    /// Entries that are evicted under one hold of a shard's lock, at most.
    package static let evictionStep = 8
    /// Share of a segment that must be holes for it to be compacted.
    private static let worthCompacting = 5
    /// Bytes of a segment looked at under one hold of a shard's lock.
    private static let compactionStep = 16 << 10
    /// Steps that a caller takes while the tier is only near its bound.
    private static let courtesySteps = 2

    private let tier: MemoryTier
    private let slot: NamespaceSlot
    private let soft: Int
    private var steps = 0
    private var hasNoMemory = false

    fileprivate init(_ tier: MemoryTier, _ slot: NamespaceSlot) {
        self.tier = tier
        self.slot = slot
        soft = tier.ledger.softBound(segmentBytes: tier.segmentBytes)
    }

    package mutating func next() -> Step? {
        let ledger = tier.ledger
        if ledger.usage(slot).pointee.isOver, let (shard, runnerUp) = ledger.oldestShard(slot) {
            return .evict(shard: shard, EvictionOrder(slot: slot, runnerUp: runnerUp))
        }
        let bytes = tier.bytes
        guard bytes > soft else { return nil }
        if !hasNoMemory {
            guard bytes > tier.maxBytes || steps < Self.courtesySteps else { return nil }
            steps += 1
            // Each block is moved from a segment with holes into one without: it does not go on for ever.
            let candidate = ledger.mostReclaimable()
            if candidate.bytes * Self.worthCompacting >= tier.segmentBytes { return .compact(shard: candidate.shard) }
        }
        hasNoMemory = false
        guard let (shard, runnerUp) = ledger.oldestShard(nil) else { return nil }
        return .evict(shard: shard, EvictionOrder(slot: nil, runnerUp: runnerUp))
    }

    /// Compacts a shard as its step asks. Under the shard's lock.
    package mutating func compact(_ shard: inout MemoryShard) {
        // Where there is no memory to move anything to, entries leave instead.
        hasNoMemory = !shard.compact(
            limit: Self.compactionStep,
            worth: tier.segmentBytes / Self.worthCompacting
        )
    }

    /// Whether one more entry has to leave. A large value alone may bring all that is needed.
    package func goesOn(_ order: EvictionOrder) -> Bool {
        guard let slot = order.slot else { return tier.bytes > soft }
        return tier.ledger.usage(slot).pointee.isOver
    }
}
