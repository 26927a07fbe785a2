import PantlerModel

/// Writes bytes one after the other into memory that its owner has measured beforehand: no bounds are checked on the way,
/// and nothing is allocated.
struct ByteCursor {
    private let start: UnsafeMutableRawPointer
    private var end: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer) {
        self.start = start
        end = start
    }

    /// Bytes written so far.
    var count: Int { end - start }

    // This is inlined, so that a literal's few bytes are stored as numbers.
    @inline(__always)
    mutating func write(_ text: StaticString) {
        end.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        end += text.utf8CodeUnitCount
    }

    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        end.copyMemory(from: base, byteCount: bytes.count)
        end += bytes.count
    }

    mutating func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { write($0) }
    }

    mutating func write(_ byte: UInt8) {
        end.storeBytes(of: byte, as: UInt8.self)
        end += 1
    }

    /// Decimal digits. Their number is `decimalDigits(of:)`, at most 20.
    mutating func write(decimal value: UInt64) {
        let digits = Self.decimalDigits(of: value)
        var rest = value
        var place = end + digits
        end = place
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            place -= 1
            place.storeBytes(of: UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: digit), as: UInt8.self)
            rest = quotient
        } while rest > 0
    }

    mutating func write(decimal value: Int) { write(decimal: UInt64(value.magnitude)) }

    /// A moment as RFC 3339 has it, `RFC3339.writtenBytes` bytes.
    mutating func write(_ moment: WallTime) {
        RFC3339.write(moment, into: end)
        end += RFC3339.writtenBytes
    }

    /// A moment as a JSON string, or null for never: `jsonBytes(of:)` bytes.
    mutating func writeJSON(_ moment: WallTime) {
        guard moment != .never else { return write("null") }
        write(UInt8(ascii: "\""))
        write(moment)
        write(UInt8(ascii: "\""))
    }

    static func jsonBytes(of moment: WallTime) -> Int { moment == .never ? 4 : RFC3339.writtenBytes + 2 }

    static func decimalDigits(of value: UInt64) -> Int {
        var digits = 1
        var rest = value
        while rest >= 10_000 {
            rest /= 10_000
            digits += 4
        }
        return digits + (rest >= 1000 ? 3 : rest >= 100 ? 2 : rest >= 10 ? 1 : 0)
    }
}
