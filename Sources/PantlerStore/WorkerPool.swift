import Dispatch
import PantlerModel
import Synchronization

/// A few threads for work that takes longer than an event loop may be held: first come, first served, off the event loops.
///
/// There are no threads while there is nothing to do. Each kind of work that must not wait for another has a pool of its own.
package final class WorkerPool: Sendable {
    package typealias Piece = @Sendable () -> Void

    private struct State {
        /// Those before `next` are taken.
        var pieces: [Piece?] = []
        var next = 0
        /// Threads that are at work.
        var running = 0
        var isClosed = false
        /// Told once nothing is left.
        var idle: [DispatchSemaphore] = []
    }

    private let state = Mutex(State())
    private let width: Int
    private let queue: DispatchQueue
    /// Of whoever makes the pool: all that the process has.
    private let cores = Cores.ofThisThread()

    /// - Parameter width: the most threads at a time.
    package init(_ name: String, width: Int = 1) {
        self.width = width
        // After whatever somebody waits for on a loop (on Linux: nice 2).
        queue = DispatchQueue(label: "pantler." + name, qos: .utility, attributes: .concurrent)
    }

    /// Hands the pool something to do. From any thread.
    package func async(_ piece: @escaping Piece) {
        let starts = state.withLock { state in
            if state.isClosed { return false }
            state.pieces.append(piece)
            guard state.running < width else { return false }
            state.running += 1
            return true
        }
        if starts { queue.async { self.run() } }
    }

    package func async(afterMilliseconds milliseconds: Int, _ piece: @escaping Piece) {
        queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { self.async(piece) }
    }

    /// Pieces that have not begun.
    package var waiting: Int { state.withLock { $0.pieces.count - $0.next } }

    /// Takes nothing more, drops what has not begun, and waits for what has. Blocks.
    package func close() {
        let idle = DispatchSemaphore(value: 0)
        let waits = state.withLock { state in
            state.isClosed = true
            state.pieces = []
            state.next = 0
            if state.running > 0 { state.idle.append(idle) }
            return state.running > 0
        }
        if waits { idle.wait() }
    }

    private func run() {
        while let piece = take() {
            // The thread may have been started by an event loop that keeps to one core, and would be in its way there.
            cores.keepThisThread()
            piece()
        }
    }

    /// The next piece; without one the calling thread is no longer at work.
    private func take() -> Piece? {
        state.withLock { state in
            guard state.next < state.pieces.count else {
                state.running -= 1
                if state.running == 0 {
                    for waiter in state.idle { waiter.signal() }
                    state.idle = []
                }
                return nil
            }
            let piece = state.pieces[state.next]
            state.pieces[state.next] = nil
            state.next += 1
            if state.next == state.pieces.count || state.next >= 1024 {
                state.pieces.removeFirst(state.next)
                state.next = 0
            }
            return piece
        }
    }
}
