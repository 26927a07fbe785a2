internal import NIOCore
import Synchronization

/// What other threads have for an event loop to do, in the order in which it came.
///
/// `EventLoop.execute` wakes the loop for whatever comes after it has taken what was there before: a system call for the thread that hands
/// over, dozens of them where a commit answers dozens of writers. Here the loop looks again before it rests, so that it is woken for
/// the first piece alone. Measured with 64 writers of durability `through` (writes to the eventfd, by perf): six in ten commits instead of
/// eleven in each.
final class LoopInbox: Sendable {
    typealias Piece = @Sendable () -> Void

    private struct State {
        var pieces: [Piece] = []
        /// Whether the loop is to look, or is at it.
        var isAwake = false
    }

    /// Looks before whatever else the loop has to do gets its turn.
    private static let looks = 8

    private let state = Mutex(State())
    private let eventLoop: any EventLoop

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Runs a piece on the loop: at once where this is it. From any thread.
    func run(_ piece: @escaping Piece) {
        if eventLoop.inEventLoop { return piece() }
        let wakes = state.withLock { state in
            state.pieces.append(piece)
            defer { state.isAwake = true }
            return !state.isAwake
        }
        if wakes { eventLoop.execute { self.empty() } }
    }

    /// On the loop.
    private func empty() {
        for _ in 0..<Self.looks {
            let pieces = state.withLock { state in
                if state.pieces.isEmpty { state.isAwake = false }
                defer { state.pieces = [] }
                return state.pieces
            }
            if pieces.isEmpty { return }
            for piece in pieces { piece() }
        }
        eventLoop.execute { self.empty() }
    }
}
