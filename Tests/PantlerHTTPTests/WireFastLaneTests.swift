import PantlerModel
import Testing

@testable import PantlerHTTP

/// What the lane makes of bytes: `namespace view key length`, for a put `PUT namespace key length body`, for a lease the same with LEASE, all with
/// ` closes` if so; `incomplete`, `awaits body` or `other`.
func laneVerdict(_ text: some Sequence<UInt8>, head: Int = 16 << 10, body: Int = 1000, awaited: Int = 500) -> String {
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.keyBytes, alignment: 1)
    defer { scratch.deallocate() }
    return Array(text).withUnsafeBytes { bytes in
        func shown(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }
        let hosts = ServedHosts([], address: "127.0.0.1")
        let bounds = FastLane.Bounds(head: head, body: body, awaitedBody: awaited)
        return switch FastLane.parse(bytes, hosts, bounds, scratch: scratch) {
        case .incomplete: "incomplete"
        case .awaitsBody: "awaits body"
        case .other: "other"
        case .get(let request):
            "\(shown(request.namespace)) \(request.aspect) \(shown(request.key)) \(request.length)\(request.closes ? " closes" : "")"
        case .put(let request, let body):
            "PUT \(shown(request.namespace)) \(shown(request.key)) \(request.length) \(shown(body))\(request.closes ? " closes" : "")"
        case .lease(let request, let body):
            "LEASE \(shown(request.namespace)) \(shown(request.key)) \(request.length) \(shown(body))\(request.closes ? " closes" : "")"
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

    @Test("takes what real clients send", arguments: ClientHeads.all)
    func clients(client: String, request: String) {
        let verdict = verdict(request)
        #expect(verdict.hasPrefix(request.hasPrefix("PUT") ? "PUT shop " : "shop entry "), "\(client): \(verdict)")
        #expect(verdict.hasSuffix(" closes") == (request.contains("HTTP/1.0") || request.contains("Connection: close")))
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
        "decodes a key once",
        arguments: [
            ("a%20b", "a b"), ("%2e%2e%2e", "..."), ("a%2Fb", "a/b"), ("%2525", "%25"),
            ("%41%6a%6A+", "AjJ+".replacing("J", with: "j")),
            ("caf%C3%A9", "café"), ("%f0%9f%8d%9e", "🍞"), ("%22%5C%0A%01%7f", "\"\\\n\u{1}\u{7f}"),
            (String(repeating: "%C3%A9", count: 512), String(repeating: "é", count: 512)),
            (String(repeating: "k", count: 1023) + "%6b", String(repeating: "k", count: 1024)),
        ]
    )
    func encodedKeys(encoded: String, key: String) {
        let request = Self.plain.replacing("/a HTTP", with: "/\(encoded) HTTP")
        #expect(verdict(request) == "shop entry \(key) \(request.utf8.count)")
    }

    @Test(
        "leaves a key that is out of form, and one that ends early",
        arguments: [
            "%", "a%", "a%2", "%zz", "%4g", "%00", "a%00b", "%FF", "a%C3", "%C0%AF", "%ED%A0%80", "%F4%90%80%80", "%2e",
            "%2E.", ".%2e",
            ".", "..", String(repeating: "k", count: 1024) + "%6b", String(repeating: "%C3%A9", count: 513),
        ]
    )
    func badKeys(key: String) {
        #expect(verdict(Self.plain.replacing("/a HTTP", with: "/\(key) HTTP")) == "other")
    }

    @Test("ends the connection where HTTP/1.0 or Connection says so")
    func closing() {
        for request in [
            Self.plain.replacing("\r\n\r\n", with: "\r\nConnection: Close\r\n\r\n"),
            Self.plain.replacing("HTTP/1.1", with: "HTTP/1.0"),
            Self.plain.replacing("HTTP/1.1\r\nHost: localhost", with: "HTTP/1.0"),
            Self.plain.replacing("HTTP/1.1\r\n", with: "HTTP/1.0\r\nConnection: close\r\n"),
        ] { #expect(verdict(request) == "shop entry a \(request.utf8.count) closes") }
    }

    @Test(
        "takes fields that change nothing, in any case and with space around them",
        arguments: [
            "Accept: */*", "accept:application/json", "ACCEPT:   */*  ", "User-Agent: curl/8.4.0 (x; \"y\")",
            "Accept-Encoding: gzip, br", "Accept-Language: de", "Connection: Keep-Alive", "X-Request-Id: 7",
            "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nTracestate: a=b", "User-Agent:",
            "Accept: text/html", "Accept: */*;q=0", "Accept: */*\r\nAccept: */*", "Authorization: Bearer x",
            "Cookie: a", "X-Unknown: 1", "Origin: null", "Sec-Fetch-Site: cross-site",
            "Content-Length: 0", "Content-Length: 000", "Content-Type: application/json",
            "Content-Type: multipart/form-data",
            "Range: bytes=0-1", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", "TE: trailers", "Keep-Alive: 5",
            "Lease_: x",
            "User-Agent: a\tb", "X-Name:\tZo\u{e9}", "X-Name: \u{e9}", "!#$%&'*+-.^_`|~09azAZ: x",
            "HTTP2-Settings: AAMAAABk",
            "Cache-Control: no-cache\r\nPragma: no-cache",
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
        ("entries/a", "entries"), ("entries/a", "entries/"), ("/a ", "/a?peek "), ("/a ", "/a#b "),
        ("/a ", "/a\"b "), ("/a ", "/caf\u{e9} "), ("/a ", "/a\u{1}b "), ("/a ", "/a b "), ("/a ", "/a\t"),
        ("/a ", "/a\\b "),
        ("/a ", "/" + String(repeating: "k", count: 1025) + " "), ("HTTP/1.1", "HTTP/1.2"), ("HTTP/1.1", "HTTP/1.1 "),
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
        "Content-Length: 5", "Content-Length: -0", "Content-Length: ", "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked", "Transfer-Encoding:", "Expect: 100-continue", "Upgrade: websocket",
        "Authorization:", "Authorization: a\tb", "Authorization: Bearer a\r\nauthorization: Bearer a",
        "Upgrade: h2c, x",
        "Trailer: x",
        "Lease: x",
        "Connection: upgrade", "Connection: HTTP2-Settings", "Connection: keep-alive, upgrade", "Connection: close, te",
        "Connection:",
        "Connection: keep-alive\r\nConnection: keep-alive", "Proxy-Connection: close", "Content-Encoding: gzip",
        "If-None-Match: \"1\"", "If-Match: *", "Host: localhost", "HOST: localhost",
        "Accept", "Accept:\r\n */*", "Accept : */*", ": x", "User-Agent: a\u{0}b", "User-Agent: a\rb",
        "User-Agent: a\nb",
        "User-Agent: a\u{7f}", "X-(Comment): a", "X Y: a", "X-N\u{e9}: a", "User\u{0d}Agent: x", "User\u{d}-Agent: x",
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

    @Test("takes every byte that a name can hold at every place, and none that it cannot")
    func names() {
        let token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8
        for length in [1, 7, 8, 9, 17] {
            for place in 0..<length {
                for byte in UInt8.min...UInt8.max where byte != UInt8(ascii: ":") {
                    var name = Array(repeating: UInt8(ascii: "x"), count: length)
                    name[place] = byte
                    let request = Array(Self.plain.utf8.dropLast(2)) + name + Array(": v\r\n\r\n".utf8)
                    let isTaken = Self.verdict(request) == "shop entry a \(request.count)"
                    #expect(isTaken == token.contains(byte), "\(byte) at \(place) of \(length)")
                }
            }
        }
    }

    @Test("takes 256 fields, which are as many as the decoder takes")
    func fieldLimit() {
        func request(_ count: Int) -> String {
            Self.plain.replacing("\r\n\r\n", with: "\r\n" + String(repeating: "X: 1\r\n", count: count - 1) + "\r\n")
        }
        #expect(verdict(request(256)) == "shop entry a \(request(256).utf8.count)")
        #expect(verdict(request(257)) == "other")
    }

    @Test("a request that is not whole is awaited, wherever it is cut")
    func cuts() {
        let request = Self.plain.replacing("\r\n\r\n", with: "\r\nAccept: */*\r\nUser-Agent: a longer value\r\n\r\n")
            .replacing("/a ", with: "/a%20%C3%A9 ")
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
