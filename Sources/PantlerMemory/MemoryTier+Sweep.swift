import PantlerInsight
import PantlerModel
import Synchronization

/// Where the background work stands.
struct SweepPosition {
    var shard = 0
    /// Records from this number on have been looked at; 0 = none has.
    var from: UInt32 = 0
}

extension MemoryTier {
    /// A small step of background work on one shard: shows up to `limit` records to `judge`, under the shard's lock,
    /// and removes those that it condemns; then empties a bit of a segment that is half holes, and gives back what an
    /// empty shard holds.
    ///
    /// - Returns: whether this step ended a pass over all shards.
    /// - Complexity: O(`limit`), and 64 KiB of compaction at most.
    package func sweepStep(limit: Int, judge: (EntryView, NamespaceSlot) -> SweepVerdict) -> Bool {
        var position = sweep.withLock { $0 }
        let number = position.shard
        shard(number).pointee.withLock { shard in
            position.from = shard.sweep(from: position.from, limit: limit, judge)
            shard.compact(limit: 64 << 10, worth: segmentBytes / 2)
            shard.releaseIfEmpty()
        }
        if position.from == 0 { position.shard = (number + 1) % shardCount }
        let next = position
        sweep.withLock { $0 = next }
        return next.from == 0 && next.shard == 0
    }
}

extension Shard {
    /// Returns where to go on, 0 at the end. From the last record to the first: records are only ever moved towards that.
    mutating func sweep(
        from: UInt32,
        limit: Int,
        _ judge: (EntryView, NamespaceSlot) -> SweepVerdict
    ) -> UInt32 {
        var number = from == 0 ? records.end : min(from, records.end)
        var left = limit
        while number > 1, left > 0 {
            left -= 1
            number -= 1
            let record = records[number].pointee
            guard record.isLive, case .remove(let reason) = judge(view(record), record.slot) else { continue }
            missMemory.record(record.hash, reason)
            if reason == .expired { tally[record.slot].expirations &+= 1 }
            remove(EntryRef(number: number))
            number = min(number, records.end)
        }
        return number > 1 ? number : 0
    }
}
