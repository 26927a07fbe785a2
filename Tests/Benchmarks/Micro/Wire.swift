internal import PantlerHTTP
internal import PantlerJSON
internal import PantlerModel

extension BenchmarkGroup {
    private static let times = 100_000

    /// The fast lane: recognising the plain GET and the plain PUT of an entry.
    static func lane() throws -> BenchmarkGroup {
        let lane = FastLaneProbe()
        let bare = """
            GET /v1/namespaces/bench/entries/user:profile:00000001 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n
            """
        let library = """
            GET /v1/namespaces/bench/entries/user:profile:00000001 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
            User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n\
            Connection: keep-alive\r\n\r\n
            """
        let forwarded = """
            GET /v1/namespaces/bench/entries/user:profile:00000001 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
            Authorization: Bearer pt_7_c2VjcmV0LXNlY3JldC1zZWNyZXQ\r\nx-forwarded-for: 203.0.113.7\r\n\
            traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n
            """
        let encoded = bare.replacing(":profile:", with: "%3Aprofile%3A")
        let conditional = bare.replacing("\r\n\r\n", with: "\r\nIf-None-Match: \"1\"\r\n\r\n")
        let body = #"{"value":"# + String(decoding: Samples.value(1), as: UTF8.self) + #","ttl":3600}"#
        let put = """
            PUT /v1/namespaces/bench/entries/user:profile:00000001 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
            Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)
            """
        let requests = [
            ("Host alone", bare, true), ("a library's fields", library, true), ("a token and a trace", forwarded, true),
            ("an encoded key", encoded, true), ("left alone", conditional, false), ("a PUT", put, true),
        ]
        return BenchmarkGroup(
            try requests.map { name, text, isTaken in
                let bytes = Array(text.utf8)
                guard (bytes.withUnsafeBytes { lane.length(of: $0) } != nil) == isTaken else {
                    throw Failure("the fast lane does not do what it should with: \(name)")
                }
                return Benchmark("fast lane: \(name)", operations: times) {
                    bytes.withUnsafeBytes { bytes in
                        (0..<times).reduce(0) { sum, _ in sum &+ (lane.length(of: bytes) ?? 1) }
                    }
                }
            }
        )
    }

    /// Validating values, and finding members without looking into them.
    static func json() throws -> BenchmarkGroup {
        let value = Samples.value(1)
        let document = Samples.document(members: 256)
        let envelope = Array(#"{"value":"#.utf8) + value + Array(#","ttl":3600}"#.utf8)
        let keys = (0..<100).map { "\"" + String(decoding: Samples.key($0), as: UTF8.self) + "\"" }
        let batch = Array("[\(keys.joined(separator: ","))]".utf8)
        return BenchmarkGroup([
            validation("json: validate, \(value.count) bytes", value, times),
            validation("json: validate, \(document.count) bytes", document, 300),
            Benchmark("json: read an envelope's members", operations: times) {
                try envelope.withUnsafeBytes { bytes in
                    var found = 0
                    for _ in 0..<times {
                        var reader = try JSONObjectReader(bytes, maxDepth: Limits.jsonDepth)
                        while let member = try reader.next() { found &+= member.value.range.count }
                    }
                    return found
                }
            },
            Benchmark("json: read an array of 100 keys", operations: 1000) {
                try batch.withUnsafeBytes { bytes in
                    var found = 0
                    for _ in 0..<1000 {
                        var reader = try JSONArrayReader(bytes, maxDepth: Limits.jsonDepth)
                        while let element = try reader.next() { found &+= element.range.count }
                    }
                    return found
                }
            },
        ])
    }

    private static func validation(_ name: String, _ text: [UInt8], _ times: Int) -> Benchmark {
        Benchmark(name, operations: times) {
            try text.withUnsafeBytes { bytes in
                var sum = 0
                for _ in 0..<times { sum &+= try JSON.validate(bytes, maxDepth: Limits.jsonDepth).count }
                return sum
            }
        }
    }
}
