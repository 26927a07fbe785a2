internal import NIOCore
internal import PantlerSockets

// A connection whose bytes come and go past the pipeline.
extension Connection: StreamReader {
    /// While room is short no more is read than there is room for: what is read has to be kept, and what every connection keeps of a body
    /// that waits would come to more than all that may be in flight.
    var readLimit: Int {
        if input.readableBytes > 0, isReadingPaused { return 0 }
        if !loop.flight.isShort { return .max }
        return max(Self.uncountedBytes, message?.claim?.ahead ?? 0)
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
