import Dispatch
import PantlerModel
import Synchronization

/// A few threads that read, each with a connection of its own, and the requests that wait for one of them, first come first served.
///
/// A thread that is awake takes requests until there are none. Another is woken only where more requests wait than those that are awake will
/// soon be done with: a read out of the page cache takes less time than to wake a thread for it.
final class ReaderPool: Sendable {
    typealias ReadRequest = @Sendable (Reader) -> Void

    private struct State {
        /// The requests in the order in which they came; those before `next` are taken.
        var requests: [ReadRequest?] = []
        var next = 0
        var isClosed = false
        var threads: [FreeThread] = []
        /// How many threads were woken and have not found the queue empty since.
        var awake = 0

        var waiting: Int { requests.count - next }
    }

    /// With more waiting requests than this for each thread that is awake, another is woken.
    private static let backlog = 16

    private let state = Mutex(State())
    /// Wakes a thread.
    private let signal = DispatchSemaphore(value: 0)

    /// - Throws: when a connection cannot be opened.
    init(context: TierContext) throws(SQLiteError) {
        for _ in 0..<max(1, context.options.readers) {
            let box = ReaderBox(try Reader(path: context.path, cacheBytes: context.options.readerCacheBytes))
            do {
                let thread = try FreeThread(name: "disk-reader") { [self] in run(box) }
                state.withLock { $0.threads.append(thread) }
            } catch {
                close()
                throw SQLiteError(code: .noMemory, message: error.description)
            }
        }
    }

    /// Hands a request to the next free thread.
    ///
    /// - Returns: `false` if the pool is closed, and the request will not run.
    func submit(_ request: @escaping ReadRequest) -> Bool {
        let (isTaken, wakes) = state.withLock { state in
            guard !state.isClosed else { return (false, false) }
            state.requests.append(request)
            let wakes = state.awake < state.threads.count && state.waiting > state.awake * Self.backlog
            if wakes { state.awake += 1 }
            return (true, wakes)
        }
        if wakes { signal.signal() }
        return isTaken
    }

    /// Answers what waits, then ends the threads. Blocks.
    func close() {
        let threads = state.withLock { state in
            state.isClosed = true
            // Each is woken once more below, to answer what waits and to end.
            defer { state.threads = [] }
            return state.threads
        }
        for _ in threads { signal.signal() }
        for thread in threads { thread.join() }
    }

    private func run(_ box: ReaderBox) {
        while true {
            signal.wait()
            while let request = takeRequest() { request(box.reader) }
            if state.withLock({ $0.isClosed }) { return }
        }
    }

    /// Takes the next request; without one the calling thread no longer counts as awake.
    private func takeRequest() -> ReadRequest? {
        state.withLock { state in
            guard state.waiting > 0 else {
                state.awake -= 1
                return nil
            }
            let request = state.requests[state.next]
            state.requests[state.next] = nil
            state.next += 1
            if state.next == state.requests.count || state.next >= 1024 {
                state.requests.removeFirst(state.next)
                state.next = 0
            }
            return request
        }
    }
}

/// Carries a reader to its thread.
// Sendable without the compiler's proof: one thread makes it, and hands it to the one other thread that uses it from then on;
// `pthread_create` orders the two.
private final class ReaderBox: @unchecked Sendable {
    let reader: Reader

    init(_ reader: Reader) {
        self.reader = reader
    }
}
