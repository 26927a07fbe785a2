internal import Foundation
internal import Histogram
internal import PantlerModel
internal import Synchronization

/// What came of a replay, or of one connection's part in it.
struct ReplayOutcome: Sendable {
    var gets = 0
    var hits = 0
    var puts = 0
    /// Requests that failed; the replay went on with the next.
    var errors = 0
    /// What the first of them met.
    var firstError: String?
    /// In nanoseconds.
    var getLatency = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
    var putLatency = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
    var seconds = 0.0

    var misses: Int { gets - hits }

    mutating func add(_ other: ReplayOutcome) {
        gets += other.gets
        hits += other.hits
        puts += other.puts
        errors += other.errors
        firstError = firstError ?? other.firstError
        getLatency.add(other.getLatency)
        putLatency.add(other.putLatency)
    }

    fileprivate mutating func note(error: String) {
        errors += 1
        firstError = firstError ?? error
    }
}

/// Replays a trace over connections of its own, each with a thread that blocks: the cheapest client there is, so that the
/// service's time is what is measured.
struct Replay: Sendable {
    let trace: Trace
    let connections: Int
    let wire: ReplayWire
    let timeoutMilliseconds: Int64

    /// After so many failures in a row a connection gives up: the service is gone.
    private static let patience = 10

    /// - Throws: a failure if nobody answers.
    func run(progress: ProgressBar) async throws(CommandFailure) -> ReplayOutcome {
        let cursor = Cursor()
        let (results, continuation) = AsyncStream<ReplayOutcome>.makeStream()
        let begin = monotonicNanoseconds()
        // Each connection is there before the first request goes out.
        var open: [OwnedConnection] = []
        for _ in 0..<connections {
            do {
                open.append(
                    OwnedConnection(try LeanConnection(to: wire.address, timeoutMilliseconds: timeoutMilliseconds))
                )
            } catch {
                throw .nobodyAnswers(at: wire.address.url)
            }
        }
        for owned in open {
            let thread = Thread { [self] in continuation.yield(replay(owned, cursor)) }
            thread.name = "replay"
            thread.start()
        }
        let ticking = Task { await progress.follow { cursor.position } }
        var total = ReplayOutcome()
        var ended = 0
        for await part in results {
            total.add(part)
            ended += 1
            if ended == connections { break }
        }
        ticking.cancel()
        await ticking.value
        total.seconds = Double(monotonicNanoseconds() - begin) / 1e9
        return total
    }

    /// One connection's part, on its thread.
    private func replay(_ owned: OwnedConnection, _ cursor: Cursor) -> ReplayOutcome {
        var outcome = ReplayOutcome()
        var connection: LeanConnection? = owned.take()
        var failuresInARow = 0
        var bytes: [UInt8] = []
        while let index = cursor.next(below: trace.count) {
            do throws(LeanConnection.Failure) {
                let current: LeanConnection
                if let connection {
                    current = connection
                } else {
                    current = try LeanConnection(to: wire.address, timeoutMilliseconds: timeoutMilliseconds)
                    connection = current
                }
                try replay(trace[index], over: current, &bytes, &outcome)
                failuresInARow = 0
            } catch {
                connection = nil
                outcome.note(error: error.reason)
                failuresInARow += 1
                if failuresInARow >= Self.patience { break }
            }
        }
        return outcome
    }

    private func replay(
        _ request: Trace.Request,
        over connection: LeanConnection,
        _ bytes: inout [UInt8],
        _ outcome: inout ReplayOutcome
    ) throws(LeanConnection.Failure) {
        if !request.isSet {
            bytes.removeAll(keepingCapacity: true)
            wire.appendGet(request, to: &bytes)
            let begin = monotonicNanoseconds()
            let answer = try connection.exchange(bytes)
            outcome.getLatency.record(monotonicNanoseconds() - begin)
            switch answer.status {
            case 200:
                outcome.gets += 1
                outcome.hits += 1
                return
            case 404:
                outcome.gets += 1
            default:
                return outcome.note(error: "a GET was answered \(answer.status): \(answer.text)")
            }
        }
        bytes.removeAll(keepingCapacity: true)
        wire.appendPut(request, to: &bytes)
        let begin = monotonicNanoseconds()
        let answer = try connection.exchange(bytes)
        outcome.putLatency.record(monotonicNanoseconds() - begin)
        if answer.status == 200 || answer.status == 201 {
            outcome.puts += 1
        } else {
            outcome.note(error: "a PUT was answered \(answer.status): \(answer.text)")
        }
    }
}

/// Where the replay stands in its trace; each request is given out once.
private final class Cursor: Sendable {
    private let index = Atomic(0)

    /// Relaxed: the trace does not change, and nothing else hangs on the order in which threads see this number.
    func next(below count: Int) -> Int? {
        let next = index.wrappingAdd(1, ordering: .relaxed).oldValue
        return next < count ? next : nil
    }

    var position: Int { index.load(ordering: .relaxed) }
}

/// Hands a connection from the thread that made it to the one that uses it.
private final class OwnedConnection: Sendable {
    private let connection: Mutex<LeanConnection?>

    init(_ connection: sending LeanConnection) {
        self.connection = Mutex(connection)
    }

    /// Once.
    func take() -> sending LeanConnection? {
        connection.withLock { connection in
            let taken = connection
            connection = nil
            return taken
        }
    }
}
