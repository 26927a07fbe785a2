import CZlib

/// A running CRC-32 (RFC 1952, section 8): finds damage that happens by itself, not damage that someone means.
package struct Checksum: Sendable {
    private var sum: UInt = 0

    package init() {}

    package var value: UInt32 { UInt32(truncatingIfNeeded: sum) }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        // For no address at all zlib returns the initial value, whatever came before.
        guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
        sum = crc32_z(sum, start.assumingMemoryBound(to: UInt8.self), bytes.count)
    }

    package mutating func add(_ number: Int64) {
        withUnsafeBytes(of: number.littleEndian) { add($0) }
    }
}
