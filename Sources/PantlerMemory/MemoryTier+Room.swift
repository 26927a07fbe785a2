import Synchronization

// How the tier stays within its bounds.
//
// A namespace's quota counts what its entries cost. A namespace that is over its quota loses its own oldest entries until it is not. The
// tier's bound counts what is held from the system, and an entry that leaves gives nothing of that back by itself: its payload is a hole in
// a segment. So two things are done in turn: segments of which a fifth or more is holes are compacted, and when there are none, the oldest
// entries leave, which makes holes. Fuller segments are not compacted, so that a byte is copied no more than about four times for each byte
// that is freed.
//
// Each caller does a little of this work as soon as the tier comes near its bound, so that no insert waits for long and the bound is rarely
// reached. Where the bound is reached all the same (by a large value, or because it was lowered), the caller goes on until it holds.

extension MemoryTier {
    /// Whether there is room for an entry that is to stand behind all others; see `MemoryShard.insertOldest`.
    package enum RoomBehind {
        case enough
        /// The namespace's quota has no room left for this entry.
        case noneInNamespace
        /// The tier has no room left unless another entry leaves.
        case none
    }

    /// Whether there is room for one more entry of about `bytes` bytes (key, value, and all that belongs to it) without another one
    /// leaving for it. Complexity: O(1).
    package func roomBehind(_ slot: NamespaceSlot, bytes entryBytes: Int) -> RoomBehind {
        let soft = ledger.softBound(segmentBytes: segmentBytes)
        // A segment is counted as a whole when it is opened, so that a small entry that goes into it adds nothing.
        let isLarge = entryBytes > Self.largeValueBytes
        if bytes >= soft || isLarge && bytes + entryBytes > soft { return .none }
        let usage = ledger.usage(slot)
        let cost = Int64(entryBytes + MemoryShard.fixedCost)
        let isFull =
            usage.pointee.entries.load(ordering: .relaxed) >= usage.pointee.maxEntries.load(ordering: .relaxed)
            || usage.pointee.bytes.load(ordering: .relaxed) + cost > usage.pointee.maxBytes.load(ordering: .relaxed)
        return isFull ? .noneInNamespace : .enough
    }

    /// The steps until a namespace's quota and the tier's bound hold again; see `RoomMaking`. Complexity: O(1).
    package func makingRoom(_ slot: NamespaceSlot) -> RoomMaking { RoomMaking(self, slot) }
}

/// An order that the oldest entries of one namespace or of all leave, with the age that they must have.
package struct EvictionOrder {
    /// The namespace that the order concerns; `nil` = all.
    let slot: NamespaceSlot?
    /// No entry in another shard is older than this.
    let runnerUp: UInt64
}

/// The steps that bring a namespace within its quota and the tier within its bound. They are to be taken after each insert, outside of any
/// lock, until `next` returns `nil`.
///
/// While many threads insert, the tier may be over its bound by what those took that have not finished these steps. Complexity: O(1) while
/// nothing is over its bound; O(shards) for each entry evicted for a quota, O(shards + namespaces) for the tier.
package struct RoomMaking {
    package enum Step {
        /// Empty a bit of a shard's sparsest segment, by `RoomMaking.compact`.
        case compact(shard: Int)
        /// Evict some of a shard's oldest entries: `MemoryShard.oldest` as long as it finds one, then `MemoryShard.endEviction`.
        case evict(shard: Int, EvictionOrder)
    }

    /// Entries that are evicted under one hold of a shard's lock, at most.
    package static let evictionStep = 8
    /// A segment is compacted if at least one part in so many of it is holes.
    private static let compactionDivisor = 5
    /// Bytes of a segment looked at under one hold of a shard's lock.
    private static let compactionStep = 16 << 10
    /// Steps that a caller takes at most while the tier is only near its bound.
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
            // Compaction moves each block from a segment with holes into one without, so that it comes to an end.
            let candidate = ledger.mostReclaimable()
            if candidate.bytes * Self.compactionDivisor >= tier.segmentBytes { return .compact(shard: candidate.shard) }
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
            worth: tier.segmentBytes / Self.compactionDivisor
        )
    }

    /// Whether one more entry has to leave. One large value may have made all the room that is needed.
    package func goesOn(_ order: EvictionOrder) -> Bool {
        guard let slot = order.slot else { return tier.bytes > soft }
        return tier.ledger.usage(slot).pointee.isOver
    }
}
