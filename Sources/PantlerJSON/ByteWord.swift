/// Eight bytes looked at together, each in its own lane of a word ("SIMD within a register").
///
/// The questions answer with the top bit of every lane that says yes. A subtraction may borrow from lanes *after* one
/// that says yes, so only the first answer is to be relied on: `firstIndex`, or whether there is any.
struct ByteWord {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let tops: UInt64 = 0x8080_8080_8080_8080

    private let lanes: UInt64

    /// The caller sees to it that eight bytes are there.
    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        lanes = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Quotes, backslashes and control characters: what a JSON string cannot hold as it is.
    var mustEscape: UInt64 {
        @inline(__always) get {
            let quotes = lanes ^ Self.ones &* 0x22
            let backslashes = lanes ^ Self.ones &* 0x5c
            // x - n borrows into the top bit exactly if x < n, for lanes below 0x80; ~x sorts out the others.
            let controls = (lanes &- Self.ones &* 0x20) & ~lanes
            return (controls | (quotes &- Self.ones) & ~quotes | (backslashes &- Self.ones) & ~backslashes) & Self.tops
        }
    }

    var notASCII: UInt64 {
        @inline(__always) get { lanes & Self.tops }
    }

    /// The first lane of a non-zero answer, as an offset in bytes.
    @inline(__always)
    static func firstIndex(_ answer: UInt64) -> Int {
        answer.trailingZeroBitCount >> 3
    }

    /// `mustEscape` of a single byte.
    @inline(__always)
    static func mustEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
    }
}
