import PantlerModel

/// The stale marks of a watermark as bytes: version and milliseconds of each, 8 bytes each, little-endian, in their order. A single mark
/// stands in the columns `stale_before` and `stale_since` alone.
enum StaleMarks {
    private static let bytes = 16

    /// Empty where the columns say everything.
    static func encode(_ mark: Watermark) -> [UInt8] {
        guard mark.staleMarks.count > 1 else { return [] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(mark.staleMarks.count * Self.bytes)
        for mark in mark.staleMarks {
            withUnsafeBytes(of: Int64(clamping: mark.before).littleEndian) { bytes.append(contentsOf: $0) }
            withUnsafeBytes(of: mark.since.milliseconds.littleEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// - Parameter last: the mark in the columns, which is there even if the bytes are missing.
    static func decode(_ bytes: UnsafeRawBufferPointer, last: StaleMark?) -> [StaleMark] {
        var marks = last.map { [$0] } ?? []
        var offset = 0
        while bytes.count - offset >= Self.bytes {
            let before = Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
            let since = Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: Int64.self))
            marks.append(StaleMark(before: Version(clamping: before), since: Timestamp(milliseconds: since)))
            offset += Self.bytes
        }
        return marks
    }
}
