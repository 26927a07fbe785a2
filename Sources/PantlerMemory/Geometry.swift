/// How large the pieces are in which a tier takes memory from the system.
///
/// A shard's last segment, chunk and bucket block are on average half empty, so they are a 1/128 of what a shard may
/// hold, within bounds: small pieces waste little, large ones keep the number of the process's mappings low (the kernel
/// allows 65,530).
struct Geometry {
    /// Bytes of a payload segment: 64 KiB ... 4 MiB.
    let segmentShift: Int
    /// Records in a slab chunk, and buckets in an index block, so that for each chunk of records there is one block of
    /// buckets: 1/64 of a segment's bytes, thus 3/4 of its size in records and 1/16 in buckets.
    var chunkShift: Int { segmentShift - 6 }
    var segmentBytes: Int { 1 << segmentShift }
    var chunkRecords: Int { 1 << chunkShift }

    init(maxBytes: Int, shardCount: Int) {
        let wanted = maxBytes / (shardCount * 128)
        var shift = 16
        while shift < 22, 1 << (shift + 1) <= wanted { shift += 1 }
        segmentShift = shift
    }

    /// Shards that a tier of this size can feed: each needs about a mebibyte to have pieces to choose from.
    static func shards(wanted: Int, maxBytes: Int) -> Int {
        var count = 1
        while count * 2 <= wanted, maxBytes == 0 || count * 2 << 20 <= maxBytes { count *= 2 }
        return count
    }
}
