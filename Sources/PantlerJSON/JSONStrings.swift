/// The strings of an array, read in one pass over its bytes.
package struct JSONStrings {
    /// A string within the reader's buffer. It is valid.
    package struct Literal {
        /// Where it stands, with its quotes.
        package let range: Range<Int>
        /// Whether it has escapes. If not, the bytes between its quotes are its characters: UTF-8 without control characters.
        package let hasEscapes: Bool
    }

    /// The places of the strings in their order, up to the limit.
    package fileprivate(set) var literals: [Literal] = []
    /// The number of all strings, including those over the limit.
    package fileprivate(set) var count = 0
}

extension JSONScanner {
    /// Passes an array under the cursor that holds nothing but strings. For anything else it returns `nil`, and the cursor
    /// stands where it stood. Complexity: O(n).
    mutating func scanStrings(limit: Int) throws(JSONError) -> JSONStrings? {
        let start = offset
        guard current == UInt8(ascii: "[") else { return nil }
        offset += 1
        var strings = JSONStrings()
        // One allocation for keys of a usual length.
        strings.literals.reserveCapacity(min(limit, (end - start) / 16))
        while try advance(in: .array, isFirst: strings.count == 0) {
            guard current == UInt8(ascii: "\"") else {
                offset = start
                return nil
            }
            let literal = offset
            let hasEscapes = try scanString()
            if strings.count < limit {
                strings.literals.append(JSONStrings.Literal(range: literal..<offset, hasEscapes: hasEscapes))
            }
            strings.count += 1
        }
        return strings
    }
}
