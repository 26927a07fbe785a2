/// Strings, numbers and literals.
extension JSONScanner {
    /// Passes the string whose opening quote is under the cursor.
    ///
    /// - Returns: whether it has escapes; if not, its characters are its bytes.
    @inline(__always)
    @discardableResult
    mutating func scanString() throws(JSONError) -> Bool {
        guard current == UInt8(ascii: "\"") else { throw .syntax(offset: offset, expected: "a string") }
        var hasEscapes = false
        var index = offset + 1
        while true {
            index = plainEnd(from: index)
            guard index < end else { throw .syntax(offset: end, expected: "the string's end") }
            let byte = bytes[index]
            if byte == UInt8(ascii: "\"") {
                offset = index + 1
                return hasEscapes
            } else if byte >= 0x80 {
                index = try multibyteEnd(from: index)
            } else if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                index = try escapeEnd(from: index)
            } else {
                throw .syntax(offset: index, expected: "no control character in a string")
            }
        }
    }

    /// The first byte from `index` on that is not plain: a quote, a backslash, a control character, or not ASCII.
    @inline(__always)
    private func plainEnd(from index: Int) -> Int {
        var index = index
        while end - index >= 8 {
            let word = ByteWord(bytes, at: index)
            let special = word.mustEscape | word.notASCII
            if special != 0 { return index + ByteWord.firstIndex(special) }
            index += 8
        }
        while index < end, bytes[index] < 0x80, !ByteWord.mustEscape(bytes[index]) {
            index += 1
        }
        return index
    }

    /// Behind the run of non-ASCII characters that begins at `index`.
    private func multibyteEnd(from index: Int) throws(JSONError) -> Int {
        var index = index
        repeat {
            let length = UTF8Sequence.length(bytes, at: index, end: end)
            guard length > 0 else { throw .notUTF8(offset: index) }
            index += length
        } while index < end && bytes[index] >= 0x80
        return index
    }

    /// Behind the escape whose backslash is at `index`.
    private func escapeEnd(from index: Int) throws(JSONError) -> Int {
        switch index + 1 < end ? bytes[index + 1] : 0 {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return index + 2
        case UInt8(ascii: "u"):
            for digit in index + 2..<index + 6 {
                guard digit < end, Self.isHexDigit(bytes[digit]) else {
                    throw .syntax(offset: min(digit, end), expected: "a hexadecimal digit")
                }
            }
            return index + 6
        default:
            throw .syntax(offset: index + 1, expected: "one of \"\\/bfnrtu after a backslash")
        }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default:
            false
        }
    }

    /// Passes the number that begins under the cursor. What follows it is not looked at.
    mutating func scanNumber() throws(JSONError) {
        if current == UInt8(ascii: "-") { offset += 1 }
        if current == UInt8(ascii: "0") {
            offset += 1
        } else {
            try scanDigits()
        }
        if current == UInt8(ascii: ".") {
            offset += 1
            try scanDigits()
        }
        if current | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { offset += 1 }
            try scanDigits()
        }
    }

    /// Passes one digit or more.
    @inline(__always)
    private mutating func scanDigits() throws(JSONError) {
        let start = offset
        while offset < end, bytes[offset] &- UInt8(ascii: "0") < 10 {
            offset += 1
        }
        guard offset > start else { throw .syntax(offset: offset, expected: "a digit") }
    }

    /// Passes `literal`, which is ASCII.
    mutating func scanLiteral(_ literal: StaticString) throws(JSONError) {
        let start = offset
        for index in 0..<literal.utf8CodeUnitCount {
            guard current == literal.utf8Start[index] else {
                throw .syntax(offset: start, expected: "\(literal)")
            }
            offset += 1
        }
    }
}
