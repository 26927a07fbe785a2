internal import Histogram
internal import PantlerJSON

/// What is told at the end of a load.
struct LoadReport {
    let load: Load
    let outcome: LoadOutcome
    /// CPU time that the service used meanwhile; `nil` = it did not say.
    let serverSeconds: Double?

    private static let percentiles: [(name: String, percent: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9),
    ]

    private var requestsPerSecond: Double {
        outcome.seconds > 0 ? Double(outcome.answered) / outcome.seconds : 0
    }

    /// Microseconds of the service's CPU time; `nil` where it did not say, or nothing was answered.
    private var cpuPerRequest: Double? {
        guard let serverSeconds, outcome.answered > 0 else { return nil }
        return serverSeconds * 1e6 / Double(outcome.answered)
    }

    private var latencies: [(name: String, microseconds: Double)] {
        Self.percentiles.map { ($0.name, Double(outcome.latency.valueAtPercentile($0.percent)) / 1000) }
            + [("max", Double(outcome.latency.maxRecorded) / 1000)]
    }

    var table: Table {
        var table = Table("", ">")
        let batch = load.operation.batch
        table.add(["operation", load.operation.name])
        table.add(["connections", "\(load.connections)"])
        table.add(["pipelined requests", "\(load.pipeline)"])
        if batch > 1 { table.add(["keys a request", Readable.count(Int64(batch))]) }
        table.add(["keys", Readable.count(Int64(load.wire.keys))])
        table.add(["bytes of a value", Readable.count(Int64(load.wire.size))])
        table.add(["", ""])
        table.add(["requests answered", Readable.count(Int64(outcome.answered))])
        if load.operation == .get { table.add(["misses", Readable.count(Int64(outcome.misses))]) }
        table.add(["errors", Readable.count(Int64(outcome.errors))])
        table.add(["seconds", Readable.fixed(outcome.seconds, 2)])
        table.add(["requests/s", Readable.count(Int64(requestsPerSecond.rounded()))])
        if batch > 1 { table.add(["keys/s", Readable.count(Int64((requestsPerSecond * Double(batch)).rounded()))]) }
        table.add(["service's CPU, µs a request", cpuPerRequest.map { Readable.fixed($0, 2) } ?? "-"])
        if batch > 1 {
            let perKey = cpuPerRequest.map { Readable.fixed($0 / Double(batch), 3) }
            table.add(["service's CPU, µs a key", perKey ?? "-"])
        }
        if outcome.answered > 0 {
            table.add(["", ""])
            for (name, microseconds) in latencies {
                table.add(["latency \(name), µs", Readable.fixed(microseconds, 1)])
            }
        }
        if let error = outcome.firstError {
            table.add(["", ""])
            table.add(["first error: \(error)", ""])
        }
        return table
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("operation")
        writer.string(load.operation.name)
        let counts = [
            ("connections", load.connections), ("pipeline", load.pipeline), ("batch", load.operation.batch),
            ("keys", Int(load.wire.keys)), ("size", load.wire.size), ("requests", outcome.answered),
            ("misses", outcome.misses), ("errors", outcome.errors),
        ]
        for (name, count) in counts {
            writer.member(name)
            writer.integer(count)
        }
        writer.member("seconds")
        writer.number(outcome.seconds)
        writer.member("requests_per_second")
        writer.number(requestsPerSecond)
        writer.member("server_cpu_us_per_request")
        if let cpuPerRequest { writer.number(cpuPerRequest) } else { writer.null() }
        writer.member("latency_us")
        writer.beginObject()
        for (name, microseconds) in latencies {
            writer.member(name)
            writer.number(microseconds)
        }
        writer.endObject()
        writer.member("first_error")
        if let error = outcome.firstError { writer.string(error) } else { writer.null() }
        writer.endObject()
        return writer.bytes
    }
}
