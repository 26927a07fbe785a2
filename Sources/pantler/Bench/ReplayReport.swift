internal import Histogram
internal import PantlerJSON

/// What is told at the end of a replay.
struct ReplayReport {
    let path: String
    let trace: Trace
    let connections: Int
    let maxEntries: Int64?
    let outcome: ReplayOutcome

    private static let percentiles: [(name: String, percent: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99.9", 99.9),
    ]

    private var hitRatio: Double? {
        outcome.gets > 0 ? Double(outcome.hits) / Double(outcome.gets) : nil
    }

    /// HTTP requests, gets and puts, a second.
    private var requestsPerSecond: Double {
        outcome.seconds > 0 ? Double(outcome.gets + outcome.puts) / outcome.seconds : 0
    }

    var table: Table {
        var table = Table("", ">", ">", ">", ">", ">", ">")
        func add(_ name: String, _ value: String) { table.add([name, value, "", "", "", "", ""]) }
        add("trace", String(path.split(separator: "/").last ?? ""))
        add("requests in it", Readable.count(Int64(trace.count)))
        add("distinct keys", Readable.count(Int64(trace.distinctKeys)))
        if let maxEntries { add("max_entries", Readable.count(maxEntries)) }
        add("connections", "\(connections)")
        add("gets", Readable.count(Int64(outcome.gets)))
        add("hits", Readable.count(Int64(outcome.hits)))
        add("misses", Readable.count(Int64(outcome.misses)))
        add("hit ratio", Readable.percent(hitRatio))
        add("puts", Readable.count(Int64(outcome.puts)))
        add("errors", Readable.count(Int64(outcome.errors)))
        add("seconds", Readable.fixed(outcome.seconds, 2))
        add("requests/s", Readable.count(Int64(requestsPerSecond.rounded())))
        table.add(["", "", "", "", "", "", ""])
        table.add(["latency, µs", "count"] + Self.percentiles.map(\.name) + ["max"])
        for (name, histogram) in [("get", outcome.getLatency), ("put", outcome.putLatency)]
        where histogram.totalCount > 0 {
            let values = Self.percentiles.map { histogram.valueAtPercentile($0.percent) } + [histogram.maxRecorded]
            table.add(
                [name, Readable.count(Int64(histogram.totalCount))]
                    + values.map { Readable.fixed(Double($0) / 1000, 1) }
            )
        }
        if let error = outcome.firstError {
            table.add(["", "", "", "", "", "", ""])
            table.add(["first error: \(error)", "", "", "", "", "", ""])
        }
        return table
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("trace")
        writer.string(path)
        let counts = [
            ("requests", trace.count), ("distinct_keys", trace.distinctKeys), ("connections", connections),
            ("gets", outcome.gets), ("hits", outcome.hits), ("misses", outcome.misses), ("puts", outcome.puts),
            ("errors", outcome.errors),
        ]
        for (name, count) in counts {
            writer.member(name)
            writer.integer(count)
        }
        writer.member("max_entries")
        if let maxEntries { writer.integer(maxEntries) } else { writer.null() }
        writer.member("hit_ratio")
        if let hitRatio { writer.number(hitRatio) } else { writer.null() }
        writer.member("seconds")
        writer.number(outcome.seconds)
        writer.member("requests_per_second")
        writer.number(requestsPerSecond)
        writer.member("latency_us")
        writer.beginObject()
        for (name, histogram) in [("get", outcome.getLatency), ("put", outcome.putLatency)] {
            writer.member(name)
            Self.write(histogram, to: &writer)
        }
        writer.endObject()
        writer.member("first_error")
        if let error = outcome.firstError { writer.string(error) } else { writer.null() }
        writer.endObject()
        return writer.bytes
    }

    private static func write(_ histogram: Histogram<UInt64>, to writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("count")
        writer.integer(histogram.totalCount)
        for (name, percent) in percentiles {
            writer.member(name)
            writer.number(Double(histogram.valueAtPercentile(percent)) / 1000)
        }
        writer.member("max")
        writer.number(Double(histogram.maxRecorded) / 1000)
        writer.endObject()
    }
}
