import CZlib

/// A running CRC-32 (RFC 1952, section 8). It finds accidental damage, and no change that is made on purpose.
package struct Checksum: Sendable {
    private var sum: UInt = 0

    package init() {}

    package var value: UInt32 { UInt32(truncatingIfNeeded: sum) }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        // For no address at all zlib returns the initial value, whatever came before.
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        sum = crc32_z(sum, start.assumingMemoryBound(to: UInt8.self), bytes.count)
    }

    /// The checksum of bytes of which the beginning was replaced and the rest is unchanged. The rest is not read.
    ///
    /// - Parameters:
    ///   - whole: the checksum before that.
    ///   - old: that of the former beginning alone.
    ///   - new: that of its successor.
    ///   - restBytes: the length of the rest.
    /// - Complexity: O(log restBytes).
    package static func exchanging(_ whole: UInt32, _ old: Checksum, for new: Checksum, restBytes: Int) -> UInt32 {
        // A CRC is linear: what combines two of them by exclusive or separates them as well.
        let rest = crc32_combine(old.sum, UInt(whole), restBytes)
        return UInt32(truncatingIfNeeded: crc32_combine(new.sum, rest, restBytes))
    }

    package mutating func add(_ number: Int64) {
        withUnsafeBytes(of: number.littleEndian) { add($0) }
    }
}
