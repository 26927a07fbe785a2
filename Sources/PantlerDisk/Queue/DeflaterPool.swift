import Dispatch
import PantlerCodec
import PantlerModel
import Synchronization

/// A few threads that deflate values while they wait for the writer, those first for which somebody waits.
///
/// A change whose value is not deflated yet stays in the queue while others are committed: see `PendingWrites.take`. It is held here by a
/// weak reference, so that one that is overwritten meanwhile neither takes memory nor time.
final class DeflaterPool: Sendable {
    private struct Weak {
        weak var keyed: KeyedChange?
    }

    private struct State {
        /// Changes in the order in which they came, of each kind. Those before `nextUrgent` and `nextOther` are taken.
        var urgent: [Weak] = []
        var others: [Weak] = []
        var nextUrgent = 0
        var nextOther = 0
        var isClosed = false
        var threads: [FreeThread] = []
        /// Threads that were woken and have not found the queues empty since.
        var awake = 0

        /// Takes the next change. One that was overwritten meanwhile is gone, and passed over.
        mutating func take(onlyUrgent: Bool) -> KeyedChange? {
            while nextUrgent < urgent.count {
                defer { nextUrgent += 1 }
                if let keyed = urgent[nextUrgent].keyed { return keyed }
            }
            urgent.removeAll(keepingCapacity: urgent.capacity <= Self.keptCapacity)
            nextUrgent = 0
            if onlyUrgent { return nil }
            while nextOther < others.count {
                defer { nextOther += 1 }
                if let keyed = others[nextOther].keyed { return keyed }
            }
            others.removeAll(keepingCapacity: others.capacity <= Self.keptCapacity)
            nextOther = 0
            return nil
        }

        private static let keptCapacity = 1024
    }

    private let state = Mutex(State())
    private let signal = DispatchSemaphore(value: 0)
    /// Called when a value is ready.
    private let finished: @Sendable () -> Void

    init(_ finished: @escaping @Sendable () -> Void) {
        self.finished = finished
    }

    /// Begins so many threads; where the system has none left, fewer, and the writer does it. To be followed by `close`.
    func start(threads: Int) {
        for _ in 0..<threads {
            // As nice as the writer, whose work it is.
            guard let thread = try? FreeThread(name: "disk-deflate", nice: Writer.nice, { [self] in run() }) else {
                break
            }
            state.withLock { $0.threads.append(thread) }
        }
    }

    /// Takes a change whose value is to be deflated, after `Deflation.begin`. Complexity: O(1).
    ///
    /// - Returns: `false` where nobody will do it.
    func submit(_ keyed: KeyedChange, isUrgent: Bool) -> Bool {
        let (isTaken, wakes) = state.withLock { state -> (Bool, Bool) in
            if state.isClosed || state.threads.isEmpty { return (false, false) }
            if isUrgent { state.urgent.append(Weak(keyed: keyed)) } else { state.others.append(Weak(keyed: keyed)) }
            let wakes = state.awake < state.threads.count
            if wakes { state.awake += 1 }
            return (true, wakes)
        }
        if wakes { signal.signal() }
        return isTaken
    }

    /// Ends the threads, once each is done with the value that it has. Blocks.
    func close() {
        let threads = state.withLock { state in
            state.isClosed = true
            defer { state.threads = [] }
            return state.threads
        }
        for _ in threads { signal.signal() }
        for thread in threads { thread.join() }
    }

    // MARK: The threads

    private func run() {
        var deflaters = Deflaters()
        while true {
            signal.wait()
            while let keyed = take() { deflate(keyed, &deflaters) }
            if state.withLock({ $0.isClosed }) { return }
        }
    }

    /// Takes the next change; without one the calling thread no longer counts as awake.
    private func take() -> KeyedChange? {
        state.withLock { state in
            if !state.isClosed, let keyed = state.take(onlyUrgent: false) { return keyed }
            state.awake -= 1
            return nil
        }
    }

    /// A thread's two streams: one for values that nobody waits for, and one for awaited values that come in between.
    private struct Deflaters: ~Copyable {
        var slow = try? DeflaterBox()
        var urgent = try? DeflaterBox()
    }

    private final class DeflaterBox {
        var deflater: Deflater

        init() throws(ZlibError) { deflater = try Deflater() }
    }

    /// Deflates a value; one for which nobody waits gives way between its pieces to those for which somebody does.
    private func deflate(_ keyed: KeyedChange, _ deflaters: inout Deflaters) {
        guard case .put(let entry, let options) = keyed.change, let deflation = keyed.deflation, deflation.isWaiting
        else {
            return
        }
        let urgent = deflaters.urgent
        let bytes = try? deflaters.slow?.deflater.deflate(entry.value, level: options.compressionLevel) { [self] in
            while let other = state.withLock({ $0.take(onlyUrgent: true) }) {
                guard other !== keyed else { continue }
                finish(other, urgent)
            }
        }
        deflation.finish(bytes ?? nil)
        finished()
    }

    private func finish(_ keyed: KeyedChange, _ box: DeflaterBox?) {
        guard case .put(let entry, let options) = keyed.change, let deflation = keyed.deflation, deflation.isWaiting
        else {
            return
        }
        // Whatever zlib has against it, plain is always possible.
        let bytes = try? box?.deflater.deflate(entry.value, level: options.compressionLevel)
        deflation.finish(bytes ?? nil)
        finished()
    }
}
