internal import NIOCore
internal import PantlerSockets

// A connection whose bytes come and go past the pipeline.
extension Connection: StreamReader {
    /// While room is short no more is read than there is room for: what is read has to be kept, and what every connection keeps of a body
    /// that waits would come to more than all that may be in flight.
    var readLimit: Int {
        let (unread, isShort) = (input.readableBytes, loop.flight.isShort)
        if unread > 0, state.isReadingPaused(unread: unread, isShort: isShort) { return 0 }
        if !isShort { return .max }
        return max(Self.uncountedBytes, message?.claim?.ahead ?? 0)
    }

    func receivedAll() -> Bool {
        endBurst()
        return state.mayRead(unread: input.readableBytes, isShort: loop.flight.isShort)
    }
}

extension EventLoop {
    /// Runs a piece on the loop: at once where this is it. From any thread.
    func perform(_ piece: @escaping @Sendable () -> Void) {
        if inEventLoop { piece() } else { execute(piece) }
    }
}
