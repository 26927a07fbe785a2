import Testing

@testable import PantlerHTTP

/// What the lane makes of bytes: `namespace view key length`, for a put `PUT namespace key length body`, `incomplete` or `other`.
func laneVerdict(_ text: some Sequence<UInt8>, head: Int = 16 << 10, body: Int = 1000) -> String {
    Array(text).withUnsafeBytes { bytes in
        func shown(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
        let hosts = ServedHosts([], address: "127.0.0.1")
        return switch FastLane.parse(bytes, hosts, FastLane.Bounds(head: head, body: body)) {
        case .incomplete: "incomplete"
        case .other: "other"
        case .get(let request):
            "\(shown(request.namespace)) \(request.aspect) \(shown(request.key)) \(request.length)"
        case .put(let request, let body):
            "PUT \(shown(request.namespace)) \(shown(request.key)) \(request.length) \(shown(body))"
        }
    }
}

@Suite("The fast lane")
struct WireFastLaneTests {
    private static let limit = 16 << 10

    private static func verdict(_ text: some Sequence<UInt8>) -> String { laneVerdict(text, head: limit) }

    private func verdict(_ text: String) -> String { Self.verdict(text.utf8) }

    private static let plain = "GET /v1/namespaces/shop/entries/a HTTP/1.1\r\nHost: localhost\r\n\r\n"

    @Test("takes plain gets of both views, and says where they end")
    func takes() {
        #expect(verdict(Self.plain) == "shop entry a \(Self.plain.utf8.count)")
        #expect(verdict(Self.plain + "GET /") == "shop entry a \(Self.plain.utf8.count)")
        let value = Self.plain.replacing("entries", with: "values")
        #expect(verdict(value) == "shop value a \(value.utf8.count)")
    }

    @Test(
        "takes every key that needs no decoding, as it stands",
        arguments: [
            "a/b", "a//b", "/a", "a/", "...", "../x", "a+b", "a:b;c,d@e!$'()*~", "A&b=c", "user:profile:00000001",
            String(repeating: "k", count: 1024), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~",
        ]
    )
    func keys(key: String) {
        let request = Self.plain.replacing("/a HTTP", with: "/\(key) HTTP")
        #expect(verdict(request) == "shop entry \(key) \(request.utf8.count)")
    }

    @Test(
        "takes fields that change nothing, in any case and with space around them",
        arguments: [
            "Accept: */*", "accept:application/json", "ACCEPT:   */*  ", "User-Agent: curl/8.4.0 (x; \"y\")",
            "Accept-Encoding: gzip, br", "Accept-Language: de", "Connection: Keep-Alive", "X-Request-Id: 7",
            "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nTracestate: a=b", "User-Agent:",
        ]
    )
    func fields(field: String) {
        let request = Self.plain.replacing("\r\n\r\n", with: "\r\n\(field)\r\n\r\n")
        #expect(verdict(request) == "shop entry a \(request.utf8.count)")
    }

    @Test(
        "serves the names that the server has",
        arguments: ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]", "[::1]:80", "localhost:"]
    )
    func hosts(host: String) {
        let request = Self.plain.replacing("localhost", with: host)
        #expect(verdict(request) == "shop entry a \(request.utf8.count)")
    }

    /// What to put in the place of what, in the plain request.
    private static let odd: [(String, String)] = [
        ("GET", "HEAD"), ("GET", "get"), ("GET ", "GET  "), ("GET ", "GET\t"), ("GET", "\r\nGET"), ("/v1", "/v2"),
        ("/v1", "//v1"),
        ("/v1", "http://localhost/v1"), ("shop", "Shop"), ("shop", ""), ("shop", ".shop"), ("shop", "sh%6fp"),
        ("shop", String(repeating: "n", count: 64)), ("entries", "entrie"), ("entries", "entry"),
        ("entries", "counters"),
        ("entries/a", "entries"), ("entries/a", "entries/"), ("/a ", "/a?peek "), ("/a ", "/a%20b "), ("/a ", "/a#b "),
        ("/a ", "/a\"b "), ("/a ", "/caf\u{e9} "), ("/a ", "/a\u{1}b "), ("/a ", "/a b "), ("/a ", "/a\t"),
        ("/a ", "/a\\b "),
        ("/a ", "/" + String(repeating: "k", count: 1025) + " "), ("HTTP/1.1", "HTTP/1.0"), ("HTTP/1.1", "HTTP/1.1 "),
        ("HTTP/1.1", "http/1.1"), ("HTTP/1.1", "HTTP/2.0"), ("1.1\r\n", "1.1\n"), ("1.1\r\n", "1.1\r"),
        ("localhost\r\n\r\n", "localhost\n\n"),
        ("localhost\r\n\r\n", "localhost\r\n\n"), ("Host: localhost\r\n", ""),
        ("Host: localhost\r\n", "Host: localhost\r\nHost: localhost\r\n"),
        ("Host:", "Host :"), ("Host", " Host"), ("Host", "Hos\u{74}\u{0}"), ("localhost", ""),
        ("localhost", "evil.example"),
        ("localhost", "localhost.evil.example"), ("localhost", "localhost:80a"), ("localhost", "local\thost"),
        ("localhost", "localhost\0"),
        ("localhost", "localhost\u{7f}"), ("localhost", "localhost\u{e9}"), ("localhost", "localhost\r\n fold"),
        ("localhost", "localhost, localhost"),
        ("localhost", "localhost@evil"), ("localhost", "[::1"), ("localhost", "[::1]x"),
    ]

    private static let oddFields = [
        "Content-Length: 0", "Content-Length: 5", "Content-Type: application/json", "Transfer-Encoding: chunked",
        "Expect: 100-continue", "Upgrade: h2c",
        "Connection: close",
        "Connection: upgrade", "Connection: keep-alive, upgrade", "Accept: text/html", "Accept: */*;q=0",
        "Accept: application/json, */*",
        "Accept: */*\r\nAccept: */*", "If-None-Match: \"1\"", "If-Match: *", "Range: bytes=0-1",
        "Authorization: Bearer x", "Lease: x", "TE: trailers",
        "X-Unknown: 1", "Cookie: a", "Accept", "Accept:\r\n */*", "Accept : */*", ": x", "User-Agent: a\tb",
        "User-Agent: a\u{0}b", "User-Agent: a\rb",
        "User\u{0d}Agent: x", "User\u{d}-Agent: x", "Keep-Alive: 5",
    ]

    @Test("leaves everything that it does not understand to the last byte", arguments: odd)
    func leaves(what: String, with other: String) {
        let request = Self.plain.replacing(what, with: other)
        #expect(verdict(request) == "other", "\(request.debugDescription)")
    }

    @Test("leaves fields that might matter", arguments: oddFields)
    func leavesFields(field: String) {
        #expect(verdict(Self.plain.replacing("\r\n\r\n", with: "\r\n\(field)\r\n\r\n")) == "other")
        #expect(verdict(Self.plain.replacing("\r\nHost", with: "\r\n\(field)\r\nHost")) == "other")
    }

    @Test("the value view is asked for with any type or with none")
    func acceptOfValues() {
        let value = Self.plain.replacing("entries", with: "values")
        #expect(verdict(value.replacing("\r\n\r\n", with: "\r\nAccept: application/json\r\n\r\n")) == "other")
        #expect(verdict(value.replacing("\r\n\r\n", with: "\r\nAccept: */*\r\n\r\n")) != "other")
    }

    @Test("a request that is not whole is awaited, wherever it is cut")
    func cuts() {
        let request = Self.plain.replacing("\r\n\r\n", with: "\r\nAccept: */*\r\nUser-Agent: a longer value\r\n\r\n")
        for count in 1..<request.utf8.count {
            #expect(Self.verdict(request.utf8.prefix(count)) == "incomplete", "\(count)")
        }
    }

    @Test("a head over the limit is left")
    func headLimit() {
        let agent = String(repeating: "x", count: Self.limit)
        let request = Self.plain.replacing("\r\n\r\n", with: "\r\nUser-Agent: \(agent)\r\n\r\n")
        #expect(verdict(request) == "other")
        #expect(Self.verdict(request.utf8.prefix(Self.limit)) == "incomplete")
        #expect(Self.verdict(request.utf8.prefix(Self.limit + 1)) == "other")
    }
}
