internal import NIOCore

/// Answers of several connections, to be sent one right after the other.
///
/// Who is waiting for answers is woken by the first of them and finds the others there. Sent one by one as they are made, each would
/// wake it anew where it is the faster of the two, which the sender pays for.
struct Outbox {
    /// Bytes of one socket, as a range of those of all.
    struct QueuedBytes {
        let socket: StreamSocket
        let range: Range<Int>
    }

    /// How many answers are gathered at most. The first waits for those after it.
    static let capacity = 16
    /// The most bytes of one answer. To copy a larger one costs more than it saves.
    static let largestPiece = 4 << 10

    private var bytes = ByteBuffer()
    private var queued: [QueuedBytes] = []
    /// The place of the first that has not been taken.
    private var next = 0

    var isEmpty: Bool { next == queued.count }
    var isFull: Bool { queued.count >= Self.capacity }

    mutating func add(_ piece: ByteBuffer, for socket: StreamSocket) {
        let start = bytes.writerIndex
        bytes.writeImmutableBuffer(piece)
        queued.append(QueuedBytes(socket: socket, range: start..<bytes.writerIndex))
    }

    /// Takes what is to be sent first, with the bytes of all.
    ///
    /// Whoever sends it may come to send others, and more of their own: what is left stays here meanwhile, so that the next to
    /// take goes on where this one was, and nothing is overtaken.
    mutating func take() -> (first: QueuedBytes, bytes: ByteBuffer)? {
        guard next < queued.count else { return nil }
        defer { next += 1 }
        return (queued[next], bytes)
    }

    /// Empties it once all is taken. Keeps its memory.
    mutating func reset() {
        guard isEmpty else { return }
        bytes.clear()
        queued.removeAll(keepingCapacity: true)
        next = 0
    }
}
