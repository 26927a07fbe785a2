/// Percent-decoding (RFC 3986, section 2.1), once and of everything: `+` is a plus, and nothing is folded.
enum PercentDecoding {
    /// - Returns: `nil` where a percent sign is not followed by two hexadecimal digits.
    /// - Complexity: O(n).
    static func decode(_ encoded: UnsafeRawBufferPointer) -> [UInt8]? {
        guard encoded.contains(UInt8(ascii: "%")) else { return Array(encoded) }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(encoded.count)
        var index = 0
        while index < encoded.count {
            guard encoded[index] == UInt8(ascii: "%") else {
                decoded.append(encoded[index])
                index += 1
                continue
            }
            guard encoded.count - index > 2, let high = hexDigit(encoded[index + 1]),
                let low = hexDigit(encoded[index + 2])
            else { return nil }
            decoded.append(high << 4 | low)
            index += 3
        }
        return decoded
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
