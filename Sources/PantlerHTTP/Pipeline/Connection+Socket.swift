internal import NIOCore
internal import PantlerSockets

// Connections whose bytes do not pass through the pipeline.
extension Connection: StreamReader {
    /// The most bytes to read now. While room is short, no more is read than there is room for: what is read has to be kept, and what all
    /// connections together would keep of bodies that wait could be more than may be in flight.
    var readLimit: Int {
        let (unread, isShort) = (input.readableBytes, isShort)
        if unread > 0, state.isReadingPaused(unread: unread, isShort: isShort) { return 0 }
        if !isShort { return .max }
        return max(Self.uncountedBytes, message?.claim?.ahead ?? 0)
    }

    func receivedAll() -> Bool {
        endBurst()
        return mayReadOn
    }

    var mayReadOn: Bool { state.mayRead(unread: input.readableBytes, isShort: isShort) }
}

extension EventLoop {
    /// Runs a piece of work on the loop, at once if the caller is on it. To be called from any thread.
    func perform(_ piece: @escaping @Sendable () -> Void) {
        if inEventLoop { piece() } else { execute(piece) }
    }
}
