import NIOCore

/// Lets one handshake of a loop take a step at a time, and all that else waits for the loop go on before the next: a step may be a private
/// key's operation, which takes as long as hundreds of hits. Used on the loop.
final class HandshakeTurns {
    private let eventLoop: any EventLoop
    private var waiting = CircularBuffer<any HandshakeStep>()
    private var isPlanned = false

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Has `step` taken when its turn comes.
    func add(_ step: any HandshakeStep) {
        waiting.append(step)
        plan()
    }

    private func plan() {
        guard !isPlanned, !waiting.isEmpty else { return }
        isPlanned = true
        // A timer that is due is fired once before each look at the sockets. Work that is handed over is looked for twice.
        eventLoop.assumeIsolated().scheduleTask(in: .zero) { [self] in
            isPlanned = false
            // Those that are over by now cost nothing.
            while let next = waiting.popFirst(), !next.takeStep() {}
            // Read for the loop, which by this knows how long it was held.
            _ = eventLoop.now
            plan()
        }
    }
}

/// A handshake that waits for its turn.
protocol HandshakeStep: AnyObject {
    /// Takes the step. Returns whether there was one to take.
    func takeStep() -> Bool
}
