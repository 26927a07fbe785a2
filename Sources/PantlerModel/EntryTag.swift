/// A label on entries: 1 to `Limits.tagBytes` bytes of UTF-8, no NUL.
///
/// Two tags are the same if their bytes are, as with keys. Swift's own strings are compared by canonical equivalence, which
/// takes the Kelvin sign for a K and both spellings of an accent for one: hence a type of its own wherever a tag identifies
/// something. It is a `String` inside, since most tags then need no allocation.
package struct EntryTag: Sendable {
    package let text: String

    /// - Parameter text: in form; nothing is checked here.
    package init(_ text: String) {
        self.text = text
    }

    /// - Parameter bytes: UTF-8.
    package init(bytes: some Collection<UInt8>) {
        text = String(decoding: bytes, as: UTF8.self)
    }

    /// `nil` where the bytes are not UTF-8, of which no tag is ever written. Complexity: O(length).
    package init?(validating bytes: some Collection<UInt8>) {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        self.text = text
    }

    package var byteCount: Int { text.utf8.count }

    /// Whether it can be a tag. Complexity: O(length).
    package var isInForm: Bool {
        (1...Limits.tagBytes).contains(byteCount) && !text.utf8.contains(0)
    }

    /// Shows its bytes for the length of `body`.
    package func withBytes<Answer>(_ body: (UnsafeRawBufferPointer) -> Answer) -> Answer {
        var text = text
        return text.withUTF8 { body(UnsafeRawBufferPointer($0)) }
    }
}

extension EntryTag: Hashable, Comparable {
    package static func == (left: EntryTag, right: EntryTag) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    /// In the order of their bytes.
    package static func < (left: EntryTag, right: EntryTag) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        withBytes { hasher.combine(bytes: $0) }
        hasher.combine(byteCount)
    }
}

extension EntryTag: ExpressibleByStringLiteral {
    package init(stringLiteral text: String) { self.init(text) }
}
