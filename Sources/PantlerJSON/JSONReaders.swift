/// A value within a buffer. It borrows the buffer, as its reader does.
package struct JSONElement {
    /// The value's type, as its first byte tells; the rest is valid too.
    package let type: JSONType
    /// Where the value stands in the reader's buffer.
    package let range: Range<Int>
    /// The value's bytes alone, for `JSON.string`, `JSON.integer` and the like.
    package let bytes: UnsafeRawBufferPointer

    fileprivate init(scanning scanner: inout JSONScanner, maxDepth: Int) throws(JSONError) {
        let start = scanner.offset
        guard let type = JSON.type(of: scanner.current) else { throw .syntax(offset: start, expected: "a value") }
        self.type = type
        range = try scanner.scanValue(maxDepth: maxDepth)
        bytes = scanner.bytes.slice(range)
    }
}

/// The name of a member, as it stands in the reader's buffer, which it borrows.
package struct JSONName {
    /// The bytes between the quotes.
    private let raw: UnsafeRawBufferPointer
    /// The same with the escapes decoded, where there are any.
    private let decoded: [UInt8]?

    /// - Parameter literal: a valid string with its quotes.
    fileprivate init(_ literal: UnsafeRawBufferPointer, hasEscapes: Bool) throws(JSONError) {
        raw = literal.slice(1..<literal.count - 1)
        decoded = hasEscapes ? try JSON.stringBytes(literal) : nil
    }

    /// Whether this is the name `text`. Compared by their bytes: Swift's own comparison of strings takes different spellings of an
    /// accent for equal, JSON does not. Complexity: O(length of `text`).
    package func says(_ text: String) -> Bool {
        var text = text
        guard text.utf8.count == decoded?.count ?? raw.count else { return false }
        return text.withUTF8 { text in
            decoded?.elementsEqual(text) ?? raw.elementsEqual(text)
        }
    }

    /// The name with its escapes decoded. Complexity: O(length).
    package var text: String {
        decoded.map { String(decoding: $0, as: UTF8.self) } ?? String(decoding: raw, as: UTF8.self)
    }

    /// The beginning of `text`, of about `bytes` bytes at most: names may be as long as a body.
    package func text(atMost bytes: Int) -> String {
        decoded.map { String(decoding: $0.prefix(bytes), as: UTF8.self) }
            ?? String(decoding: raw.prefix(bytes), as: UTF8.self)
    }
}

/// A member of an object.
package struct JSONMember {
    package let name: JSONName
    /// The value, checked and unread.
    package let value: JSONElement
}

/// Reads the members of one object in order, without looking into their values further than to check them.
///
/// It hands out every member, and remembers none: that a name comes twice is for those to notice who know which names they
/// look for. So an object costs its bytes, however many members it has.
///
/// The object is known to be valid, and to stand alone in its range, once `next` has returned `nil`. After an error,
/// and after the end, the reader is of no further use.
package struct JSONObjectReader {
    private var scanner: JSONScanner
    private let maxDepth: Int
    private var isFirst = true
    private var hasEnded = false

    /// - Parameters:
    ///   - range: where the object stands, whitespace around it allowed; the whole buffer if `nil`.
    ///   - maxDepth: how deep each member's value may nest; the object itself does not count.
    /// - Throws: `syntax` if no object begins there.
    package init(
        _ bytes: UnsafeRawBufferPointer,
        in range: Range<Int>? = nil,
        maxDepth: Int
    ) throws(JSONError) {
        scanner = JSONScanner(bytes, in: range ?? 0..<bytes.count)
        self.maxDepth = maxDepth
        try scanner.enter(.object)
    }

    /// The next member, `nil` after the last. Complexity: O(bytes of the member).
    ///
    /// - Throws: also `loneSurrogate` for a name that no `String` can say.
    package mutating func next() throws(JSONError) -> JSONMember? {
        guard let name = try nextName() else { return nil }
        return JSONMember(name: name, value: try value())
    }

    /// The next member's name, `nil` after the last member; its value is to be read by `value` or `strings` before the next
    /// name. Throws what `next` throws.
    package mutating func nextName() throws(JSONError) -> JSONName? {
        if hasEnded { return nil }
        guard try scanner.advance(in: .object, isFirst: isFirst) else {
            try scanner.scanEnd()
            hasEnded = true
            return nil
        }
        isFirst = false
        let start = scanner.offset
        let (literal, hasEscapes) = try scanner.scanName()
        do throws(JSONError) {
            return try JSONName(scanner.bytes.slice(literal), hasEscapes: hasEscapes)
        } catch {
            throw error.moved(by: start)
        }
    }

    /// The value of the member whose name was read last.
    package mutating func value() throws(JSONError) -> JSONElement {
        try JSONElement(scanning: &scanner, maxDepth: maxDepth)
    }

    /// The same value if it is an array of nothing but strings, whose places it tells; `nil` for any other, which `value` has
    /// to read then. Throws what is wrong with the array as far as it holds strings, as `value` would.
    ///
    /// - Parameter limit: how many strings are to be told; the others are counted.
    package mutating func strings(limit: Int) throws(JSONError) -> JSONStrings? {
        // A member's value may nest, or `value` has to say that it may not.
        maxDepth > 0 ? try scanner.scanStrings(limit: limit) : nil
    }
}

/// Reads the elements of one array in order. The array is known to be valid, and to stand alone in its range, once
/// `next` has returned `nil`.
package struct JSONArrayReader {
    private var scanner: JSONScanner
    private let maxDepth: Int
    private var isFirst = true
    private var hasEnded = false

    /// - Parameters:
    ///   - range: where the array stands, whitespace around it allowed; the whole buffer if `nil`.
    ///   - maxDepth: how deep each element may nest; the array itself does not count.
    /// - Throws: `syntax` if no array begins there.
    package init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>? = nil, maxDepth: Int) throws(JSONError) {
        scanner = JSONScanner(bytes, in: range ?? 0..<bytes.count)
        self.maxDepth = maxDepth
        try scanner.enter(.array)
    }

    /// The next element, `nil` after the last. Complexity: O(bytes of the element).
    package mutating func next() throws(JSONError) -> JSONElement? {
        if hasEnded { return nil }
        guard try scanner.advance(in: .array, isFirst: isFirst) else {
            try scanner.scanEnd()
            hasEnded = true
            return nil
        }
        isFirst = false
        return try JSONElement(scanning: &scanner, maxDepth: maxDepth)
    }
}

extension JSONScanner {
    /// Passes whitespace and the opening bracket of `container`.
    fileprivate mutating func enter(_ container: JSONContainer) throws(JSONError) {
        skipWhitespace()
        guard current == container.opener else {
            throw .syntax(offset: offset, expected: container == .object ? "an object" : "an array")
        }
        offset += 1
    }
}

extension JSONError {
    /// The same error in a buffer that begins `distance` bytes earlier.
    fileprivate func moved(by distance: Int) -> JSONError {
        switch self {
        case .syntax(let offset, let expected): .syntax(offset: offset + distance, expected: expected)
        case .notUTF8(let offset): .notUTF8(offset: offset + distance)
        case .loneSurrogate(let offset): .loneSurrogate(offset: offset + distance)
        case .tooDeep, .duplicateMember, .tooLarge: self
        }
    }
}
