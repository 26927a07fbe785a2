import Support
import Testing

@Suite("Putting a steady load on a service", .server())
struct CommandBenchTests {
    let server: ServerProcess
    let http: HTTPClient

    init() throws {
        server = try ServerTrait.server
        http = server.client
    }

    /// A small load in a namespace of its own.
    private func bench(_ operation: String, _ arguments: String..., namespace: String) throws -> CommandResult {
        try Command.run(
            ["bench", operation, "-n", namespace, "--keys", "300", "--connections", "4"] + arguments,
            url: server.url,
            within: 60
        )
    }

    @Test("get fills the keys, finds every one, and says what a request cost the service")
    func get() throws {
        let result = try bench("get", "--requests", "3001", "-o", "json", namespace: "gets")
        #expect(result.status == 0, "\(result)")
        let report = result.json
        #expect(report["operation"].string == "get")
        #expect(report["requests"].int == 3001)
        #expect(report["misses"].int == 0)
        #expect(report["errors"].int == 0)
        #expect(report["requests_per_second"].double ?? 0 > 0)
        #expect(report["server_cpu_us_per_request"].double ?? 0 > 0)
        let percentiles = ["p50", "p90", "p99", "p99.9", "max"].compactMap { report["latency_us"][$0].double }
        #expect(percentiles.count == 5)
        #expect(percentiles == percentiles.sorted())
        let stats = try http.get("/v1/namespaces/gets/stats").json
        #expect(stats["gets"].int == 3001)
        #expect(stats["hits"]["total"].int == 3001)
        #expect(stats["entries"]["memory"].int == 300)
        #expect(try http.get("/v1/namespaces/gets/values/k299").body.count == 220)
    }

    @Test("pipelined requests are all answered, and no more of them are sent than asked for")
    func pipelined() throws {
        let result = try bench("get", "--requests", "1001", "--pipeline", "16", "-o", "json", namespace: "pipelined")
        #expect(result.status == 0, "\(result)")
        #expect(result.json["requests"].int == 1001)
        #expect(result.json["misses"].int == 0)
        #expect(try http.get("/v1/namespaces/pipelined/stats").json["gets"].int == 1001)
    }

    @Test("set puts values of the size, in a namespace of the durability")
    func set() throws {
        let result = try bench(
            "set",
            "--requests",
            "500",
            "--size",
            "1KiB",
            "--durability",
            "memory",
            "-o",
            "json",
            namespace: "sets"
        )
        #expect(result.status == 0, "\(result)")
        #expect(result.json["requests"].int == 500)
        let stats = try http.get("/v1/namespaces/sets/stats").json
        #expect(stats["writes"]["puts"].int == 800, "300 of them fill")
        #expect(stats["entries"]["disk"].int == 0)
        #expect(try http.get("/v1/namespaces/sets/values/k0").body.count == 1024)
        #expect(try http.get("/v1/namespaces/sets").json["durability"].string == "memory")
    }

    @Test("mget asks for so many keys a request")
    func mget() throws {
        let result = try bench("mget", "--requests", "100", "--batch", "25", "-o", "json", namespace: "mgets")
        #expect(result.status == 0, "\(result)")
        #expect(result.json["batch"].int == 25)
        #expect(result.json["requests"].int == 100)
        let stats = try http.get("/v1/namespaces/mgets/stats").json
        // Keys are drawn out of 300, and one that a batch names twice is looked up once: of 25 some 24 are distinct.
        let gets = stats["gets"].int ?? 0
        #expect((2250...2500).contains(gets), "\(gets)")
        #expect(stats["hits"]["total"].int == gets)
    }

    @Test("a load can last for a time, and its report is for people")
    func duration() throws {
        let result = try bench("get", "--duration", "200ms", namespace: "lasting")
        #expect(result.status == 0, "\(result)")
        let rows = result.output.split(separator: "\n").map { $0.split(separator: " ").joined(separator: " ") }
        for row in ["operation get", "connections 4", "keys 300", "misses 0", "errors 0"] {
            #expect(rows.contains(row), "\(row) in \(result)")
        }
        for row in ["requests/s ", "service's CPU, µs a request ", "latency p99, µs "] {
            #expect(rows.contains { $0.hasPrefix(row) && $0.dropFirst(row.count).first?.isNumber == true }, "\(result)")
        }
        #expect(result.errors.isEmpty, "a progress bar is for terminals")
    }

    @Test("what cannot be put is said, and requests that fail, fail the load")
    func failures() throws {
        expect(try http.put("/v1/namespaces/tiny", #"{"max_value_size":100}"#), 201)
        let result = try bench("get", "--requests", "10", namespace: "tiny")
        #expect(result.status == 1)
        #expect(result.errors.contains("value_too_large"), "\(result)")
    }

    @Test(
        "options that make no load are wrong usage",
        arguments: [
            ["get", "--connections", "0"], ["get", "--pipeline", "0"], ["set", "--keys", "0"], ["set", "--size", "0"],
            ["get", "--requests", "5", "--duration", "1s"], ["mget", "--batch", "1001"],
            ["mget", "--batch", "1000", "--pipeline", "11"],
        ]
    )
    func wrongUsage(arguments: [String]) throws {
        #expect(try Command.run(["bench"] + arguments, url: server.url).status == 2)
    }
}
