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

    private(set) var bytes = ByteBuffer()
    private(set) var parcels: [Parcel] = []

    var isEmpty: Bool { parcels.isEmpty }
    var isFull: Bool { parcels.count >= Self.parcels }

    mutating func add(_ piece: ByteBuffer, for socket: StreamSocket) {
        let start = bytes.writerIndex
        bytes.writeImmutableBuffer(piece)
        parcels.append(Parcel(socket: socket, bytes: start..<bytes.writerIndex))
    }

    /// Keeps its memory.
    mutating func removeAll() {
        bytes.clear()
        parcels.removeAll(keepingCapacity: true)
    }
}
