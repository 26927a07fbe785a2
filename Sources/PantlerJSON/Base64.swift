/// Base64 with the alphabet of RFC 4648 section 4, padded.
package enum Base64 {
    /// How many characters `count` bytes become.
    package static func encodedCount(_ count: Int) -> Int {
        (count + 2) / 3 * 4
    }

    /// Appends the characters of `bytes`. Complexity: O(n).
    package static func encode(_ bytes: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: encodedCount(bytes.count)))
        output.withUnsafeMutableBytes { encode(bytes, to: UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
    }

    /// Writes the characters of `bytes` to `output`, which has room for `encodedCount` of them. Complexity: O(n), a nanosecond or two a
    /// character, whatever the bytes are.
    package static func encode(_ bytes: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer) {
        precondition(output.count >= encodedCount(bytes.count), "base64 needs more room")
        // Of static storage duration.
        let characters = alphabet.utf8Start
        var index = 0
        var place = 0
        func write(_ group: UInt32, _ count: Int) {
            for number in 0..<4 {
                let bits = Int(truncatingIfNeeded: group >> UInt32(18 - 6 * number)) & 0x3f
                output[place + number] = number < count ? characters[bits] : UInt8(ascii: "=")
            }
            place += 4
        }
        while bytes.count - index >= 3 {
            let group = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
            output[place] = characters[Int(truncatingIfNeeded: group >> 18)]
            output[place + 1] = characters[Int(truncatingIfNeeded: group >> 12) & 0x3f]
            output[place + 2] = characters[Int(truncatingIfNeeded: group >> 6) & 0x3f]
            output[place + 3] = characters[Int(truncatingIfNeeded: group) & 0x3f]
            index += 3
            place += 4
        }
        switch bytes.count - index {
        case 1: write(UInt32(bytes[index]) << 16, 2)
        case 2: write(UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8, 3)
        default: break
        }
    }

    private static let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    /// The bytes that `text` stands for.
    ///
    /// Strict, so that one value has one spelling: padding is required, line breaks and the URL alphabet are refused,
    /// and so are bits of the last character that belong to no byte.
    ///
    /// - Returns: `nil` if it is anything else than canonical base64.
    /// - Complexity: O(n).
    package static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        guard let last = text.last else { return [] }
        let padding = last != UInt8(ascii: "=") ? 0 : text[text.count - 2] != UInt8(ascii: "=") ? 1 : 2
        var output: [UInt8] = []
        output.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        // What is no character sets the high bit, and is noticed at the end.
        var faults: UInt8 = 0
        for index in 0..<text.count - padding {
            let bits = sextet(text[index])
            faults |= bits
            group = group << 6 | UInt32(bits & 0x3f)
            if index & 3 == 3 {
                output.append(UInt8(truncatingIfNeeded: group >> 16))
                output.append(UInt8(truncatingIfNeeded: group >> 8))
                output.append(UInt8(truncatingIfNeeded: group))
            }
        }
        guard faults < 64 else { return nil }
        switch padding {
        case 1:
            guard group & 0x3 == 0 else { return nil }
            output.append(UInt8(truncatingIfNeeded: group >> 10))
            output.append(UInt8(truncatingIfNeeded: group >> 2))
        case 2:
            guard group & 0xf == 0 else { return nil }
            output.append(UInt8(truncatingIfNeeded: group >> 4))
        default:
            break
        }
        return output
    }

    /// The six bits of a character; 0xff for what is none.
    @inline(__always)
    private static func sextet(_ character: UInt8) -> UInt8 {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: 0xff
        }
    }
}
