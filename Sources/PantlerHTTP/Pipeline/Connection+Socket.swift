internal import NIOCore
internal import PantlerSockets

// A connection whose bytes come and go past the pipeline.
extension Connection: StreamReader {
    /// Bytes read at a time while room is short, but those of a body that has its room.
    private static let scantBytes = 8 << 10

    var readLimit: Int {
        if message != nil, !isWaitingForRoom { return .max }
        if input.readableBytes > 0, isReadingPaused { return 0 }
        return loop.flight.isShort ? Self.scantBytes : .max
    }

    func receivedAll() -> Bool {
        endBurst()
        wantsRead = isReadingPaused
        return !wantsRead
    }
}

extension EventLoop {
    /// Runs a piece on the loop: at once where this is it. From any thread.
    func perform(_ piece: @escaping @Sendable () -> Void) {
        if inEventLoop { piece() } else { execute(piece) }
    }
}
