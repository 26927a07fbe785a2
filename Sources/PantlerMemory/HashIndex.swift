/// Finds records by their hashes. Each bucket has a chain of record numbers; there is at most one record a bucket on average.
///
/// The index grows and shrinks a bucket at a time (linear hashing, Litwin 1980), so that no operation ever waits for a table to be copied.
/// Buckets are chosen by the hash's low bits; its high bits have chosen the shard.
struct HashIndex: ~Copyable {
    private var blocks: BlockTable
    private let shift: Int
    /// Buckets in use; 0 until something is added.
    private(set) var bucketCount = 0
    /// The smallest power of two that is not below `bucketCount`, minus one.
    private var mask = 0

    var heldBytes: Int { blocks.heldBytes }

    init(_ geometry: Geometry, ledger: Ledger) {
        shift = geometry.chunkShift
        blocks = BlockTable(blockBytes: geometry.chunkRecords * 4, ledger: ledger)
    }

    /// The first record of the chain for a hash; 0 = none.
    func first(_ hash: UInt64) -> UInt32 {
        bucketCount == 0 ? 0 : slot(bucket(hash)).pointee
    }

    @inline(__always)
    func bucket(_ hash: UInt64) -> Int {
        let bucket = Int(truncatingIfNeeded: hash) & mask
        return bucket < bucketCount ? bucket : bucket & mask >> 1
    }

    func firstInBucket(_ bucket: Int) -> UInt32 { slot(bucket).pointee }

    /// Adds a record, and a bucket if there are more records than buckets. Returns `false` when there is no memory for the first block of
    /// buckets.
    mutating func add(_ number: UInt32, _ records: borrowing RecordSlab) -> Bool {
        if bucketCount == 0 {
            guard blocks.grow() else { return false }
            setCount(1 << shift)
        }
        let record = records[number]
        let first = slot(bucket(record.pointee.hash))
        record.pointee.next = first.pointee
        first.pointee = number
        if records.liveCount > bucketCount { addBucket(records) }
        return true
    }

    mutating func remove(_ number: UInt32, _ records: borrowing RecordSlab) {
        let link = self.link(to: number, records[number].pointee.hash, records)
        link.pointee = records[number].pointee.next
        if bucketCount > 1 << shift, records.liveCount < bucketCount * 5 / 8 {
            dropBucket(records)
            dropBucket(records)
        }
    }

    /// Replaces a record's number in its chain by `new`, to which the record was copied.
    func renumber(_ old: UInt32, to new: UInt32, _ records: borrowing RecordSlab) {
        link(to: old, records[new].pointee.hash, records).pointee = new
    }

    /// Gives all memory back. To be called only when the index has no records.
    mutating func removeAll() {
        while blocks.count > 0 { blocks.shrink() }
        setCount(0)
    }

    @inline(__always)
    private func slot(_ bucket: Int) -> UnsafeMutablePointer<UInt32> {
        (blocks[bucket &>> shift] + (bucket & (1 &<< shift &- 1)) &* 4).assumingMemoryBound(to: UInt32.self)
    }

    /// The place that holds a record's number: its bucket, or `next` of the record before it in the chain.
    private func link(
        to number: UInt32,
        _ hash: UInt64,
        _ records: borrowing RecordSlab
    ) -> UnsafeMutablePointer<UInt32> {
        var link = slot(bucket(hash))
        while link.pointee != number { link = nextLink(records[link.pointee]) }
        return link
    }

    private func nextLink(_ record: UnsafeMutablePointer<Record>) -> UnsafeMutablePointer<UInt32> {
        (UnsafeMutableRawPointer(record) + nextOffset).assumingMemoryBound(to: UInt32.self)
    }

    private mutating func setCount(_ count: Int) {
        bucketCount = count
        mask = count <= 1 ? 0 : 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount) - 1
    }

    /// The bucket whose records are divided when `bucket` is added, and which takes them back when `bucket` is dropped.
    private func buddy(of bucket: Int) -> Int {
        bucket & ~(1 << (Int.bitWidth - 1 - bucket.leadingZeroBitCount))
    }

    private mutating func addBucket(_ records: borrowing RecordSlab) {
        let new = bucketCount
        // Where there is no memory for more buckets, the chains grow longer.
        if new >> shift == blocks.count, !blocks.grow() { return }
        setCount(new + 1)
        let fresh = slot(new)
        fresh.pointee = 0
        var link = slot(buddy(of: new))
        while link.pointee != 0 {
            let number = link.pointee
            let record = records[number]
            if bucket(record.pointee.hash) == new {
                link.pointee = record.pointee.next
                record.pointee.next = fresh.pointee
                fresh.pointee = number
            } else {
                link = nextLink(record)
            }
        }
    }

    private mutating func dropBucket(_ records: borrowing RecordSlab) {
        let last = bucketCount - 1
        guard last >= 1 << shift else { return }
        var end = slot(last)
        let first = end.pointee
        if first != 0 {
            while end.pointee != 0 { end = nextLink(records[end.pointee]) }
            let target = slot(buddy(of: last))
            end.pointee = target.pointee
            target.pointee = first
        }
        setCount(last)
        if last & (1 << shift - 1) == 0 { blocks.shrink() }
    }
}

/// Where `next` stands in a record: after the hash.
private let nextOffset = 8
