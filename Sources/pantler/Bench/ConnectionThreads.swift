internal import PantlerModel
internal import Synchronization

/// Connections, each with a thread that blocks: the cheapest client there is, so that the service's time is what is measured.
struct ConnectionThreads: Sendable {
    let address: ServiceAddress
    let count: Int
    let timeoutMilliseconds: Int64

    /// After so many failures in a row a connection gives up.
    static let patience = 10

    /// Runs `body` on each connection's thread, with the connection's number, and returns when all have ended.
    ///
    /// - Parameter position: how far all of them have come together.
    /// - Returns: what came of each, in no order, and how long it took.
    /// - Throws: a failure if nobody answers.
    func run<Part: Sendable>(
        progress: ProgressBar,
        position: @escaping @Sendable () -> Int,
        _ body: @escaping @Sendable (Int, OwnedConnection) -> Part
    ) async throws(CommandFailure) -> (parts: [Part], seconds: Double) {
        // Each connection is there before the first request goes out.
        var open: [OwnedConnection] = []
        for _ in 0..<count { open.append(OwnedConnection(try connect())) }
        let (results, continuation) = AsyncStream<Part>.makeStream()
        let begin = monotonicNanoseconds()
        for (number, owned) in open.enumerated() {
            do throws(ThreadFault) {
                try FreeThread.begin(name: "bench") { continuation.yield(body(number, owned)) }
            } catch {
                throw CommandFailure(.failed, code: "no_thread", "\(error).")
            }
        }
        let ticking = Task { await progress.follow(position) }
        var parts: [Part] = []
        for await part in results {
            parts.append(part)
            if parts.count == count { break }
        }
        let seconds = Double(monotonicNanoseconds() - begin) / 1e9
        ticking.cancel()
        await ticking.value
        return (parts, seconds)
    }

    private func connect() throws(CommandFailure) -> sending LeanConnection {
        do {
            return try LeanConnection(to: address, timeoutMilliseconds: timeoutMilliseconds)
        } catch {
            throw .nobodyAnswers(at: address.url)
        }
    }
}

/// Hands a connection from the thread that made it to the one that uses it.
final class OwnedConnection: Sendable {
    private let connection: Mutex<LeanConnection?>

    init(_ connection: sending LeanConnection) {
        self.connection = Mutex(connection)
    }

    /// Takes the connection out; a second call returns `nil`.
    func take() -> sending LeanConnection? {
        connection.withLock { connection in
            let taken = connection
            connection = nil
            return taken
        }
    }
}

/// A connection that is made anew after each failure, until too many have come in a row. Used by one thread.
struct RenewedConnection {
    private let address: ServiceAddress
    private let timeoutMilliseconds: Int64
    private var connection: LeanConnection?
    private var failuresInARow = 0

    init(_ first: LeanConnection?, to address: ServiceAddress, timeoutMilliseconds: Int64) {
        connection = first
        self.address = address
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Whether it gives up: the service is gone.
    var isHopeless: Bool { failuresInARow >= ConnectionThreads.patience }

    /// Runs `body` with the connection.
    ///
    /// - Returns: what failed, if something did: `body`, or the connecting before.
    mutating func use(
        _ body: (LeanConnection) throws(LeanConnection.Failure) -> Void
    ) -> LeanConnection.Failure? {
        do throws(LeanConnection.Failure) {
            let current: LeanConnection
            if let connection {
                current = connection
            } else {
                current = try LeanConnection(to: address, timeoutMilliseconds: timeoutMilliseconds)
                connection = current
            }
            try body(current)
            failuresInARow = 0
            return nil
        } catch {
            connection = nil
            failuresInARow += 1
            return error
        }
    }
}

/// Numbers from 0 on that threads draw; each is given out once.
final class DrawnNumbers: Sendable {
    private let index = Atomic(0)

    /// Relaxed: nothing else hangs on the order in which threads see this number.
    func next(below count: Int) -> Int? {
        let next = index.wrappingAdd(1, ordering: .relaxed).oldValue
        return next < count ? next : nil
    }

    /// Draws up to `wanted` numbers at once. Returns how many of them are below `count`.
    func draw(_ wanted: Int, below count: Int) -> Int {
        let first = index.wrappingAdd(wanted, ordering: .relaxed).oldValue
        return max(0, min(wanted, count - first))
    }

    var position: Int { index.load(ordering: .relaxed) }
}
