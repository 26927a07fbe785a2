import Support
import Testing

@testable import PantlerHTTP

/// Each test looks through both lanes: they share what is tested here, and a field that the fast lane does not know makes the
/// difference.
@Suite("An entry on the wire")
struct WireEntryTests {
    private static let lanes = ["", TestConnection.otherLane]

    private func put(_ connection: TestConnection, _ key: String, _ object: String) throws {
        try connection.send(
            "PUT /v1/namespaces/ns/entries/\(key) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(object.utf8.count)\r\n\r\n\(object)"
        )
        #expect(try connection.answers().map(\.status) == [201])
    }

    private func get(
        _ connection: TestConnection,
        _ key: String,
        _ fields: String,
        view: String = "entries"
    ) throws -> TestAnswer {
        try connection.get(key, fields, view: view)
        return try #require(try connection.answers().first)
    }

    @Test("shows value, version, expiry and tags, and nothing that moves with time", arguments: lanes)
    func object(fields: String) throws {
        let connection = try TestConnection()
        try put(connection, "plain", #"{"value":{"n": 1.0}}"#)
        try put(connection, "full", #"{"value":[1 ,2],"ttl":60,"tags":["a\"b","c"]}"#)
        let plain = try get(connection, "plain", fields)
        #expect(plain.body == #"{"key":"plain","value":{"n": 1.0},"version":1,"expires_at":null}"#)
        #expect(plain.fields["etag"] == "\"1\"")
        #expect(plain.fields["content-type"] == "application/json")
        #expect(plain.fields["cache-control"] == "private, no-cache")
        #expect(plain.fields["cache-status"] == "pantler; hit; detail=memory")
        #expect(plain.fields["date"]?.hasSuffix(" GMT") == true)
        let expected =
            #"{"key":"full","value":[1 ,2],"version":2,"expires_at":"2027-01-15T08:01:00.000Z","tags":["a\"b","c"]}"#
        #expect(try get(connection, "full", fields).body == expected)
        connection.clock.advance(byMilliseconds: 30_000)
        #expect(try get(connection, "full", fields).body == expected)
        #expect(try get(connection, "full", fields, view: "values").body == "[1 ,2]")
    }

    @Test(
        "that there is no such thing is told with the version and the TTL of the negative entry, in both views",
        arguments: lanes,
        ["entries", "values"]
    )
    func absent(fields: String, view: String) throws {
        let connection = try TestConnection()
        try put(connection, "a", #"{"absent":true,"ttl":5}"#)
        connection.clock.advance(byMilliseconds: 1001)
        let answer = try get(connection, "a", fields, view: view)
        #expect(answer.status == 404)
        #expect(answer.body.contains(#""code":"entry_absent""#))
        #expect(answer.fields["etag"] == "\"1\"")
        #expect(answer.fields["cache-control"] == "no-store")
        #expect(answer.fields["content-type"] == "application/problem+json")
        #expect(answer.fields["cache-status"] == "pantler; hit; ttl=3; detail=absent")
        #expect(answer.fields["date"]?.hasSuffix(" GMT") == true)
        // A condition does not make an error another answer.
        #expect(try get(connection, "a", fields + "If-None-Match: \"1\"\r\n", view: view).status == 404)
        connection.clock.advance(byMilliseconds: 4000)
        #expect(try get(connection, "a", fields, view: view).fields["cache-status"]?.hasSuffix("=expired") == true)
    }

    @Test(
        "what is left of the TTL is told in whole seconds, rounded down; of a stale entry it is negative",
        arguments: lanes
    )
    func ttl(fields: String) throws {
        let connection = try TestConnection()
        try put(connection, "a", #"{"value":1,"ttl":10,"stale_ttl":100}"#)
        var told: [String?] = []
        for milliseconds: Int64 in [0, 1, 8999, 999, 1, 1, 998, 1, 1000, 1] {
            connection.clock.advance(byMilliseconds: milliseconds)
            told.append(try get(connection, "a", fields).fields["cache-status"])
        }
        let fresh = ["10", "9", "1", "0"].map { "pantler; hit; ttl=\($0); detail=memory" }
        let stale = ["-1", "-1", "-1", "-1", "-2", "-3"].map { "pantler; hit; ttl=\($0); detail=stale" }
        #expect(told == fresh + stale)
    }

    @Test("keys that JSON must escape, and bytes, are spelled out", arguments: lanes)
    func escapes(fields: String) throws {
        let connection = try TestConnection()
        try put(connection, "a%22%5C%0Ab", #"{"value":1}"#)
        #expect(
            try get(connection, "a%22%5C%0Ab", fields).body
                == #"{"key":"a\"\\\nb","value":1,"version":1,"expires_at":null}"#
        )
        try put(connection, "logo", #"{"value_base64":"iVBORw0KGgoA/w==","content_type":"text/x; a=\"b\""}"#)
        let logo = try get(connection, "logo", fields)
        let expected =
            #"{"key":"logo","value_base64":"iVBORw0KGgoA/w==","content_type":"text/x; a=\"b\"","version":2,"expires_at":null}"#
        #expect(logo.body == expected)
        #expect(try get(connection, "logo", fields, view: "values").fields["content-type"] == #"text/x; a="b""#)
    }

    @Test("HEAD and 304 have the fields of GET, and no body")
    func headAndNotModified() throws {
        let connection = try TestConnection()
        try put(connection, "a", #"{"value":"text","ttl":60}"#)
        for view in ["entries", "values"] {
            let got = try get(connection, "a", "", view: view)
            try connection.send("HEAD /v1/namespaces/ns/\(view)/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            let head = String(decoding: try connection.received(), as: UTF8.self)
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
            for (name, value) in got.fields { #expect(head.contains("\r\n\(name): \(value)\r\n"), "\(name)") }

            let known = try get(connection, "a", "If-None-Match: \(got.fields["etag"] ?? "")\r\n", view: view)
            #expect(known.status == 304)
            #expect(known.body.isEmpty)
            for name in ["etag", "cache-control", "cache-status", "date"] {
                #expect(known.fields[name] == got.fields[name], "\(name)")
            }
            #expect(try get(connection, "a", "If-None-Match: \"0\"\r\n", view: view).status == 200)
        }
    }
}
