internal import Histogram
internal import PantlerModel

/// The results of a replay, or of one connection's part in it.
struct ReplayOutcome: Sendable {
    var gets = 0
    var hits = 0
    var puts = 0
    /// Requests that failed; the replay went on with the next.
    var errors = 0
    /// The first error, in words.
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

/// Replays a trace over connections of its own.
struct Replay: Sendable {
    let trace: Trace
    let connections: Int
    let wire: ReplayWire
    let timeoutMilliseconds: Int64

    /// - Throws: a failure if nobody answers.
    func run(progress: ProgressBar) async throws(CommandFailure) -> ReplayOutcome {
        let numbers = DrawnNumbers()
        let threads = ConnectionThreads(
            address: wire.address,
            count: connections,
            timeoutMilliseconds: timeoutMilliseconds
        )
        let (parts, seconds) = try await threads.run(progress: progress) {
            numbers.position
        } _: { _, owned in
            replay(owned, numbers)
        }
        var total = ReplayOutcome()
        for part in parts { total.add(part) }
        total.seconds = seconds
        return total
    }

    /// One connection's part, on its thread.
    private func replay(_ owned: OwnedConnection, _ numbers: DrawnNumbers) -> ReplayOutcome {
        var outcome = ReplayOutcome()
        var connection = RenewedConnection(
            owned.take(),
            to: wire.address,
            timeoutMilliseconds: timeoutMilliseconds
        )
        var bytes: [UInt8] = []
        while !connection.isHopeless, let index = numbers.next(below: trace.count) {
            let failure = connection.use { connection throws(LeanConnection.Failure) in
                try replay(trace[index], over: connection, &bytes, &outcome)
            }
            if let failure { outcome.note(error: failure.reason) }
        }
        return outcome
    }

    private func replay(
        _ request: TracedRequest,
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
