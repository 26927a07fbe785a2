package import PantlerModel
import Synchronization

/// How far the sweep over the tier's records has come.
package struct SweepPosition: Sendable {
    package fileprivate(set) var shard = 0
    /// Records from this number on have been looked at; 0 = none has.
    fileprivate var from: UInt32 = 0
}

extension MemoryTier {
    /// Where the next step is to be done, by `MemoryShard.sweep`. Used by one thread at a time.
    package var sweepPosition: SweepPosition { sweep.withLock { $0 } }

    /// Notes how far a step has come.
    ///
    /// - Returns: whether the step ended a pass over all shards.
    package func noteSwept(_ position: SweepPosition) -> Bool {
        var next = position
        if next.from == 0 { next.shard = (next.shard + 1) % shardCount }
        let stored = next
        sweep.withLock { $0 = stored }
        return next.from == 0 && next.shard == 0
    }
}

extension MemoryShard {
    /// A small step of background work. It shows up to `limit` records to `isDead` and removes those of which that is true; then it
    /// compacts a part of a segment of which at least half is holes, and gives all memory back if the shard is empty.
    ///
    /// Complexity: O(`limit`), and 64 KiB of compaction at most.
    package mutating func sweep(
        _ position: inout SweepPosition,
        limit: Int,
        _ isDead: (EntryView, NamespaceSlot) -> Bool
    ) {
        // The step goes from the last record to the first, because records are only ever moved towards the first.
        var number = position.from == 0 ? records.end : min(position.from, records.end)
        var left = limit
        while number > 1, left > 0 {
            left -= 1
            number -= 1
            let record = records[number].pointee
            guard record.isLive, isDead(view(record), record.slot) else { continue }
            remove(EntryRef(number: number))
            number = min(number, records.end)
        }
        position.from = number > 1 ? number : 0
        compact(limit: 64 << 10, worth: log.segmentBytes / 2)
        releaseIfEmpty()
    }
}
