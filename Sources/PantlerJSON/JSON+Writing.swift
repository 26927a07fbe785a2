/// Pieces of JSON, appended to bytes.
extension JSON {
    /// Whether a JSON string cannot hold these characters as they are: a quote, a backslash or a control character is
    /// among them. Complexity: O(n), eight bytes at a time.
    package static func needsEscaping(_ characters: UnsafeRawBufferPointer) -> Bool {
        escapeIndex(characters, from: 0) < characters.count
    }

    /// Appends a string literal, quotes included. What is not UTF-8 becomes U+FFFD, byte by byte, so that the result is
    /// JSON in any case. Complexity: O(n).
    package static func appendString(_ characters: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        var index = 0
        while index < characters.count {
            let run = index
            index = escapeIndex(characters, from: index)
            appendRepaired(characters.slice(run..<index), to: &output)
            if index < characters.count {
                appendEscape(characters[index], to: &output)
                index += 1
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Appends a string literal, quotes included. Complexity: O(n).
    package static func appendString(_ string: String, to output: inout [UInt8]) {
        var string = string
        string.withUTF8 { appendString(UnsafeRawBufferPointer($0), to: &output) }
    }

    /// Appends an integer in decimal digits.
    package static func appendInteger(_ value: some FixedWidthInteger, to output: inout [UInt8]) {
        if value < 0 { output.append(UInt8(ascii: "-")) }
        let start = output.count
        var rest = value.magnitude
        repeat {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            output.append(UInt8(ascii: "0") + UInt8(digit))
            rest = quotient
        } while rest > 0
        output[start...].reverse()
    }

    /// Appends the shortest decimal that reads back as `value`, or `null` for what JSON has no number for.
    package static func appendNumber(_ value: Double, to output: inout [UInt8]) {
        output.append(contentsOf: value.isFinite ? value.description.utf8 : "null".utf8)
    }

    /// The first byte from `index` on that must be escaped, or the end.
    private static func escapeIndex(_ characters: UnsafeRawBufferPointer, from index: Int) -> Int {
        var index = index
        while characters.count - index >= 8 {
            let special = ByteWord(characters, at: index).mustEscape
            if special != 0 { return index + ByteWord.firstIndex(special) }
            index += 8
        }
        while index < characters.count, !ByteWord.mustEscape(characters[index]) {
            index += 1
        }
        return index
    }

    private static func appendRepaired(_ run: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        var copied = 0
        var index = 0
        while index < run.count {
            if run[index] < 0x80 {
                index += 1
                continue
            }
            let length = UTF8Sequence.length(run, at: index, end: run.count)
            if length == 0 {
                output.append(contentsOf: run[copied..<index])
                output.append(contentsOf: [0xef, 0xbf, 0xbd])
                copied = index + 1
            }
            index += max(length, 1)
        }
        output.append(contentsOf: run[copied...])
    }

    private static func appendEscape(_ byte: UInt8, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(byte)
        case 0x08: output.append(UInt8(ascii: "b"))
        case 0x09: output.append(UInt8(ascii: "t"))
        case 0x0a: output.append(UInt8(ascii: "n"))
        case 0x0c: output.append(UInt8(ascii: "f"))
        case 0x0d: output.append(UInt8(ascii: "r"))
        default:
            // Only control characters come here: two figures say them all, the first of them 0 or 1.
            output.append(contentsOf: "u00".utf8)
            output.append(UInt8(ascii: "0") + byte >> 4)
            let low = byte & 0x0f
            output.append(low < 10 ? UInt8(ascii: "0") + low : UInt8(ascii: "a") + low - 10)
        }
    }
}
