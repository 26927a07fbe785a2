/// JSON as bytes: RFC 8259 texts are validated, measured, spliced and written, but never turned into a tree of values.
///
/// What a client sent is what it gets back, digit for digit. Buffers are borrowed for the length of a call. Validating
/// allocates nothing up to 64 levels of nesting, and never recurses by it; only `mergePatch` does, within its bound.
package enum JSON {
    /// Checks that `bytes` are exactly one JSON text, with or without whitespace around it.
    ///
    /// Strictly RFC 8259: no comments, no trailing commas, no byte order mark. Escapes of lone surrogates and duplicate
    /// member names pass, as the RFC lets them.
    ///
    /// - Parameter maxDepth: how many arrays and objects may stand within each other; a scalar has depth 0.
    /// - Returns: the range of the value without the whitespace around it.
    /// - Complexity: O(n); one bit of memory a level of nesting.
    @discardableResult
    package static func validate(
        _ bytes: UnsafeRawBufferPointer,
        maxDepth: Int
    ) throws(JSONError) -> Range<Int> {
        var scanner = JSONScanner(bytes)
        scanner.skipWhitespace()
        let range = try scanner.scanValue(maxDepth: maxDepth)
        try scanner.scanEnd()
        return range
    }

    /// The same for an array.
    @discardableResult
    package static func validate(_ bytes: [UInt8], maxDepth: Int) throws(JSONError) -> Range<Int> {
        try bytes.withUnsafeBufferPointer { buffer throws(JSONError) in
            try validate(UnsafeRawBufferPointer(buffer), maxDepth: maxDepth)
        }
    }

    /// The range of `bytes` without JSON whitespace at either end; empty if there is nothing else. Looks at nothing in
    /// between. Complexity: O(whitespace).
    package static func trimmed(_ bytes: UnsafeRawBufferPointer) -> Range<Int> {
        var scanner = JSONScanner(bytes)
        scanner.skipWhitespace()
        var end = bytes.count
        while end > scanner.offset, JSONScanner.isWhitespace(bytes[end - 1]) {
            end -= 1
        }
        return scanner.offset..<end
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes of `range` as a buffer whose own offsets begin at 0. Complexity: O(1).
    package func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }
}
