internal import NIOCore
internal import PantlerSockets

// A connection whose bytes come and go past the pipeline.
extension Connection: StreamReader {
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
