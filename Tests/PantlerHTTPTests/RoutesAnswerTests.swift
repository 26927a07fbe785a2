internal import NIOEmbedded
import PantlerModel
import Testing

@testable import PantlerHTTP

/// The calls over a connection, as far as they depend on when the lower tier answers, or are told byte for byte.
@Suite("Calls and their answers")
struct AnswerTests {
    private let ns = "/v1/namespaces/ns"

    private func request(_ method: String, _ target: String, _ fields: String = "", body: String? = nil) -> String {
        let length = body.map { "Content-Length: \($0.utf8.count)\r\n" } ?? ""
        return "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\n\(length)\(fields)\r\n\(body ?? "")"
    }

    private func post(_ path: String, _ body: String) -> String {
        request("POST", "\(ns)/\(path)", "Content-Type: application/json\r\n", body: body)
    }

    @Test("a batch is answered once its last load has come, in the order of its keys")
    func batchOrder() throws {
        let connection = try TestConnection { $0.durability = .behind }
        connection.tier.plant("a", "A")
        connection.tier.plant("b", "B")
        try connection.send(post("batch/get", #"{"keys":["c","b","a","b"]}"#))
        #expect(Set(connection.tier.reads) == ["a", "b", "c"])
        for key in ["a", "c"] { connection.tier.answer(key) }
        #expect(try connection.answers().isEmpty)
        connection.tier.answer("b")
        connection.eventLoop.run()
        let answer = try #require(try connection.answers().first)
        func entry(_ key: String, _ base64: String) -> String {
            #"{"key":"\#(key)","value_base64":"\#(base64)","content_type":"text/plain","version":1,"expires_at":null}"#
        }
        let entries = [entry("b", "Qg=="), entry("a", "QQ==")].joined(separator: ",")
        #expect(answer.body == #"{"entries":[\#(entries)],"missing":["c"]}"#)
    }

    @Test("a batch of durable sets is answered once all are committed, successes and failures in their order")
    func durableBatch() throws {
        let connection = try TestConnection { $0.durability = .through }
        let entries = #"{"key":"a","value":1},{"key":"b"},{"key":"c","value":2},{"key":"\u0000","value":3}"#
        try connection.send(post("batch/set", #"{"entries":[\#(entries)]}"#))
        #expect(try connection.answers().isEmpty)
        connection.tier.commit()
        connection.eventLoop.run()
        let body = try #require(try connection.answers().first).body
        #expect(body.hasPrefix(#"{"entries":[{"key":"a","version":"#))
        #expect(body.contains(#"},{"key":"c","version":"#))
        #expect(body.contains(#""errors":[{"key":"b","code":"missing_member","#))
        #expect(body.contains(#"{"key":"\u0000","code":"key_invalid","#))
    }

    @Test("what is found below is answered like what is found in memory: whole, or not modified")
    func below() throws {
        let connection = try TestConnection { $0.durability = .behind }
        connection.tier.plant("a", "A")
        for (fields, view, status) in [
            ("If-None-Match: \"1\"\r\n", "values", 304), ("If-None-Match: \"2\"\r\n", "entries", 200),
            ("Accept: image/*\r\n", "values", 200),
        ] {
            try connection.send(request("GET", "\(ns)/\(view)/a?peek", fields))
            connection.tier.answer("a")
            connection.eventLoop.run()
            let answer = try #require(try connection.answers().first)
            #expect(answer.status == status, "\(fields)")
            #expect(answer.fields["cache-status"] == "pantler; hit; detail=disk")
        }
        try connection.send(request("GET", "\(ns)/stats"))
        #expect(try connection.answers().first?.body.contains(#""gets":0,"#) == true, "a peek is counted nowhere")
    }

    @Test(
        "HEAD has the head of GET, and nothing else",
        arguments: [
            "/v1/namespaces/ns/entries/a", "/v1/namespaces/ns/values/a", "/v1/namespaces/ns/entry?key=a",
            "/v1/namespaces/ns/value?key=a", "/v1/namespaces/ns/entries/none", "/v1/namespaces/none/entries/a",
            "/v1/namespaces/ns/entries/%FF", "/v1/namespaces/ns/entries?limit=0", "/v1/namespaces/ns",
            "/v1/namespaces/none",
            "/v1/namespaces", "/livez", "/readyz", "/openapi.yaml", "/", "/openapi.json", "/nowhere",
            "/v1/namespaces/ns/entries/none?miss=204",
        ]
    )
    func head(target: String) throws {
        let connection = try TestConnection()
        try connection.store("a", "A")
        try connection.send(request("GET", target))
        let get = String(decoding: try connection.received(), as: UTF8.self)
        try connection.send(request("HEAD", target))
        let head = String(decoding: try connection.received(), as: UTF8.self)
        #expect(head.hasSuffix("\r\n\r\n"))
        #expect(get.hasPrefix(head))
        #expect(
            get == head || target.hasPrefix("/openapi") || target.hasSuffix("miss=204")
                || get.utf8.count > head.utf8.count
        )
    }

    @Test("a namespace is shown whole, and can be sent back")
    func namespace() throws {
        let connection = try TestConnection {
            $0.defaultTTL = 60_250
            $0.ttlJitter = 0.1
            $0.maxMemory = 1 << 20
            $0.durability = .memory
        }
        try connection.send(request("GET", ns))
        let shown = try #require(try connection.answers().first).body
        #expect(
            shown
                == #"{"name":"ns","default_ttl":60.25,"max_ttl":null,"stale_ttl":0,"negative_ttl":60,"ttl_jitter":0.1,"#
                + #""early_refresh":0,"max_memory":1048576,"max_entries":null,"max_disk":null,"max_value_size":8388608,"eviction":"lru","durability":"memory","#
                + #""compression":{"threshold":1024,"level":6},"generation":0,"created_at":"2027-01-15T08:00:00.000Z"}"#
        )
        try connection.send(request("PUT", ns, "Content-Type: application/json\r\n", body: shown))
        connection.tier.commit()
        connection.eventLoop.run()
        let back = try #require(try connection.answers().first)
        #expect(back.status == 200)
        #expect(back.body == shown)
    }

    @Test("where there is no namespace, reads and deletes find nothing, and make none")
    func noNamespace() throws {
        let connection = try TestConnection()
        let none = "/v1/namespaces/none"
        let json = "Content-Type: application/json\r\n"
        for (request, status, holds) in [
            (request("GET", "\(none)/entries/a"), 404, #""reason":"absent""#),
            (request("DELETE", "\(none)/entries/a"), 404, #""reason":"absent""#),
            (request("DELETE", "\(none)/entries/a", "If-Match: *\r\n"), 412, #""version":null"#),
            (
                request("PUT", "\(none)/entries/a", json + "If-Match: \"7\"\r\n", body: #"{"value":1}"#), 412,
                #""version":null"#
            ),
            (request("POST", "\(none)/counters/a", json, body: "{}"), 404, #""reason":"absent""#),
            (
                request("POST", "\(none)/batch/get", json, body: #"{"keys":["a"]}"#), 200,
                #"{"entries":[],"missing":["a"]}"#
            ),
            (request("POST", "\(none)/batch/delete", json, body: #"{"keys":["a"]}"#), 200, #"{"deleted":0}"#),
            (request("POST", "\(none)/batch/set", json, body: #"{"entries":[{"key":"a"}]}"#), 200, "missing_member"),
            (request("POST", "\(none)/invalidate", json, body: #"{"all":true}"#), 404, "namespace_not_found"),
            (request("GET", "\(none)/entries"), 404, "namespace_not_found"),
            (request("GET", none), 404, "namespace_not_found"),
        ] {
            try connection.send(request)
            let answer = try #require(try connection.answers().first)
            #expect(answer.status == status, "\(request)")
            #expect(answer.body.contains(holds), "\(answer)")
        }
    }

    @Test("OPTIONS tells what a path takes, and what the server does")
    func options() throws {
        let connection = try TestConnection()
        for (target, allow) in [
            ("\(ns)/entries/", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"), ("\(ns)/batch/get", "POST, OPTIONS"),
            ("*", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ] {
            try connection.send(request("OPTIONS", target))
            let answer = try #require(try connection.answers().first)
            #expect(answer.status == 204)
            #expect(answer.fields["allow"] == allow)
        }
    }
}
