import Synchronization

extension MemoryTier {
    /// Hashes of the most recently used entries, hottest first over all shards and namespaces, at most `limit`.
    ///
    /// - Parameters:
    ///   - includes: whether a namespace's entries are asked for.
    ///   - withShard: takes the shards' locks, one at a time.
    ///
    /// An entry that is used meanwhile may be missing, or stand where it stood before. Complexity: O(limit x log limit + namespaces). At
    /// most 1000 entries are collected under one hold of a lock.
    package func hotHashes(
        limit: Int,
        of includes: (NamespaceSlot) -> Bool,
        _ withShard: ShardAccess
    ) -> [UInt64] {
        var hottest: [HotEntry] = []
        // An entry that was last used before this moment cannot be among the hottest any more.
        var cutoff: UInt64 = 0
        var fresh = 0
        for number in 0..<shardCount {
            var slot = 0
            var last: HotEntry?
            var slotEnd = 0
            withShard(number) { slotEnd = $0.slotEnd }
            while slot < slotEnd {
                if !includes(slot) {
                    slot += 1
                    continue
                }
                var piece: [HotEntry] = []
                withShard(number) { shard in
                    slotEnd = shard.slotEnd
                    piece = shard.hottest(slot, after: last, since: cutoff, limit: min(limit, 1000))
                }
                hottest += piece
                fresh += piece.count
                last = piece.last
                if piece.isEmpty { slot += 1 }
                if fresh > max(limit, 1000) {
                    cutoff = Self.keepHottest(&hottest, limit)
                    fresh = 0
                }
            }
        }
        _ = Self.keepHottest(&hottest, limit)
        return hottest.map(\.hash)
    }

    /// Sorts the entries and keeps the hottest `limit`. Returns the stamp of the last of them; 0 if there are fewer.
    private static func keepHottest(_ entries: inout [HotEntry], _ limit: Int) -> UInt64 {
        entries.sort { $0.stamp > $1.stamp }
        if entries.count > limit { entries.removeLast(entries.count - limit) }
        return entries.count == limit ? entries.last?.stamp ?? 0 : 0
    }
}

/// An entry as the walk along a recency list sees it.
struct HotEntry {
    var number: UInt32
    var hash: UInt64
    var stamp: UInt64
}

extension MemoryShard {
    /// The next entries of a list, at most `limit`, from the newest down to the stamp `since`. `last` is the last entry of the piece
    /// before: if it has been used or has left meanwhile, the walk goes on where its stamp would stand.
    func hottest(_ slot: NamespaceSlot, after last: HotEntry?, since: UInt64, limit: Int) -> [HotEntry] {
        var number = lists[slot].newest
        if let last {
            if last.number < records.end, isStill(last, slot) {
                number = records[last.number].pointee.older
            } else {
                while number != 0, records[number].pointee.stamp >= last.stamp {
                    number = records[number].pointee.older
                }
            }
        }
        var found: [HotEntry] = []
        found.reserveCapacity(limit)
        while number != 0, found.count < limit {
            let record = records[number].pointee
            if record.stamp < since { break }
            found.append(HotEntry(number: number, hash: record.hash, stamp: record.stamp))
            number = record.older
        }
        return found
    }

    private func isStill(_ entry: HotEntry, _ slot: NamespaceSlot) -> Bool {
        let record = records[entry.number].pointee
        return record.isLive && record.hash == entry.hash && record.stamp == entry.stamp && record.slot == slot
    }
}
