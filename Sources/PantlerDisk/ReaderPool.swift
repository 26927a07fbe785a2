import Dispatch
import PantlerModel
import Synchronization

/// A few threads that read, each with a connection of its own, and the requests that wait for one of them, first come first served.
final class ReaderPool: Sendable {
    typealias Request = @Sendable (Reader) -> Void

    private struct State {
        /// Those before `next` are taken.
        var requests: [Request?] = []
        var next = 0
        var isClosed = false
        var threads: [WorkerThread] = []
    }

    private let state = Mutex(State())
    /// Counts requests, and at the end one for each thread.
    private let signal = DispatchSemaphore(value: 0)

    /// - Throws: when a connection cannot be opened.
    init(context: TierContext) throws(SQLiteError) {
        for _ in 0..<max(1, context.options.readers) {
            let box = ReaderBox(try Reader(path: context.path, cacheBytes: context.options.readerCacheBytes))
            do {
                let thread = try WorkerThread(name: "disk-reader") { [self] in run(box) }
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
    func submit(_ request: @escaping Request) -> Bool {
        let isTaken = state.withLock {
            guard !$0.isClosed else { return false }
            $0.requests.append(request)
            return true
        }
        if isTaken { signal.signal() }
        return isTaken
    }

    /// Answers what waits, then ends the threads. Blocks.
    func close() {
        let threads = state.withLock { state in
            state.isClosed = true
            defer { state.threads = [] }
            return state.threads
        }
        for _ in threads { signal.signal() }
        for thread in threads { thread.join() }
    }

    private func run(_ box: ReaderBox) {
        while true {
            signal.wait()
            // A signal without a request is the end: requests are signalled before it, one by one.
            guard let request = takeRequest() else { return }
            request(box.reader)
        }
    }

    private func takeRequest() -> Request? {
        state.withLock { state in
            guard state.next < state.requests.count else { return nil }
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
