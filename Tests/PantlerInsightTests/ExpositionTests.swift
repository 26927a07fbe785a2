import PantlerInsight
import Support
import Testing

@Suite("Exposition")
struct ExpositionTests {
    /// A page with every kind of family and every odd character.
    private func page(_ format: Exposition.Format) -> String {
        var page = Exposition(format)
        page.counter("pantler_hits", "Gets that found their entry, by namespace and tier.")
        page.sample(960, ["namespace": "shop", "tier": "memory"])
        page.sample(UInt64.max, ["namespace": "a\\b\"c\nd", "tier": "disk"])
        page.counter("pantler_compression_input_bytes", "Bytes with a \\ and a \" and\na line of its own.")
        page.sample(1.5)
        page.gauge("pantler_build_info", "The version.")
        page.sample(1, ["version": "1.0"])
        page.gauge("pantler_oddities", "Values that are no plain numbers.")
        for (name, value) in [("nan", Double.nan), ("high", .infinity), ("low", -.infinity), ("tiny", 1e-9)] {
            page.sample(value, ["kind": name])
        }
        page.histogram("pantler_wait_seconds", "How long.")
        var histogram = LatencyHistogram()
        for nanoseconds in [40_000, 2_000_000_000, 9_000_000_000] as [UInt64] {
            histogram.record(nanoseconds: nanoseconds)
        }
        page.sample(histogram)
        page.sample(histogram, ["operation": "get"])
        let tally = RequestTally()
        tally.record(.get, .fast, status: 200, nanoseconds: 1000)
        tally.record(.put, .full, status: 418, nanoseconds: 1000)
        RequestFigures([tally]).expose(to: &page)
        ProcessFigures().expose(to: &page)
        return String(decoding: page.finish(), as: UTF8.self)
    }

    @Test("a page in Prometheus's text is what its format says")
    func text() {
        let text = page(.prometheus)
        #expect(
            text.hasPrefix(
                #"""
                # HELP pantler_hits_total Gets that found their entry, by namespace and tier.
                # TYPE pantler_hits_total counter
                pantler_hits_total{namespace="shop",tier="memory"} 960
                pantler_hits_total{namespace="a\\b\"c\nd",tier="disk"} 18446744073709551615
                # HELP pantler_compression_input_bytes_total Bytes with a \\ and a " and\na line of its own.
                # TYPE pantler_compression_input_bytes_total counter
                pantler_compression_input_bytes_total 1.5
                # HELP pantler_build_info The version.
                # TYPE pantler_build_info gauge
                pantler_build_info{version="1.0"} 1
                # HELP pantler_oddities Values that are no plain numbers.
                # TYPE pantler_oddities gauge
                pantler_oddities{kind="nan"} NaN
                pantler_oddities{kind="high"} +Inf
                pantler_oddities{kind="low"} -Inf
                pantler_oddities{kind="tiny"} 1e-09
                # HELP pantler_wait_seconds How long.
                # TYPE pantler_wait_seconds histogram
                pantler_wait_seconds_bucket{le="1e-05"} 0
                pantler_wait_seconds_bucket{le="2.5e-05"} 0
                pantler_wait_seconds_bucket{le="5e-05"} 1
                pantler_wait_seconds_bucket{le="0.0001"} 1

                """#
            )
        )
        #expect(
            text.contains(
                #"""
                pantler_wait_seconds_bucket{operation="get",le="1"} 1
                pantler_wait_seconds_bucket{operation="get",le="2.5"} 2
                pantler_wait_seconds_bucket{operation="get",le="5"} 2
                pantler_wait_seconds_bucket{operation="get",le="10"} 3
                pantler_wait_seconds_bucket{operation="get",le="25"} 3
                pantler_wait_seconds_bucket{operation="get",le="+Inf"} 3
                pantler_wait_seconds_sum{operation="get"} 11.00004
                pantler_wait_seconds_count{operation="get"} 3

                """#
            )
        )
        #expect(!text.contains("EOF") && !text.contains("UNIT"))
    }

    @Test("a page in OpenMetrics is what its specification says")
    func openMetrics() {
        let text = page(.openMetrics)
        #expect(
            text.hasPrefix(
                #"""
                # HELP pantler_hits Gets that found their entry, by namespace and tier.
                # TYPE pantler_hits counter
                pantler_hits_total{namespace="shop",tier="memory"} 960
                pantler_hits_total{namespace="a\\b\"c\nd",tier="disk"} 18446744073709551615
                # HELP pantler_compression_input_bytes Bytes with a \\ and a \" and\na line of its own.
                # TYPE pantler_compression_input_bytes counter
                # UNIT pantler_compression_input_bytes bytes
                pantler_compression_input_bytes_total 1.5

                """#
            )
        )
        #expect(text.contains("# UNIT pantler_wait_seconds seconds\n"))
        #expect(text.contains("pantler_wait_seconds_bucket{le=\"1.0\"} 1\n"))
        #expect(text.contains("pantler_wait_seconds_bucket{le=\"2.5\"} 2\n"))
        #expect(text.hasSuffix("\n# EOF\n"))
    }

    @Test("requests are told by operation and code, and durations for every operation from the first page on")
    func requests() throws {
        let metrics = try Metrics(
            page(.prometheus).split(separator: "\n").filter { !$0.contains("a\\\\b") }.joined(separator: "\n")
        )
        #expect(metrics.sum("pantler_requests_total") == 2)
        #expect(metrics.sum("pantler_requests_total", ["operation": "get", "code": "200"]) == 1)
        #expect(metrics.sum("pantler_requests_total", ["operation": "put", "code": "other", "lane": "full"]) == 1)
        #expect(metrics.sum("pantler_request_duration_seconds_count", ["operation": "get"]) == 1)
        let operations = metrics.samples.filter { $0.name == "pantler_request_duration_seconds_count" }
        #expect(operations.count == Operation.allCases.count)
    }

    @Test("promtool has nothing to say against it")
    func promtool() throws {
        let result = try Command.run(program: ["promtool", "check", "metrics"], input: page(.prometheus))
        #expect(result.status == 0, "\(result)")
        #expect(result.output.isEmpty && result.errors.isEmpty, "\(result)")
    }
}
