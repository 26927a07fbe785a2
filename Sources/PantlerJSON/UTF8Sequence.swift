/// Well-formed UTF-8 of more than one byte (The Unicode Standard, table 3-7).
enum UTF8Sequence {
    /// The length of the sequence at `offset`, 2 to 4; 0 if it is overlong, a surrogate, beyond U+10FFFF, cut short or
    /// no beginning of a sequence. `offset` is before `end`.
    static func length(_ bytes: UnsafeRawBufferPointer, at offset: Int, end: Int) -> Int {
        // The second byte's range is what tells overlong forms, surrogates and the top of the code space apart.
        let length: Int
        let second: ClosedRange<UInt8>
        switch bytes[offset] {
        case 0xc2...0xdf: (length, second) = (2, 0x80...0xbf)
        case 0xe0: (length, second) = (3, 0xa0...0xbf)
        case 0xed: (length, second) = (3, 0x80...0x9f)
        case 0xe1...0xef: (length, second) = (3, 0x80...0xbf)
        case 0xf0: (length, second) = (4, 0x90...0xbf)
        case 0xf1...0xf3: (length, second) = (4, 0x80...0xbf)
        case 0xf4: (length, second) = (4, 0x80...0x8f)
        default: return 0
        }
        guard end - offset >= length, second.contains(bytes[offset + 1]) else { return 0 }
        for index in offset + 2..<offset + length where bytes[index] & 0xc0 != 0x80 {
            return 0
        }
        return length
    }
}
