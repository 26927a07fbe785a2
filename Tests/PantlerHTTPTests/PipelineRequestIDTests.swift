import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerStore
import Testing

@testable import PantlerHTTP

@Suite("An answer carries its request's X-Request-ID")
struct PipelineRequestIDTests {
    private static func id(_ id: some CustomStringConvertible) -> String { "X-Request-ID: \(id)\r\n" }

    /// The ids of answers that came back since the last look; `-` for none.
    private func ids(_ connection: TestConnection) throws -> [String] {
        try connection.answers().map { $0.fields["x-request-id"] ?? "-" }
    }

    private static func post(_ target: String, _ body: String, _ fields: String) -> String {
        "POST /v1/namespaces/ns/\(target) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\(fields)"
            + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    @Test("of every kind, in either lane, each its own", arguments: ["", TestConnection.otherLane])
    func kinds(lane: String) throws {
        let connection = try TestConnection()
        connection.tier.answerAtOnce()
        var number = 0
        func fields() -> String {
            number += 1
            return Self.id("r\(number)") + lane
        }
        var requests = TestConnection.putEntry("a", "{\"value\":1}", fields())
        requests += TestConnection.putEntry("a", "{\"value\":2}", fields())
        requests += TestConnection.putEntry("a", "{", fields())
        requests += TestConnection.putEntry("absent", "{\"absent\":true}", fields())
        for key in ["a", "none", "absent"] {
            for view in ["entries", "values"] { requests += TestConnection.get(key, fields(), view: view) }
            requests += Self.post("leases/\(key)", "{}", fields())
        }
        requests += Self.post("leases/none", "{}", fields())
        requests += Self.post("leases/none", "{", fields())
        requests += TestConnection.get("a", "If-None-Match: *\r\n" + fields())
        requests += TestConnection.get("a?x=1", fields())
        requests += TestConnection.get("none?miss=204", fields())
        requests += Self.post("batch/get", "{\"keys\":[\"a\"]}", fields())
        requests += Self.post("batch/set", "{\"entries\":[]}", fields())
        requests += Self.post("batch/lease", "{\"keys\":[\"a\"]}", fields())
        requests += Self.post("counters/n", "{}", fields())
        for target in ["/nowhere", "/v1/stats", "/v1/namespaces/ns", "/metrics", "/livez"] {
            requests += "GET \(target) HTTP/1.1\r\nHost: localhost\r\n\(fields())\r\n"
        }
        requests += "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\(fields())\r\n"
        requests += "BREW /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\n\(fields())\r\n"
        requests += "DELETE /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\n\(fields())\r\n"
        try connection.send(requests)
        connection.eventLoop.run()
        let answers = try connection.answers()
        #expect(answers.map { $0.fields["x-request-id"] } == (1...number).map { "r\($0)" }, "\(answers)")
    }

    @Test("of requests beside others that have none")
    func beside() throws {
        let connection = try TestConnection()
        connection.tier.answerAtOnce()
        let get = { TestConnection.get("none", $0) }
        try connection.send(
            get(Self.id("a")) + get("") + get(Self.id("b") + Self.id("b")) + get(Self.id("c")) + get(Self.id("\""))
        )
        #expect(try ids(connection) == ["a", "-", "-", "c", "-"])
    }

    @Test("that is answered late, whatever is answered before it", arguments: ["", TestConnection.otherLane])
    func late(lane: String) throws {
        let connection = try TestConnection { $0.durability = .behind }
        connection.tier.plant("b", "2")
        try connection.send(TestConnection.get("a", Self.id(1) + lane))
        if lane.isEmpty {
            try connection.send(TestConnection.get("b", Self.id(2)) + TestConnection.get("c"))
            for key in ["c", "b"] { connection.tier.answer(key) }
            #expect(try ids(connection).isEmpty)
            connection.tier.answer("a")
            #expect(try ids(connection) == ["1", "2", "-"])
        } else {
            connection.tier.answer("a")
            #expect(try ids(connection) == ["1"])
        }
    }

    @Test("that waits until it is durable, or for a lease", arguments: ["", TestConnection.otherLane])
    func waiting(lane: String) throws {
        let connection = try TestConnection { $0.durability = .through }
        connection.tier.commit()
        connection.tier.answerAtOnce()
        try connection.send(TestConnection.putEntry("a", "{\"value\":1}", Self.id("put") + lane))
        #expect(try ids(connection).isEmpty)
        connection.tier.commit()
        #expect(try ids(connection) == ["put"])
        try connection.send(Self.post("leases/b", "{}", Self.id("given") + lane))
        #expect(try ids(connection) == ["given"])
        let other = try TestConnection(sharing: connection)
        try other.send(Self.post("leases/b", "{\"wait\":5}", Self.id("waits") + lane))
        #expect(try ids(other).isEmpty)
        try connection.send(TestConnection.putEntry("b", "{\"value\":1}"))
        connection.tier.commit()
        connection.eventLoop.run()
        #expect(try ids(other) == ["waits"])
    }

    @Test("that is written in pieces")
    func pieces() throws {
        let connection = try TestConnection()
        let value = "\"" + String(repeating: "x", count: 10_000) + "\""
        for number in 0..<80 { try connection.send(TestConnection.putEntry("k\(number)", "{\"value\":\(value)}")) }
        connection.eventLoop.run()
        _ = try connection.answers()
        let keys = (0..<80).map { "\"k\($0)\"" }.joined(separator: ",")
        try connection.send(Self.post("batch/get", "{\"keys\":[\(keys)]}", Self.id("long")))
        connection.eventLoop.run()
        let answers = try connection.answers()
        #expect(answers.map { $0.fields["x-request-id"] } == ["long"])
        #expect(answers.first?.fields["transfer-encoding"] == "chunked")
    }

    // MARK: Refusals

    @Test(
        "that is refused as soon as its head is there",
        arguments: [
            ("GET /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: evil.example\r\n", 421),
            ("GET /v1/namespaces/ns/entries/a HTTP/1.1\r\n", 400),
            ("GET /v1/namespaces/ns/entries/a#b HTTP/1.1\r\nHost: localhost\r\n", 400),
            ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: localhost\r\n", 414),
            ("PUT /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n", 413),
            ("PUT /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\nContent-Length: 3\r\n", 417),
            (
                "PUT /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 3\r\n",
                403
            ),
        ]
    )
    func early(head: String, status: Int) throws {
        let connection = try TestConnection()
        try connection.send(head + Self.id("early") + "\r\n")
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [status])
        #expect(answers.first?.fields["x-request-id"] == "early", "\(answers)")
    }

    @Test("of a caller who may not, at once or after a while")
    func callers() throws {
        var limits = HTTPLimits()
        limits.failedTokens = 1
        let connection = try TestConnection(limits: limits, needsToken: true)
        let reader = try connection.token(.read, "ns")
        let wrong = "Authorization: Bearer pt_aaaaaaaa_\(String(repeating: "A", count: 43))\r\n"
        try connection.send(TestConnection.get("a", Self.id("none")))
        try connection.send(TestConnection.putEntry("a", "{\"value\":1}", reader.field + Self.id("role")))
        try connection.send(TestConnection.get("a", wrong + Self.id("wrong")))
        #expect(try ids(connection) == ["none", "role", "wrong"])
        try connection.send(TestConnection.put("a", "1", wrong + Self.id("late")))
        #expect(try ids(connection).isEmpty)
        connection.advance(milliseconds: 1001)
        #expect(try ids(connection) == ["late"])
    }

    @Test(
        "whose body does not come in time, or makes no sense",
        arguments: [
            "PUT /v1/namespaces/ns/entries/a", "PUT /v1/namespaces/ns/values/a", "POST /v1/namespaces/ns/leases/a",
        ]
    )
    func bodies(line: String) throws {
        let connection = try TestConnection()
        let head = "\(line) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\(Self.id("slow"))"
        try connection.send(head + "Content-Length: 20\r\n\r\n{")
        connection.advance(milliseconds: 120_000)
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [408])
        #expect(answers.first?.fields["x-request-id"] == "slow")
        let other = try TestConnection()
        try other.send(head + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        #expect(try ids(other) == ["slow"])
    }

    @Test("that could not be read carries none")
    func unreadable() throws {
        for request in [
            "nonsense\r\n" + Self.id("x") + "\r\n", "GET / HTTP/1.1\r\nHost : x\r\n" + Self.id("x") + "\r\n",
        ] {
            let connection = try TestConnection()
            try connection.send(request)
            let answers = try connection.answers()
            #expect(answers.map(\.status) == [400])
            #expect(answers.first?.fields["x-request-id"] == nil)
        }
    }
}
