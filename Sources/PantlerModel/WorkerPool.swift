import Dispatch
import Synchronization

/// A few threads for work that takes longer than an event loop may be held; it is done in the order in which it came.
///
/// The threads are the pool's own, so that no other work keeps it waiting, and end when there has been nothing to do for a while. A kind of
/// work that must not wait for another has a pool of its own.
package final class WorkerPool: Sendable {
    package typealias Piece = @Sendable () -> Void

    private struct State {
        /// The pieces of work in the order in which they came; those before `next` are taken.
        var pieces: [Piece?] = []
        var next = 0
        /// How many threads there are.
        var running = 0
        /// How many of them wait and have not been woken.
        var resting = 0
        var isClosed = false
        /// Signalled once no thread is left, for those who close the pool.
        var idle: [DispatchSemaphore] = []
    }

    private enum Step {
        case nothing
        case wake
        case begin
    }

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    private let name: String
    private let width: Int

    private static let restSeconds = 5
    /// The pool's work comes after that of the event loops, for which somebody waits.
    private static let nice: Int32 = 2

    /// - Parameters:
    ///   - name: up to 15 bytes, for `top -H`.
    ///   - width: the most threads at a time.
    package init(_ name: String, width: Int = 1) {
        self.name = name
        self.width = width
    }

    /// Hands the pool a piece of work. From any thread.
    package func async(_ piece: @escaping Piece) {
        let step = state.withLock { state -> Step in
            if state.isClosed { return .nothing }
            state.pieces.append(piece)
            if state.resting > 0 {
                state.resting -= 1
                return .wake
            }
            guard state.running < width else { return .nothing }
            state.running += 1
            return .begin
        }
        switch step {
        case .nothing: break
        case .wake: signal.signal()
        case .begin:
            do throws(ThreadFault) {
                try FreeThread.begin(name: name, nice: Self.nice) { self.run() }
            } catch {
                // Dispatch may have one left.
                DispatchQueue.global(qos: .utility).async { self.run() }
            }
        }
    }

    package func async(afterMilliseconds milliseconds: Int, _ piece: @escaping Piece) {
        // Dispatch, too, makes threads on the one that asks: see `FreeThread`.
        async {
            DispatchQueue.global(qos: .utility).asyncAfter(deadline: .now() + .milliseconds(milliseconds)) {
                self.async(piece)
            }
        }
    }

    /// How many pieces of work have not begun.
    package var waiting: Int { state.withLock { $0.pieces.count - $0.next } }

    /// Takes no more work, drops what has not begun, and waits until the rest is done. Blocks.
    package func close() {
        let idle = DispatchSemaphore(value: 0)
        let (waits, resting) = state.withLock { state in
            state.isClosed = true
            state.pieces = []
            state.next = 0
            if state.running > 0 { state.idle.append(idle) }
            defer { state.resting = 0 }
            return (state.running > 0, state.resting)
        }
        for _ in 0..<resting { signal.signal() }
        if waits { idle.wait() }
    }

    // MARK: On a thread of the pool

    private enum Next {
        case piece(Piece)
        case rest
        case end
    }

    private func run() {
        while true {
            switch next() {
            case .piece(let piece): piece()
            case .end: return
            case .rest:
                if signal.wait(timeout: .now() + .seconds(Self.restSeconds)) == .success { continue }
                if endsAfterRest() { return }
                // A caller has just decided to wake this thread, and is about to signal.
                signal.wait()
            }
        }
    }

    private func next() -> Next {
        state.withLock { state in
            while state.next < state.pieces.count {
                let piece = state.pieces[state.next].take()
                state.next += 1
                if state.next == state.pieces.count || state.next >= 1024 {
                    state.pieces.removeFirst(state.next)
                    state.next = 0
                }
                if let piece { return .piece(piece) }
            }
            if state.isClosed {
                Self.end(&state)
                return .end
            }
            state.resting += 1
            return .rest
        }
    }

    private func endsAfterRest() -> Bool {
        state.withLock { state in
            guard state.resting > 0 else { return false }
            state.resting -= 1
            Self.end(&state)
            return true
        }
    }

    private static func end(_ state: inout State) {
        state.running -= 1
        guard state.running == 0 else { return }
        for waiter in state.idle { waiter.signal() }
        state.idle = []
    }
}
