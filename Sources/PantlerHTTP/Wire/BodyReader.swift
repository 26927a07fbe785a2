internal import NIOCore

/// Where a message's body ends (RFC 9112, section 6), and what may be given to the decoder at a time.
///
/// The reader only counts; the decoder judges whether chunks, extensions and trailers are well-formed. This is a value, without I/O and
/// without a decoder.
struct BodyReader {
    private enum State {
        /// Bytes that a Content-Length still promises.
        case counted(Int)
        /// A line with a chunk's size is to come.
        case size
        /// Bytes of a chunk that are still to come.
        case chunk(Int)
        /// The end of line after a chunk.
        case chunkEnd
        /// Trailers, if any, and the empty line.
        case trailers
        case ended
    }

    /// The next piece of a body.
    enum Step: Equatable {
        /// So many bytes from the front are a piece. `body` of them are the body's own, and `ends` tells whether no piece comes after it.
        case piece(Int, body: Int, ends: Bool)
        case needsMore
        case malformed
    }

    private var state: State
    /// Longest line of a chunk's size, and longest block of trailers, in bytes.
    private let lineLimit: Int

    /// - Parameter length: `nil` = chunked.
    init(length: Int?, lineLimit: Int) {
        self.lineLimit = lineLimit
        state = length.map { $0 > 0 ? .counted($0) : .ended } ?? .size
    }

    var hasEnded: Bool {
        if case .ended = state { true } else { false }
    }

    /// The next piece at the front of `bytes`. Complexity: O(1) within a body's own bytes, else O(line).
    mutating func next(_ bytes: UnsafeRawBufferPointer) -> Step {
        switch state {
        case .ended: return .malformed
        case .counted(let left):
            let count = min(left, bytes.count)
            if count == 0 { return .needsMore }
            state = count == left ? .ended : .counted(left - count)
            return .piece(count, body: count, ends: count == left)
        case .size: return size(bytes)
        case .chunk(let left):
            let count = min(left, bytes.count)
            if count == 0 { return .needsMore }
            state = count == left ? .chunkEnd : .chunk(left - count)
            return .piece(count, body: count, ends: false)
        case .chunkEnd:
            guard bytes.count >= 2 else { return .needsMore }
            // The decoder checks this too. But if it let a single line feed pass, all that follows would be off by a byte.
            guard bytes[0] == UInt8(ascii: "\r"), bytes[1] == UInt8(ascii: "\n") else { return .malformed }
            state = .size
            return .piece(2, body: 0, ends: false)
        case .trailers:
            guard let end = MessageBoundary.endOfFields(bytes) else {
                return bytes.count > lineLimit ? .malformed : .needsMore
            }
            guard end <= lineLimit else { return .malformed }
            state = .ended
            return .piece(end, body: 0, ends: true)
        }
    }

    private mutating func size(_ bytes: UnsafeRawBufferPointer) -> Step {
        guard let feed = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count > lineLimit ? .malformed : .needsMore
        }
        guard feed < lineLimit, let size = Self.chunkSize(bytes[..<feed]) else { return .malformed }
        state = size > 0 ? .chunk(size) : .trailers
        return .piece(feed + 1, body: 0, ends: false)
    }

    /// The hexadecimal number at the front of a line; it has at most 15 digits, and an extension or the line's end follows.
    private static func chunkSize(_ line: Slice<UnsafeRawBufferPointer>) -> Int? {
        var size = 0
        var digits = 0
        for byte in line {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): size = size << 4 | Int(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): size = size << 4 | Int(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): size = size << 4 | Int(byte - UInt8(ascii: "A") + 10)
            case UInt8(ascii: ";"), UInt8(ascii: "\r"): return digits > 0 ? size : nil
            default: return nil
            }
            digits += 1
            if digits > 15 { return nil }
        }
        return nil
    }
}

/// Where heads and trailers end.
enum MessageBoundary {
    /// The offset after the first empty line, with which the fields end; `nil` if there is none. A line feed without its carriage return
    /// counts as a line's end too: the decoder says whether that is allowed.
    ///
    /// - Parameter start: bytes before it have been searched already, and hold no end.
    /// - Complexity: O(n).
    static func endOfFields(_ bytes: UnsafeRawBufferPointer, from start: Int = 0) -> Int? {
        if start == 0, let length = emptyLine(bytes, at: 0) { return length }
        var index = start
        while index < bytes.count {
            guard let feed = bytes[index...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            if let length = emptyLine(bytes, at: feed + 1) { return feed + 1 + length }
            index = feed + 1
        }
        return nil
    }

    /// Bytes of the empty line at `index`; `nil` where there is none.
    private static func emptyLine(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int? {
        if index < bytes.count, bytes[index] == UInt8(ascii: "\n") { return 1 }
        if index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\r"), bytes[index + 1] == UInt8(ascii: "\n") {
            return 2
        }
        return nil
    }
}
