internal import CPantler
import Synchronization

// Lookups one after the other each wait for the memory that they read: a record, then its key and value, hundreds of cycles every
// time once the entries are more than the processor's caches hold. A batch knows beforehand what it will read, so
// that these waits can overlap.

/// Where a hash was last seen: spares `MemoryShard.find` the way there.
package struct EntryHint {
    /// 0 = nowhere.
    let number: UInt32

    package static let none = EntryHint(number: 0)
}

extension MemoryTier {
    /// How many hashes `readAhead` takes at a time: what lies behind them has to stay in the caches until it is used.
    package static let readAheadLimit = 128

    /// Has the processor fetch what lookups of these hashes are about to read, and tells where that is. It changes nothing and
    /// promises nothing: an entry may have moved or left by the time that it is looked up.
    ///
    /// Complexity: O(hashes + shards); each shard's lock is taken once at most.
    ///
    /// - Parameters:
    ///   - hints: initialised here, one a hash.
    ///   - withShard: takes the shards' locks, one at a time.
    package func readAhead(
        _ hashes: UnsafeBufferPointer<UInt64>,
        _ hints: UnsafeMutableBufferPointer<EntryHint>,
        _ withShard: ShardAccess
    ) {
        hints.initialize(repeating: .none)
        // A few waits are shorter than the work to have them overlap.
        guard hashes.count > 3 else { return }
        withUnsafeTemporaryAllocation(of: Int.self, capacity: hashes.count) { places in
            withUnsafeTemporaryAllocation(of: Int.self, capacity: shardCount) { ends in
                sort(hashes, into: places, ends)
                var start = 0
                for number in 0..<shardCount where ends[number] > start {
                    let group = UnsafeBufferPointer(rebasing: places[start..<ends[number]])
                    withShard(number) { $0.readAhead(hashes, group, hints) }
                    start = ends[number]
                }
            }
        }
    }

    /// Puts the places of a shard's hashes together, shard after shard; `ends` says where each shard's end.
    private func sort(
        _ hashes: UnsafeBufferPointer<UInt64>,
        into places: UnsafeMutableBufferPointer<Int>,
        _ ends: UnsafeMutableBufferPointer<Int>
    ) {
        ends.initialize(repeating: 0)
        for hash in hashes { ends[shard(of: hash)] += 1 }
        var sum = 0
        for number in ends.indices {
            sum += ends[number]
            ends[number] = sum - ends[number]
        }
        for (place, hash) in hashes.enumerated() {
            let number = shard(of: hash)
            places.initializeElement(at: ends[number], to: place)
            ends[number] += 1
        }
    }
}

extension MemoryShard {
    /// Asks for what lookups of the hashes at `places` will read, all of one kind before the next, so that no read waits for another.
    fileprivate func readAhead(
        _ hashes: UnsafeBufferPointer<UInt64>,
        _ places: UnsafeBufferPointer<Int>,
        _ hints: UnsafeMutableBufferPointer<EntryHint>
    ) {
        // Record 0 is none, but has memory as soon as there is a record.
        guard records.end > 1 else { return }
        for place in places { pantler_prefetch(records[index.first(hashes[place])]) }
        for place in places {
            let hash = hashes[place]
            var number = index.first(hash)
            while number != 0, records[number].pointee.hash != hash { number = records[number].pointee.next }
            hints[place] = EntryHint(number: number)
            if number != 0 { readAhead(records[number]) }
        }
    }

    /// Asks for what a hit reads after its record, all at once: the payload, and the neighbours between which `promote` takes it out.
    @inline(__always)
    func readAhead(_ record: UnsafeMutablePointer<Record>) {
        let block = log.address(record.pointee.payload)
        let size = min(4 + record.pointee.keyLength + record.pointee.valueLength, Self.readAheadBytes)
        var offset = 0
        while offset < size {
            pantler_prefetch(block + offset)
            offset += 64
        }
        pantler_prefetch(records[record.pointee.newer])
        pantler_prefetch(records[record.pointee.older])
    }

    /// What is longer is read in a row, which the processor sees by itself.
    private static let readAheadBytes = 512
}
