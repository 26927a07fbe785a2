internal import Histogram
internal import PantlerModel

/// The results of a load, or of one connection's part in it.
struct LoadOutcome: Sendable {
    /// Requests that were answered as they should be; a miss counts as one.
    var answered = 0
    /// Gets that found nothing. What a batch did not find is not counted.
    var misses = 0
    var errors = 0
    /// The first error, in words.
    var firstError: String?
    /// Nanoseconds from the sending of a burst to the answer of each request in it.
    var latency = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000)
    var seconds = 0.0

    mutating func add(_ other: LoadOutcome) {
        answered += other.answered
        misses += other.misses
        errors += other.errors
        firstError = firstError ?? other.firstError
        latency.add(other.latency)
    }

    fileprivate mutating func note(error: String) {
        errors += 1
        firstError = firstError ?? error
    }
}

/// A steady load of one operation: each connection sends as soon as it has its answers.
struct Load: Sendable {
    enum End: Hashable, Sendable {
        case requests(Int)
        case milliseconds(Int64)
    }

    let operation: LoadOperation
    let wire: LoadWire
    let connections: Int
    /// Requests sent at once over a connection.
    let pipeline: Int
    let end: End
    let timeoutMilliseconds: Int64

    /// Most keys of batches under way over one connection: their bytes fit into the sockets' buffers, so that no burst waits for
    /// answers that wait for it.
    static let keysInFlight = 10_000

    /// - Throws: a failure if nobody answers.
    func run() async throws(CommandFailure) -> LoadOutcome {
        let threads = ConnectionThreads(
            address: wire.address,
            count: connections,
            timeoutMilliseconds: timeoutMilliseconds
        )
        let numbers = DrawnNumbers()
        let begin = monotonicNanoseconds()
        let progress: ProgressBar
        let position: @Sendable () -> Int
        switch end {
        case .requests(let count):
            progress = ProgressBar(total: count)
            position = { numbers.position }
        case .milliseconds(let count):
            progress = ProgressBar(total: Int(count), unit: .milliseconds)
            position = { Int((monotonicNanoseconds() - begin) / 1_000_000) }
        }
        let (parts, seconds) = try await threads.run(progress: progress, position: position) { number, owned in
            drive(owned, number, numbers, begin: begin)
        }
        var total = LoadOutcome()
        for part in parts { total.add(part) }
        total.seconds = seconds
        return total
    }

    /// One connection's part, on its thread.
    private func drive(_ owned: OwnedConnection, _ number: Int, _ numbers: DrawnNumbers, begin: UInt64) -> LoadOutcome {
        var outcome = LoadOutcome()
        var random = Xorshift(seed: UInt64(number + 1) &* 0x9e37_79b9_7f4a_7c15)
        var connection = RenewedConnection(
            owned.take(),
            to: wire.address,
            timeoutMilliseconds: timeoutMilliseconds
        )
        var bytes: [UInt8] = []
        while !connection.isHopeless, let count = nextBurst(numbers, begin: begin) {
            let failure = connection.use { connection throws(LeanConnection.Failure) in
                bytes.removeAll(keepingCapacity: true)
                for _ in 0..<count { wire.append(operation, &random, to: &bytes) }
                try exchange(bytes, count, over: connection, &outcome)
            }
            if let failure { outcome.note(error: failure.reason) }
        }
        return outcome
    }

    /// How many requests to send next; `nil` at the end.
    private func nextBurst(_ numbers: DrawnNumbers, begin: UInt64) -> Int? {
        switch end {
        case .requests(let all):
            let count = numbers.draw(pipeline, below: all)
            return count > 0 ? count : nil
        case .milliseconds(let length):
            return monotonicNanoseconds() - begin < UInt64(length) * 1_000_000 ? pipeline : nil
        }
    }

    private func exchange(
        _ bytes: [UInt8],
        _ count: Int,
        over connection: LeanConnection,
        _ outcome: inout LoadOutcome
    ) throws(LeanConnection.Failure) {
        let begin = monotonicNanoseconds()
        try connection.send(bytes)
        for _ in 0..<count {
            let answer = try connection.receive()
            outcome.latency.record(monotonicNanoseconds() - begin)
            switch (answer.status, operation) {
            case (200, _), (201, .set): outcome.answered += 1
            case (404, .get):
                outcome.answered += 1
                outcome.misses += 1
            default: outcome.note(error: "a \(operation.name) was answered \(answer.status): \(answer.text)")
            }
        }
    }
}
