import Support
import Testing

@Suite("Replaying a trace", .server())
struct CommandReplayTests {
    let server: ServerProcess
    let http: HTTPClient

    init() throws {
        server = try ServerTrait.server
        http = server.client
    }

    private func replay(_ trace: Trace, _ arguments: String..., namespace: String) throws -> CommandResult {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = folder.file("trace.csv")
        try trace.write(csv: path)
        return try Command.run(["bench", "replay", path, "-n", namespace] + arguments, url: server.url, within: 120)
    }

    @Test("over one connection the hits are those of an exact LRU, and everybody counts the same")
    func exact() throws {
        let trace = Trace(zipf: 500, requests: 5000, seed: 7)
        let result = try replay(
            trace,
            "--connections",
            "1",
            "--max-entries",
            "10%",
            "--durability",
            "memory",
            "--create",
            "-o",
            "json",
            namespace: "exact"
        )
        #expect(result.status == 0, "\(result)")
        let report = result.json
        let gets = try #require(report["gets"].int)
        let hits = try #require(report["hits"].int)
        #expect(gets == 5000)
        #expect(report["errors"].int == 0)
        #expect(report["misses"].int == gets - hits)
        #expect(report["puts"].int == gets - hits)
        #expect(report["max_entries"].int == trace.distinctKeys / 10)
        #expect(report["latency_us"]["get"]["count"].int == 5000)
        #expect(report["latency_us"]["get"]["p50"].double ?? 0 > 0)
        let exact = trace.hitRatio(ofLRU: trace.distinctKeys / 10)
        #expect(abs((report["hit_ratio"].double ?? 0) - exact) < 0.005)
        let stats = try http.get("/v1/namespaces/exact/stats").json
        #expect(stats["gets"].int == gets)
        #expect(stats["hits"]["total"].int == hits)
        let policy = try http.get("/v1/namespaces/exact").json
        #expect(policy["max_entries"].int == trace.distinctKeys / 10)
        #expect(policy["durability"].string == "memory")
    }

    @Test("over several connections every request is replayed once, and the report says so to people")
    func connections() throws {
        let trace = Trace(zipf: 300, requests: 3000, seed: 8)
        let result = try replay(trace, "--connections", "8", namespace: "several")
        #expect(result.status == 0, "\(result)")
        let lines = result.output.split(separator: "\n").map { $0.split(separator: " ") }
        for line in [["gets", "3,000"], ["errors", "0"]] {
            #expect(lines.contains { $0.elementsEqual(line) { $0 == $1 } }, "\(result)")
        }
        #expect(result.errors.isEmpty, "a progress bar is for terminals")
        #expect(try http.get("/v1/namespaces/several/stats").json["gets"].int == 3000)
    }

    @Test("values have the traced sizes; ops and TTLs are followed")
    func shapes() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write("1,1000\n2,1\n3,2\n4,300,s,3600\n4,300,g,3600\n5,200000\n", to: "trace.csv")
        let result = try Command.run(
            ["bench", "replay", path, "-n", "shapes", "--connections", "1", "-o", "json"],
            url: server.url
        )
        #expect(result.status == 0, "\(result)")
        #expect(result.json["gets"].int == 5)
        #expect(result.json["hits"].int == 1)
        #expect(result.json["puts"].int == 5)
        for (key, size) in [("k1", 1000), ("k2", 256), ("k3", 2), ("k4", 300), ("k5", 200_000)] {
            #expect(try http.get("/v1/namespaces/shapes/values/\(key)").body.count == size)
        }
        #expect(try http.get("/v1/namespaces/shapes/entries/k4").json["expires_at"].string != nil)
        #expect(try http.get("/v1/namespaces/shapes/entries/k1").json["expires_at"].isNull)
    }

    @Test("--create refuses a namespace that is there, and a limit ends the replay")
    func create() throws {
        let trace = Trace(zipf: 50, requests: 500, seed: 9)
        let first = try replay(trace, "--create", "--limit", "100", "-o", "json", namespace: "made")
        #expect(first.json["gets"].int == 100)
        let second = try replay(trace, "--create", namespace: "made")
        #expect(second.status == 5)
    }

    @Test("requests that fail are counted, shown, and fail the replay")
    func failures() throws {
        expect(try http.put("/v1/namespaces/small", #"{"max_value_size":100}"#), 201)
        let result = try replay(Trace(zipf: 20, requests: 50, size: 200, seed: 1), "-o", "json", namespace: "small")
        #expect(result.status == 1)
        #expect(result.json["errors"].int == 50)
        #expect(result.json["first_error"].string?.contains("value_too_large") == true)
    }

    @Test("a trace that is none is wrong usage, and names its line")
    func badTrace() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write("1,2\nkey,size\n", to: "trace.csv")
        let result = try Command.run(["bench", "replay", path], url: server.url)
        #expect(result.status == 2)
        #expect(result.errors.contains("trace.csv:2: 'key,size' is no request"))
        #expect(try Command.run(["bench", "replay", folder.file("none.csv")], url: server.url).status == 1)
    }
}
