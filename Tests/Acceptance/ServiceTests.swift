import Support
import Testing

@Suite("The service itself", .server())
struct ServiceTests {
    let server: ServerProcess
    let http: HTTPClient

    init() throws {
        server = try ServerTrait.server
        http = server.client
    }

    @Test("probes answer", arguments: ["/livez", "/readyz"])
    func probes(target: String) throws {
        #expect(expect(try http.get(target), 200).text == #"{"status":"ok"}"#)
    }

    @Test("the service's own statistics say what belongs to the whole")
    func stats() throws {
        let stats = expect(try http.get("/v1/stats"), 200).json
        #expect(stats["uptime"].double ?? -1 >= 0)
        #expect(stats["version"].string?.isEmpty == false)
        #expect(stats["memory"]["limit"].int == 256 << 20)
        #expect(stats["disk"]["fault"].isNull)
        #expect(stats["disk"]["file_bytes"].int ?? -1 >= 0)
        for (group, members) in [
            ("compression", ["in_bytes", "out_bytes"]), ("write_behind", ["entries", "bytes", "age"]),
            ("disk", ["file_bytes", "wal_bytes", "fault"]), ("memory", ["bytes", "limit"]),
        ] { #expect(stats[group].names == Set(members)) }
    }

    @Test("metrics are there under their names")
    func metrics() throws {
        let ns = try http.namespace()
        try http.store(ns, "a", "\"" + String(repeating: "pantler ", count: 1000) + "\"")
        _ = try http.get("\(ns)/entries/a")
        _ = try http.get("\(ns)/entries/none")
        try eventually("the write is on disk") {
            try server.metrics().sum("pantler_compression_input_bytes_total") >= 8000
        }
        let page = expect(try http.get("/metrics"), 200)
        #expect(page["Content-Type"]?.hasPrefix("text/plain; version=0.0.4") == true)
        let metrics = try Metrics(page.text)
        let name = String(ns.split(separator: "/").last ?? "")
        #expect(metrics.sum("pantler_hits_total", ["namespace": name, "tier": "memory"]) == 1)
        #expect(metrics.sum("pantler_misses_total", ["namespace": name, "reason": "absent"]) == 1)
        #expect(metrics.sum("pantler_requests_total") >= 3)
        #expect(
            metrics.samples.contains {
                $0.name == "pantler_requests_total" && Set($0.labels.keys) == ["operation", "code", "lane"]
            }
        )
        #expect(metrics.sum("pantler_request_duration_seconds_count") >= 3)
        #expect(
            metrics.sum("pantler_compression_output_bytes_total") < metrics.sum("pantler_compression_input_bytes_total")
        )
        #expect(
            metrics.names.isSuperset(of: [
                "pantler_request_duration_seconds_bucket", "pantler_request_duration_seconds_sum", "pantler_entries",
                "pantler_bytes",
                "pantler_evictions_total", "pantler_write_behind_queue_entries",
                "pantler_write_behind_queue_age_seconds",
                "pantler_sqlite_file_bytes", "pantler_sqlite_wal_bytes", "pantler_build_info",
                "process_resident_memory_bytes",
                "process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds",
            ])
        )
        let labels = Set(metrics.samples.flatMap { $0.labels.keys })
        #expect(labels.isDisjoint(with: ["key", "tag", "path"]))
        let open = expect(try http.get("/metrics", ["Accept": "application/openmetrics-text; version=1.0.0"]), 200)
        #expect(open["Content-Type"]?.hasPrefix("application/openmetrics-text; version=1.0.0") == true)
        #expect(open.text.hasSuffix("# EOF\n"))
    }

    @Test("the document is served")
    func document() throws {
        let document = expect(try http.get("/openapi.yaml"), 200)
        #expect(document.text.hasPrefix("openapi: 3.1"))
    }
}
