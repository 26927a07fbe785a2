import Support
import Testing

@testable import pantler

@Suite("Traces")
struct TraceTests {
    private func parse(_ text: String, limit: Int = .max, chunk: Int = 3) throws -> [TracedRequest] {
        var parser = TraceParser(path: "trace.csv", limit: limit)
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: chunk) where !parser.isFull {
            try parser.read(bytes[start..<min(start + chunk, bytes.count)])
        }
        try parser.finish()
        return parser.requests
    }

    @Test("lines are read however they are cut, with either line end, and without a last one", arguments: [1, 3, 100])
    func lines(chunk: Int) throws {
        let requests = try parse("1,100\r\n2,1\n\n3,0,s,60\n4294967295,5,g,0", chunk: chunk)
        #expect(
            requests == [
                .init(key: 1, size: 100, isSet: false, ttl: 0), .init(key: 2, size: 256, isSet: false, ttl: 0),
                .init(key: 3, size: 0, isSet: true, ttl: 60), .init(key: 4_294_967_295, size: 5, isSet: false, ttl: 0),
            ]
        )
    }

    @Test("a limit takes the first requests")
    func limit() throws {
        #expect(try parse("1,2\n2,2\nnonsense\n", limit: 2).count == 2)
    }

    @Test(
        "what is no request is refused with its line",
        arguments: [
            "x", "1", "1,", ",1", "1;2", "1,2,", "1,2,g", "1,2,x,3", "1,2,g,", "-1,2", "1,2,g,3,4", "4294967296,1",
            "1, 2", "1,2 ",
        ]
    )
    func bad(line: String) throws {
        let failure = #expect(throws: CommandFailure.self) { try parse("1,2\n\(line)\n") }
        #expect(failure?.status == .usage)
        #expect(failure?.message.hasPrefix("trace.csv:2: '\(line)' is no request") == true)
    }

    @Test("a file is read plain and gzipped, and damage is noticed")
    func files() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let text = (0..<5000).map { "\($0 % 700),\($0 % 700 + 2)\n" }.joined()
        let plain = try folder.write(text, to: "trace.csv")
        let one = try pantler.Trace(path: plain)
        #expect(one.count == 5000)
        #expect(one.distinctKeys == 700)
        #expect(one.largestSize == 701)
        #expect(one[699] == .init(key: 699, size: 701, isSet: false, ttl: 0))
        #expect(try Command.run(program: ["gzip", "-k", plain]).status == 0)
        let zipped = try pantler.Trace(path: plain + ".gz")
        #expect(zipped.count == 5000)
        #expect(try pantler.Trace(path: plain + ".gz", limit: 10).count == 10)
        #expect(try Command.run(program: ["truncate", "-s", "-20", plain + ".gz"]).status == 0)
        let damage = #expect(throws: CommandFailure.self) { try pantler.Trace(path: plain + ".gz") }
        #expect(
            damage?.message.contains("unexpected end of file") == true,
            "not only its last line: \(damage?.message ?? "nothing")"
        )
        #expect(throws: CommandFailure.self) { try pantler.Trace(path: folder.file("none.csv")) }
        let empty = try folder.write("\n", to: "empty.csv")
        #expect(throws: CommandFailure.self) { try pantler.Trace(path: empty) }
    }

    @Test("ops and TTLs are kept where a trace has them")
    func extras() throws {
        let trace = try pantler.Trace(try parse("1,10,g,5\n2,10,s,2147483647\n3,10\n"), path: "t")
        #expect(trace[0] == .init(key: 1, size: 10, isSet: false, ttl: 5))
        #expect(trace[1] == .init(key: 2, size: 10, isSet: true, ttl: 2_147_483_647))
        #expect(trace[2] == .init(key: 3, size: 10, isSet: false, ttl: 0))
    }

    @Test(
        "a bound is a number, or a part of the keys rounded down",
        arguments: [
            ("100", 100), ("10%", 1375), ("1%", 137), ("0.5%", 68), ("100%", 13_756), ("0.000001%", 1),
            ("33.333333%", 4585),
        ] as [(String, Int64)]
    )
    func bounds(text: String, entries: Int64) throws {
        #expect(try EntryBound(text).count(of: 13_756) == entries)
    }

    @Test(
        "what is no bound is refused",
        arguments: ["", "%", "0", "0%", "-1", "1.5", "101%", "1.%", ".5%", "1e1%", "10 %", "0.0000001%"]
    )
    func badBounds(text: String) {
        #expect(throws: (any Error).self) { try EntryBound(text) }
    }

    @Test(
        "a put's body is as long as its head says, and its value as long as the trace says",
        arguments: [0, 1, 2, 3, 256, 70_000, 200_000],
        [0, 7, 2_147_483_647] as [UInt32]
    )
    func puts(size: UInt32, ttl: UInt32) throws {
        let wire = ReplayWire(
            address: try ServiceAddress("http://127.0.0.1:8080/base/"),
            namespace: "a b",
            token: "secret"
        )
        var bytes: [UInt8] = []
        wire.appendPut(.init(key: 4_294_967_295, size: size, isSet: false, ttl: ttl), to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1)
        #expect(
            parts[0].hasPrefix(
                "PUT /base/v1/namespaces/a%20b/entries/k4294967295 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer secret\r\n"
            )
        )
        #expect(parts[0].hasSuffix("Content-Length: \(parts[1].utf8.count)"))
        let value = try #require(parts[1].split(separator: ":", maxSplits: 1).last).prefix { $0 != "," && $0 != "}" }
        #expect(value.utf8.count == max(1, Int(size)))
        let json = JSON(Array(parts[1].utf8))
        #expect(json["ttl"].int == (ttl == 0 ? nil : Int(ttl)))
        #expect(!json["value"].isMissing)
    }
}
