internal import NIOCore
import PantlerJSON
import PantlerSockets
import PantlerStore

/// A large value in an answer. Its bytes go to the socket from where memory has them.
struct OutgoingValue: Sendable {
    let hold: ValueHold
    /// Whether it goes as base64.
    let isBase64: Bool

    /// Bytes on the wire.
    var count: Int { isBase64 ? Base64.encodedCount(hold.value.bytes.count) : hold.value.bytes.count }

    /// The bytes as a socket takes them.
    var source: any ByteSource { isBase64 ? Base64Source(hold) : ValueSource(hold) }

    /// A copy, for a handler that takes nothing else.
    var copy: ByteBuffer {
        guard isBase64 else { return ByteBuffer(bytes: hold.value.bytes) }
        var text: [UInt8] = []
        Base64.encode(hold.value.bytes, into: &text)
        return ByteBuffer(bytes: text)
    }
}

/// A value as it is.
private final class ValueSource: ByteSource {
    private let hold: ValueHold
    private var offset = 0

    init(_ hold: ValueHold) { self.hold = hold }

    var remaining: Int { hold.value.bytes.count - offset }

    func next() -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: hold.value.bytes[offset...]) }

    func advance(by count: Int) { offset += count }
}

/// A value as base64. Only one piece of the text is there at a time: the next is made once the kernel has taken this one.
private final class Base64Source: ByteSource {
    /// Bytes of the value in a piece: a multiple of three, so that only the last piece is padded.
    private static let pieceBytes = 12 << 10

    private let hold: ValueHold
    /// The offset from which the value is read on.
    private var offset = 0
    private var remainingText: Int
    // This memory is allocated here, freed in `deinit`, and not moved in between: what `next` shows stays where it is.
    private let piece = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Base64.encodedCount(Base64Source.pieceBytes),
        alignment: 16
    )
    /// The part of the piece that was not sent yet.
    private var unsent = 0..<0

    init(_ hold: ValueHold) {
        self.hold = hold
        remainingText = Base64.encodedCount(hold.value.bytes.count)
    }

    deinit { piece.deallocate() }

    var remaining: Int { remainingText }

    func next() -> UnsafeRawBufferPointer {
        if unsent.isEmpty { encode() }
        return UnsafeRawBufferPointer(rebasing: piece[unsent])
    }

    func advance(by count: Int) {
        unsent = unsent.lowerBound + count..<unsent.upperBound
        remainingText -= count
    }

    private func encode() {
        let end = min(offset + Self.pieceBytes, hold.value.bytes.count)
        Base64.encode(UnsafeRawBufferPointer(rebasing: hold.value.bytes[offset..<end]), to: piece)
        unsent = 0..<Base64.encodedCount(end - offset)
        offset = end
    }
}

/// An answer on its way: its text, and the large values that go between parts of it.
struct WireAnswer: Sendable {
    /// Bytes that go before the text. Mostly this is empty, because they are the text's own beginning.
    var head = ByteBuffer()
    var text: ByteBuffer
    /// Values, and the places in `text` before which they go, in ascending order.
    private(set) var values: [(offset: Int, value: OutgoingValue)] = []
    /// The claim that counts the text among the bytes in flight; `nil` for a small one.
    var claim: FlightClaim?
    private(set) var valueBytes = 0

    init(_ text: ByteBuffer = ByteBuffer()) { self.text = text }

    /// Puts a value into the text, behind all others.
    mutating func add(_ value: OutgoingValue, at offset: Int) {
        values.append((offset, value))
        valueBytes += value.count
    }

    /// Appends a part of another's text, with the values in it. A value at the very end of the part belongs to the text after it.
    mutating func append(_ other: WireAnswer, _ part: Range<Int>) {
        let start = text.writerIndex - part.lowerBound
        if let piece = other.text.getSlice(at: part.lowerBound, length: part.count) { text.writeImmutableBuffer(piece) }
        for (offset, value) in other.values where part.contains(offset) { add(value, at: start + offset) }
    }

    /// Bytes on the wire, without those of the values.
    var textBytes: Int { head.readableBytes + text.readableBytes }

    /// Bytes on the wire.
    var count: Int { textBytes + valueBytes }
}
