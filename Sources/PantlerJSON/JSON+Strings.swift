/// Reads string literals. A literal comes with its quotes and nothing around it.
extension JSON {
    /// The characters of a string literal.
    ///
    /// - Throws: `syntax` or `notUTF8` if it is no literal, `loneSurrogate` if it has no encoding in UTF-8.
    /// - Complexity: O(n).
    package static func string(_ literal: UnsafeRawBufferPointer) throws(JSONError) -> String {
        if try hasEscapes(literal) {
            return String(decoding: try unescaped(literal, loneSurrogates: .refused), as: UTF8.self)
        }
        return String(decoding: literal[1..<literal.count - 1], as: UTF8.self)
    }

    /// The same as bytes of UTF-8, without the detour over `String`.
    package static func stringBytes(_ literal: UnsafeRawBufferPointer) throws(JSONError) -> [UInt8] {
        try stringBytes(literal, loneSurrogates: .refused)
    }

    /// What becomes of an escape that stands for half a UTF-16 pair.
    enum LoneSurrogates {
        case refused
        /// It is encoded as if it were a character, which is no valid UTF-8: equal strings give equal bytes, and different ones do not.
        case generalised
    }

    static func stringBytes(
        _ literal: UnsafeRawBufferPointer,
        loneSurrogates: LoneSurrogates
    ) throws(JSONError) -> [UInt8] {
        if try hasEscapes(literal) {
            return try unescaped(literal, loneSurrogates: loneSurrogates)
        }
        return Array(literal[1..<literal.count - 1])
    }

    /// Checks that `literal` is one string.
    private static func hasEscapes(_ literal: UnsafeRawBufferPointer) throws(JSONError) -> Bool {
        var scanner = JSONScanner(literal)
        let hasEscapes = try scanner.scanString()
        guard scanner.isAtEnd else { throw .syntax(offset: scanner.offset, expected: "the end") }
        return hasEscapes
    }

    /// - Parameter literal: has passed `hasEscapes`, so every backslash begins a whole escape.
    private static func unescaped(
        _ literal: UnsafeRawBufferPointer,
        loneSurrogates: LoneSurrogates
    ) throws(JSONError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(literal.count)
        let end = literal.count - 1
        var index = 1
        while index < end {
            let run = index
            while index < end, literal[index] != UInt8(ascii: "\\") {
                index += 1
            }
            result.append(contentsOf: literal[run..<index])
            guard index < end else { break }
            let escape = literal[index + 1]
            guard escape == UInt8(ascii: "u") else {
                result.append(meaning(of: escape))
                index += 2
                continue
            }
            let unit = codeUnit(literal, at: index)
            if unit & 0xfc00 == 0xd800, index + 6 < end, literal[index + 6] == UInt8(ascii: "\\"),
                literal[index + 7] == UInt8(ascii: "u")
            {
                let low = codeUnit(literal, at: index + 6)
                if low & 0xfc00 == 0xdc00 {
                    appendUTF8(0x10000 + (unit & 0x3ff) << 10 + low & 0x3ff, to: &result)
                    index += 12
                    continue
                }
            }
            if unit & 0xf800 == 0xd800, loneSurrogates == .refused {
                throw .loneSurrogate(offset: index)
            }
            appendUTF8(unit, to: &result)
            index += 6
        }
        return result
    }

    private static func meaning(of escape: UInt8) -> UInt8 {
        switch escape {
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0c
        case UInt8(ascii: "n"): 0x0a
        case UInt8(ascii: "r"): 0x0d
        case UInt8(ascii: "t"): 0x09
        default: escape
        }
    }

    /// The four digits of the `\u` escape at `offset`.
    private static func codeUnit(_ literal: UnsafeRawBufferPointer, at offset: Int) -> UInt32 {
        var unit: UInt32 = 0
        for index in offset + 2..<offset + 6 {
            // A letter's low bits are 1 to 6, and bit 6 tells it from a figure.
            let byte = UInt32(literal[index])
            unit = unit << 4 | (byte & 0x0f + (byte >> 6) * 9)
        }
        return unit
    }

    private static func appendUTF8(_ code: UInt32, to result: inout [UInt8]) {
        func continuation(_ shift: UInt32) -> UInt8 { UInt8(0x80 | code >> shift & 0x3f) }
        switch code {
        case ..<0x80:
            result.append(UInt8(code))
        case ..<0x800:
            result.append(UInt8(0xc0 | code >> 6))
            result.append(continuation(0))
        case ..<0x10000:
            result.append(UInt8(0xe0 | code >> 12))
            result.append(continuation(6))
            result.append(continuation(0))
        default:
            result.append(UInt8(0xf0 | code >> 18))
            result.append(continuation(12))
            result.append(continuation(6))
            result.append(continuation(0))
        }
    }
}
