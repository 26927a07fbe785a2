/// The sizes of the pieces in which a tier takes memory from the system.
///
/// A shard's last segment, chunk and bucket block are half empty on average. So a segment has about 1/128 of the bytes that a shard may
/// hold, within bounds: small pieces waste little, and large ones keep the number of the process's mappings low (the kernel allows 65,530).
struct Geometry {
    /// The binary logarithm of a payload segment's bytes: 16 to 22, for 64 KiB to 4 MiB.
    let segmentShift: Int
    /// The binary logarithm of the number of records in a slab chunk. An index block has the same number of buckets, so that there is one
    /// block of buckets for each chunk of records. The number is 1/64 of a segment's bytes, which gives a chunk 3/4 of a segment's size (48
    /// bytes a record) and a block of buckets 1/16 of that size (4 bytes a bucket).
    var chunkShift: Int { segmentShift - 6 }
    var segmentBytes: Int { 1 << segmentShift }
    var chunkRecords: Int { 1 << chunkShift }

    init(maxBytes: Int, shardCount: Int) {
        let wanted = maxBytes / (shardCount * 128)
        var shift = 16
        while shift < 22, 1 << (shift + 1) <= wanted { shift += 1 }
        segmentShift = shift
    }

    /// The number of a tier's shards: the largest power of two that is at most `wanted` and leaves each shard a mebibyte, so that it has
    /// several pieces to choose from. Where `maxBytes` is 0, `wanted` alone counts.
    static func shards(wanted: Int, maxBytes: Int) -> Int {
        var count = 1
        while count * 2 <= wanted, maxBytes == 0 || count * 2 << 20 <= maxBytes { count *= 2 }
        return count
    }
}
