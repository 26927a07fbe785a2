/// Percent-decoding (RFC 3986, section 2.1), once and of everything; nothing is folded.
enum PercentDecoding {
    /// - Parameter plusIsSpace: as in a query (`application/x-www-form-urlencoded`); in a path `+` is a plus.
    /// - Returns: `nil` where a percent sign is not followed by two hexadecimal digits.
    /// - Complexity: O(n).
    static func decode(_ encoded: UnsafeRawBufferPointer, plusIsSpace: Bool = false) -> [UInt8]? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(encoded.count)
        var index = 0
        while index < encoded.count {
            let byte = encoded[index]
            guard byte == UInt8(ascii: "%") else {
                decoded.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
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

    static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
