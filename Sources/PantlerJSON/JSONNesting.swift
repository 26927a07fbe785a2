/// The two values that hold others.
package enum JSONContainer: Hashable, Sendable {
    case object
    case array

    var opener: UInt8 { self == .object ? UInt8(ascii: "{") : UInt8(ascii: "[") }
    var closer: UInt8 { self == .object ? UInt8(ascii: "}") : UInt8(ascii: "]") }
    /// What may follow an element, for an error.
    var continuation: String { self == .object ? "',' or '}'" : "',' or ']'" }
}

/// Which containers stand around the cursor: a stack of bits, so that depth costs memory by the bit and no call frames.
struct JSONNesting {
    private let limit: Int
    private var depth = 0
    /// The innermost levels, up to 64, lowest bit innermost; 1 is an object.
    private var word: UInt64 = 0
    /// The levels further out, 64 a word; not allocated before the 65th level.
    private var outerWords: [UInt64] = []

    init(limit: Int) {
        self.limit = limit
    }

    /// `nil` outside of all.
    var innermost: JSONContainer? {
        @inline(__always) get {
            if depth == 0 { return nil }
            return word & 1 == 1 ? .object : .array
        }
    }

    @inline(__always)
    mutating func open(_ container: JSONContainer) throws(JSONError) {
        guard depth < limit else { throw .tooDeep(limit: limit) }
        if depth & 63 == 0, depth > 0 {
            outerWords.append(word)
        }
        word = word << 1 | (container == .object ? 1 : 0)
        depth += 1
    }

    @inline(__always)
    mutating func close() {
        depth -= 1
        if depth & 63 == 0, let outer = outerWords.popLast() {
            word = outer
        } else {
            word >>= 1
        }
    }
}
