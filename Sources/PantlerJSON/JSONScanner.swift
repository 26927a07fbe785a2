/// A cursor over JSON bytes that checks what it passes.
///
/// It borrows the buffer: a scanner must not outlive the closure that lent it. After an error the cursor stands
/// anywhere within the buffer, and the scanner is of no further use. It never reads outside its range.
package struct JSONScanner {
    /// The whole buffer, which `offset` and every range count in.
    package let bytes: UnsafeRawBufferPointer
    /// Where the scanner's range ends.
    package let end: Int
    /// Where the cursor stands: the next byte to be read.
    package internal(set) var offset: Int

    /// Scans all of `bytes`.
    package init(_ bytes: UnsafeRawBufferPointer) {
        self.init(bytes, in: 0..<bytes.count)
    }

    /// Scans only `range`; offsets still count from the beginning of `bytes`.
    package init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "the range leaves the buffer")
        self.bytes = bytes
        offset = range.lowerBound
        end = range.upperBound
    }

    /// The byte under the cursor, or 0 at the end: no token begins with NUL, so both are refused alike.
    package var current: UInt8 {
        @inline(__always) get { offset < end ? bytes[offset] : 0 }
    }

    /// Whether nothing is left of the scanner's range.
    package var isAtEnd: Bool { offset == end }

    /// The four bytes that RFC 8259 section 2 allows between tokens.
    package static func isWhitespace(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): true
        default: false
        }
    }

    /// Moves to the next byte that is not whitespace, or to the end. Complexity: O(whitespace).
    @inline(__always)
    package mutating func skipWhitespace() {
        // Nearly every byte asked about is no whitespace at all, or one space.
        while offset < end, bytes[offset] <= 0x20, Self.isWhitespace(bytes[offset]) {
            offset += 1
        }
    }

    /// Passes whitespace and demands that nothing follows it.
    package mutating func scanEnd() throws(JSONError) {
        skipWhitespace()
        guard isAtEnd else { throw .syntax(offset: offset, expected: "the end") }
    }

    /// Passes the value that begins under the cursor.
    ///
    /// - Parameter maxDepth: how many arrays and objects may stand within each other; a scalar has depth 0.
    /// - Returns: its range; the cursor stands behind it.
    /// - Complexity: O(n), without recursion; one bit of memory a level of nesting.
    @discardableResult
    package mutating func scanValue(maxDepth: Int) throws(JSONError) -> Range<Int> {
        let start = offset
        var nesting = JSONNesting(limit: maxDepth)
        nextValue: while true {
            switch current {
            case UInt8(ascii: "\""):
                try scanString()
            case UInt8(ascii: "{"):
                try nesting.open(.object)
                offset += 1
                skipWhitespace()
                // An empty object goes on below, where its end is seen.
                if current != UInt8(ascii: "}") {
                    try scanMemberName()
                    continue nextValue
                }
            case UInt8(ascii: "["):
                try nesting.open(.array)
                offset += 1
                skipWhitespace()
                if current != UInt8(ascii: "]") { continue nextValue }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                try scanNumber()
            case UInt8(ascii: "t"):
                try scanLiteral("true")
            case UInt8(ascii: "f"):
                try scanLiteral("false")
            case UInt8(ascii: "n"):
                try scanLiteral("null")
            default:
                throw .syntax(offset: offset, expected: "a value")
            }
            // A value has ended: leave every container that ends with it, up to the next value.
            while let container = nesting.innermost {
                skipWhitespace()
                if current == UInt8(ascii: ",") {
                    offset += 1
                    skipWhitespace()
                    if container == .object { try scanMemberName() }
                    continue nextValue
                }
                guard current == container.closer else {
                    throw .syntax(offset: offset, expected: container.continuation)
                }
                offset += 1
                nesting.close()
            }
            return start..<offset
        }
    }

    /// Passes a member's name, the colon and the whitespace around it, to the first byte of the value.
    ///
    /// - Returns: the range of the name with its quotes.
    @inline(__always)
    @discardableResult
    package mutating func scanMemberName() throws(JSONError) -> Range<Int> { try scanName().name }

    /// The same, and whether the name has escapes.
    @inline(__always)
    mutating func scanName() throws(JSONError) -> (name: Range<Int>, hasEscapes: Bool) {
        let start = offset
        guard current == UInt8(ascii: "\"") else { throw .syntax(offset: offset, expected: "a member name") }
        let hasEscapes = try scanString()
        let name = start..<offset
        skipWhitespace()
        guard current == UInt8(ascii: ":") else { throw .syntax(offset: offset, expected: "':'") }
        offset += 1
        skipWhitespace()
        return (name, hasEscapes)
    }

    /// Within a container: moves on to its next element, or behind its end.
    ///
    /// - Parameter isFirst: whether the cursor stands behind the opening bracket; else it stands behind an element.
    /// - Returns: `false` if the container has ended.
    package mutating func advance(in container: JSONContainer, isFirst: Bool) throws(JSONError) -> Bool {
        skipWhitespace()
        if current == container.closer {
            offset += 1
            return false
        }
        if !isFirst {
            guard current == UInt8(ascii: ",") else {
                throw .syntax(offset: offset, expected: container.continuation)
            }
            offset += 1
            skipWhitespace()
        }
        return true
    }
}
