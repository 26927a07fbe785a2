internal import CPantler
import Synchronization

// A lookup waits for the memory that it reads: for the record, then for key and value. Each wait takes hundreds of cycles once the entries
// are more than the processor's caches hold. A batch of lookups knows beforehand what it will read, so that these waits can overlap.

/// The record in which a hash was last seen. It spares `MemoryShard.find` the way through the index.
package struct EntryHint {
    /// The number of the record; 0 = the hash was not seen.
    let number: UInt32

    package static let none = EntryHint(number: 0)
}

extension MemoryTier {
    /// The most hashes that `readAhead` takes at a time: what is fetched for them has to stay in the caches until it is used.
    package static let readAheadLimit = 128

    /// Has the processor fetch what lookups of these hashes are about to read, and hints at where that is. It changes nothing, and a hint
    /// may be out of date: an entry may have moved or left by the time that it is looked up.
    ///
    /// Complexity: O(hashes + shards); each shard's lock is taken once at most.
    ///
    /// - Parameters:
    ///   - hints: initialised here, one for each hash.
    ///   - withShard: takes the shards' locks, one at a time.
    package func readAhead(
        _ hashes: UnsafeBufferPointer<UInt64>,
        _ hints: UnsafeMutableBufferPointer<EntryHint>,
        _ withShard: ShardAccess
    ) {
        hints.initialize(repeating: .none)
        // For three hashes or fewer, the waits are shorter than the work of overlapping them.
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

    /// Groups the places of the hashes by shard. `ends` tells where each shard's group ends in `places`.
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
    /// Prefetches what lookups of the hashes at `places` will read: the first records of all chains, and then all payloads, so that the
    /// waits overlap.
    fileprivate func readAhead(
        _ hashes: UnsafeBufferPointer<UInt64>,
        _ places: UnsafeBufferPointer<Int>,
        _ hints: UnsafeMutableBufferPointer<EntryHint>
    ) {
        // Number 0 stands for no record. Its place is prefetched all the same, and has memory as soon as there is a record.
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

    /// Prefetches what a hit reads after its record: the payload, and the neighbours in the recency list, from between which `promote`
    /// takes the record.
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

    /// Bytes of a payload that are prefetched at most. What follows is read in sequence, which the processor recognises by itself.
    private static let readAheadBytes = 512
}
