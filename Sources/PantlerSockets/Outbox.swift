internal import NIOCore

/// Answers of several connections, to be sent one right after the other.
///
/// Who is waiting for answers is woken by the first of them and finds the others there. Sent one by one as they are made, each would
/// wake it anew where it is the faster of the two, which the sender pays for.
struct Outbox {
    struct Parcel {
        let socket: StreamSocket
        let bytes: Range<Int>
    }

    /// Parcels that are gathered at most. The first waits for those after it.
    static let parcels = 16
    /// Bytes of a parcel. Copying a larger one costs more than it saves.
    static let parcelBytes = 4 << 10

    private var bytes = ByteBuffer()
    private var parcels: [Parcel] = []
    /// Parcels before it have been taken.
    private var next = 0

    var isEmpty: Bool { next == parcels.count }
    var isFull: Bool { parcels.count >= Self.parcels }

    mutating func add(_ piece: ByteBuffer, for socket: StreamSocket) {
        let start = bytes.writerIndex
        bytes.writeImmutableBuffer(piece)
        parcels.append(Parcel(socket: socket, bytes: start..<bytes.writerIndex))
    }

    /// Takes the first parcel, with the bytes of all.
    ///
    /// Whoever sends it may come to send others, and more of their own: what is left stays here meanwhile, so that the next to
    /// take goes on where this one was, and nothing is overtaken.
    mutating func take() -> (parcel: Parcel, bytes: ByteBuffer)? {
        guard next < parcels.count else { return nil }
        defer { next += 1 }
        return (parcels[next], bytes)
    }

    /// Empties it once all parcels are taken. Keeps its memory.
    mutating func reset() {
        guard isEmpty else { return }
        bytes.clear()
        parcels.removeAll(keepingCapacity: true)
        next = 0
    }
}
