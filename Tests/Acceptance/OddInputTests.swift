import Support
import Testing

/// Inputs that cost far more than they look: none holds a loop for long, so that hits beside them are answered between their steps.
@Suite("Odd inputs", .serialized, .server("server:\n  threads: 1\n"))
struct OddInputTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    /// Runs `body`, and how many requests were answered off the loops meanwhile.
    private func longRequests(_ body: () throws -> Void) throws -> Int {
        let server = try ServerTrait.server
        let before = try server.metrics().sum("pantler_long_requests_total")
        try body()
        // The page that says so is one of them, and counts itself on the next.
        return Int(try server.metrics().sum("pantler_long_requests_total") - before) - 1
    }

    private static let members = (0..<50_000).map { "\"a\($0)\":0" }.joined(separator: ",")

    @Test("bodies of tens of thousands of members nobody asked for are refused, off the loop, by every call")
    func unknownMembers() throws {
        let body = "{\(Self.members)}"
        try http.store(ns, "k", #"{"a":1}"#)
        let calls: [(String, String, String)] = [
            ("PUT", "entries/k", "unknown_member"), ("PATCH", "entries/k", "unknown_member"),
            ("POST", "counters/c", "unknown_member"), ("POST", "batch/get", "unknown_member"),
            ("POST", "batch/set", "unknown_member"), ("POST", "batch/delete", "unknown_member"),
            ("POST", "invalidate", "unknown_member"),
        ]
        let count = try longRequests {
            for (method, path, code) in calls {
                let type = method == "PATCH" ? "application/merge-patch+json" : "application/json"
                let answer = try http.request(
                    method,
                    "\(ns)/\(path)",
                    ["Content-Type": type],
                    body: Array(body.utf8)[...]
                )
                expect(answer, 422, code)
            }
            expect(try http.put(ns, body), 422, "unknown_member")
            expect(try http.patch(ns, body), 422, "unknown_member")
        }
        #expect(count == calls.count + 2)
        #expect(try http.get("\(ns)/entries/k").json["value"]["a"].int == 1)
    }

    @Test("hits beside long bodies are answered while these are read")
    func hitsBeside() throws {
        try http.store(ns, "hot", "1")
        let server = try ServerTrait.server
        let body = "{\"value\":{\(Self.members)}}"
        let over = Shared(false)
        let path = ns
        let hits = BackgroundThreads(1) { _ in
            let http = server.client
            var hits = 0
            while !over.value {
                expect(try http.get("\(path)/entries/hot"), 200)
                hits += 1
            }
            return hits
        }
        let count = try longRequests {
            for round in 0..<3 {
                let put = try http.put("\(ns)/entries/big", body)
                #expect(put.status == (round == 0 ? 201 : 200), "\(put)")
                expect(try http.patch("\(ns)/entries/big", #"{"value":{"a1":\#(round),"new":1}}"#), 200)
                expect(try http.patch("\(ns)/entries/big", #"{"value":{\#(Self.members)}}"#), 200)
            }
        }
        over.value = true
        #expect(try hits.join()[0] > 0)
        // The small patch is none of the router's, but its merge is made elsewhere by the store.
        #expect(count == 6)
        let entry = try http.get("\(ns)/entries/big").json["value"]
        #expect(entry["a1"].int == 0 && entry["new"].int == 1)
    }

    @Test("a merge whose result is too large is refused with its size, and changes nothing")
    func mergeTooLarge() throws {
        let ns = try http.namespace(#"{"max_value_size":1000000}"#)
        try http.store(ns, "k", "{\"pad\":\"\(String(repeating: "x", count: 900_000))\"}")
        let more = String(repeating: "y", count: 200_000)
        expect(try http.patch("\(ns)/entries/k", #"{"value":{"more":"\#(more)"}}"#), 413, "value_too_large")
        expect(try http.patch("\(ns)/entries/k", "{\"value\":{\(Self.members)}}"), 413, "value_too_large")
        expect(try http.patch("\(ns)/entries/k", #"{"value":{"more":"\#(more)","pad":null}}"#), 200)
    }

    @Test("a thousand tiny chunks, and thousands of requests in one piece, are all answered")
    func tinyPieces() throws {
        let connection = try RawConnection(port: try ServerTrait.server.port)
        let value = String(repeating: "x", count: 20_000)
        try connection.send(
            "PUT \(ns)/values/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                + value.map { "1\r\n\($0)\r\n" }.joined() + "0\r\n\r\n"
        )
        #expect(try connection.receive().status == 201)
        let probe = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try connection.send(String(repeating: probe, count: 2000))
        for _ in 0..<2000 { #expect(try connection.receive().status == 200) }
        #expect(try http.get("\(ns)/values/k").body.count == 20_000)
    }

    @Test("long requests keep their places among others of their connection, and its end waits for their answers")
    func places() throws {
        let connection = try RawConnection(port: try ServerTrait.server.port)
        let long = String(repeating: "x", count: 200_000)
        let keys = (0..<999).map { #""k\#($0)""# }.joined(separator: ",")
        let batch = "{\"keys\":[\"long\",\(keys)]}"
        func head(_ method: String, _ path: String, _ type: String = "application/json", _ count: Int? = nil) -> String
        {
            let length = count.map { "Content-Type: \(type)\r\nContent-Length: \($0)\r\n" } ?? ""
            return "\(method) \(ns)/\(path) HTTP/1.1\r\nHost: localhost\r\n\(length)\r\n"
        }
        let requests = [
            head("PUT", "values/long", "text/plain", long.count) + long, head("GET", "values/long"),
            head("POST", "batch/get", "application/json", batch.utf8.count) + batch, head("HEAD", "values/long"),
            head("DELETE", "entries/long"), head("GET", "values/long"),
        ]
        try connection.send(requests.joined())
        connection.finishSending()
        #expect(try connection.receive().status == 201)
        #expect(try connection.receive().body.count == long.count)
        let found = try connection.receive()
        #expect(found.status == 200 && found.json["entries"].array.count == 1)
        #expect(found.json["missing"].array.count == 999)
        #expect(try connection.receive(toHead: true)["Content-Length"] == "\(long.count)")
        #expect(try connection.receive().status == 204)
        #expect(try connection.receive().status == 404)
        #expect(connection.ends())
    }

    @Test("a client that leaves before its long request is answered leaves the server whole")
    func leaves() throws {
        let server = try ServerTrait.server
        let keys = (0..<1000).map { #""k\#($0)""# }.joined(separator: ",")
        let bodies = [("batch/get", "{\"keys\":[\(keys)]}"), ("batch/set", "{\(Self.members)}")]
        for (path, body) in bodies {
            for _ in 0..<10 {
                let connection = try RawConnection(port: server.port)
                let head = "POST \(ns)/\(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                try connection.send(head + "Content-Length: \(body.utf8.count)\r\n\r\n" + body)
            }
        }
        expect(try http.post("\(ns)/batch/get", bodies[0].1), 200)
    }

    @Test("a long batch finds what is on disk alone")
    func longBatchFromDisk() throws {
        let ns = try http.namespace(#"{"max_entries":10}"#)
        let value = String(repeating: "v", count: 2000)
        for first in stride(from: 0, to: 600, by: 100) {
            let entries = (first..<first + 100).map { #"{"key":"k\#($0)","value":"\#(value)"}"# }.joined(separator: ",")
            expect(try http.post("\(ns)/batch/set", "{\"entries\":[\(entries)]}"), 200)
        }
        let keys = (0..<600).map { #""k\#($0)""# }.joined(separator: ",")
        let found = expect(try http.post("\(ns)/batch/get", "{\"keys\":[\(keys)]}"), 200).json
        #expect(found["entries"].array.count == 600 && found["missing"].array.isEmpty)
    }

    @Test("how long loops are held is told")
    func metric() throws {
        let metrics = try ServerTrait.server.metrics()
        #expect(metrics.sum("pantler_loop_stall_seconds_count") > 0)
        #expect(metrics.sum("pantler_loop_stall_seconds_bucket", ["le": "+Inf"]) > 0)
        #expect(metrics.sum("pantler_loop_stall_seconds_sum") > 0)
    }

    @Test("a hundred invalidations by prefix at a time do what each says, and a listing beside them is answered")
    func prefixes() throws {
        let ns = try http.namespace(#"{"durability":"memory"}"#)
        for first in stride(from: 0, to: 5000, by: 1000) {
            let entries = (first..<first + 1000).map { #"{"key":"p\#($0 % 100)-\#($0)","value":1}"# }
            expect(try http.post("\(ns)/batch/set", "{\"entries\":[\(entries.joined(separator: ","))]}"), 200)
        }
        let server = try ServerTrait.server
        let counts = try onThreads(20) { thread in
            let http = server.client
            return try (0..<5).map { round in
                let prefix = "p\(thread * 5 + round)-"
                return expect(try http.post("\(ns)/invalidate", #"{"prefix":"\#(prefix)"}"#), 200).json["invalidated"]
                    .int ?? -1
            }
        }
        #expect(counts.flatMap { $0 } == Array(repeating: 50, count: 100))
        #expect(expect(try http.get("\(ns)/entries"), 200).json["entries"].array.isEmpty)
    }
}
