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
                "process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds", "pantler_connections",
                "pantler_connections_limit", "pantler_connections_accepted_total", "pantler_connections_refused_total",
                "pantler_tls_handshakes_total", "pantler_tls_handshakes_under_way", "pantler_tls_handshakes_waiting",
                "pantler_bytes_in_flight", "pantler_bytes_in_flight_limit", "pantler_disk_limit_bytes",
            ])
        )
        let labels = Set(metrics.samples.flatMap { $0.labels.keys })
        #expect(labels.isDisjoint(with: ["key", "tag", "path"]))
        let open = expect(try http.get("/metrics", ["Accept": "application/openmetrics-text; version=1.0.0"]), 200)
        #expect(open["Content-Type"]?.hasPrefix("application/openmetrics-text; version=1.0.0") == true)
        #expect(open.text.hasSuffix("# EOF\n"))
    }

    @Test("connections and their bytes are counted, and refused ones too")
    func connections() throws {
        let own = try ServerProcess(.init(configuration: "limits:\n  connections: 2\n"))
        // One connection.
        let http = own.client
        func metrics() throws -> Metrics { try Metrics(http.get("/metrics").text) }
        let ns = try http.namespace("{}")
        let value = "\"" + String(repeating: "x", count: 100_000) + "\""
        try http.store(ns, "a", value)
        let before = try metrics()
        expect(try http.get("\(ns)/entries/a"), 200)
        let after = try metrics()
        let sent = after.sum("pantler_sent_bytes_total") - before.sum("pantler_sent_bytes_total")
        #expect(sent > 100_000 && sent < 200_000)
        #expect(before.sum("pantler_received_bytes_total") > 100_000)
        #expect(after.sum("pantler_received_bytes_total") > before.sum("pantler_received_bytes_total"))
        #expect(after.sum("pantler_ready") == 1)
        #expect(after.sum("pantler_connections_limit") == 2)
        try eventually("the one connection is alone") { try metrics().sum("pantler_connections") == 1 }
        let second = try RawConnection(port: own.port)
        try second.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(try second.receive(), 200)
        let third = try RawConnection(port: own.port)
        expect(try third.receive(), 503, "overloaded")
        let last = try metrics()
        #expect(last.sum("pantler_connections_refused_total") == 1)
        #expect(last.sum("pantler_connections_accepted_total") >= 3)
    }

    @Test("the document is served, in YAML and in JSON")
    func document() throws {
        let document = expect(try http.get("/openapi.yaml"), 200)
        #expect(document.text.hasPrefix("openapi: 3.1"))
        let inJSON = expect(try http.get("/openapi.json"), 200)
        #expect(inJSON["Content-Type"] == "application/json")
        #expect(inJSON.text.hasPrefix(#"{"openapi":"3.1.1","#))
        #expect(inJSON.json["info"]["version"].string == "1")
        #expect(inJSON.json["paths"].names.count > 10)
    }

    @Test("the service says what it is, and where to go from there")
    func introduction() throws {
        let root = expect(try http.get("/"), 200).json
        #expect(root["service"].string == "pantler")
        #expect(root["version"].string == (try http.get("/v1/stats").json["version"].string))
        let links = root["links"].names
        #expect(links.isSuperset(of: ["namespaces", "metrics", "openapi_yaml", "openapi_json"]))
        for link in links { expect(try http.get(root["links"][link].string ?? "?"), 200) }
        expect(try http.head("/?"), 200)
        expect(try http.post("/", "{}"), 405, "method_not_allowed")
    }

    @Test(
        "long texts come as gzip to who takes that",
        arguments: ["/metrics", "/v1/stats", "/openapi.yaml", "/openapi.json", "entries", "/v1/namespaces"]
    )
    func gzip(target: String) throws {
        let ns = try http.namespace("{}")
        for number in 0..<20 { try http.store(ns, "key-\(number)") }
        for _ in 0..<5 { _ = try http.namespace("{}") }
        let target = target == "entries" ? "\(ns)/entries" : target
        let plain = expect(try http.get(target, ["Accept-Encoding": "identity, br"]), 200)
        #expect(plain["Content-Encoding"] == nil)
        #expect(plain["Vary"] == "Accept-Encoding")
        let short = expect(try http.get(target, ["Accept-Encoding": "deflate, gzip;q=0.5"]), 200)
        #expect(short["Content-Encoding"] == "gzip")
        #expect(short["Vary"] == "Accept-Encoding")
        #expect(short["Content-Type"] == plain["Content-Type"])
        #expect(short.body.count < plain.body.count / 2)
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write(short.body, to: "page.gz")
        let text = try Command.run(program: ["gzip", "-dc", path]).output
        // Figures move.
        if target == ns + "/entries" || target.hasPrefix("/openapi") { #expect(text == plain.text) }
        #expect(text.prefix(30) == plain.text.prefix(30))
        expect(try http.head(target, ["Accept-Encoding": "gzip"]), 200)
    }

    @Test("short texts and entries come as they are")
    func noGzip() throws {
        let ns = try http.namespace("{}")
        let value = "\"" + String(repeating: "x", count: 5000) + "\""
        try http.store(ns, "a", value)
        for target in ["/livez", "/", ns, "\(ns)/entries/a", "\(ns)/values/a", "\(ns)/values/a?peek"] {
            #expect(try http.get(target, ["Accept-Encoding": "gzip"])["Content-Encoding"] == nil, "\(target)")
        }
        let batch = try http.post("\(ns)/batch/get", #"{"keys":["a"]}"#, ["Accept-Encoding": "gzip"])
        #expect(batch["Content-Encoding"] == nil)
    }
}
