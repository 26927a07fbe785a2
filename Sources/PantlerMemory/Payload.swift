import PantlerModel

/// How the variable part of an entry lies in its block:
///
///     record number (4) [stale TTL (8) media type length (2) tags length (2)] key [media type] [tags] value | pointer
///
/// Lengths of key and value stand in the record. What is in brackets is there if the record says so.
struct Payload {
    /// Bytes of the optional header.
    static let extrasHeader = 12

    var keyLength: Int
    /// Bytes of the value in the block: 8 for a large value, of which only a pointer is there.
    var valueLength: Int
    var hasExtras: Bool
    var mediaLength = 0
    var tagsLength = 0

    /// The layout of an entry that is to be stored.
    init(key: UnsafeRawBufferPointer, _ content: EntryContent, isLarge: Bool) {
        keyLength = key.count
        valueLength = isLarge ? 8 : content.value.count
        mediaLength = content.mediaType.count
        for tag in content.tags { tagsLength += 1 + tag.byteCount }
        hasExtras = mediaLength > 0 || tagsLength > 0 || content.staleTTL != 0
    }

    /// The layout of an entry that is stored.
    init(_ record: Record, at block: UnsafeRawPointer) {
        keyLength = record.keyLength
        valueLength = record.isLarge ? 8 : record.valueLength
        hasExtras = record.hasExtras
        if hasExtras {
            mediaLength = Int(block.loadUnaligned(fromByteOffset: 12, as: UInt16.self))
            tagsLength = Int(block.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
        }
    }

    var keyOffset: Int { hasExtras ? 4 + Self.extrasHeader : 4 }
    var mediaOffset: Int { keyOffset + keyLength }
    var tagsOffset: Int { mediaOffset + mediaLength }
    var valueOffset: Int { tagsOffset + tagsLength }
    /// The block's size: a multiple of 4.
    var size: Int { (valueOffset + valueLength + 3) & ~3 }

    func writeExtras(_ content: EntryContent, at block: UnsafeMutableRawPointer) {
        guard hasExtras else { return }
        block.storeBytes(of: content.staleTTL, toByteOffset: 4, as: Int64.self)
        block.storeBytes(of: UInt16(mediaLength), toByteOffset: 12, as: UInt16.self)
        block.storeBytes(of: UInt16(tagsLength), toByteOffset: 14, as: UInt16.self)
        (block + mediaOffset).copy(content.mediaType)
        var offset = tagsOffset
        for tag in content.tags {
            tag.withBytes {
                block.storeBytes(of: UInt8(truncatingIfNeeded: $0.count), toByteOffset: offset, as: UInt8.self)
                (block + offset + 1).copy($0)
                offset += 1 + $0.count
            }
        }
    }

    static func staleTTL(at block: UnsafeRawPointer) -> Int64 {
        block.loadUnaligned(fromByteOffset: 4, as: Int64.self)
    }
}

extension UnsafeMutableRawPointer {
    func copy(_ bytes: UnsafeRawBufferPointer) {
        if let source = bytes.baseAddress { copyMemory(from: source, byteCount: bytes.count) }
    }
}

extension UnsafeRawPointer {
    func bytes(_ offset: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: self + offset, count: count)
    }
}
