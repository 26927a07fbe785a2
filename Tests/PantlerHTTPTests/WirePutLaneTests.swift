import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("The fast lane's puts")
struct WirePutLaneTests {
    private static let body = #"{"value":[1, 2],"ttl":60}"#
    private static let plain =
        "PUT /v1/namespaces/shop/entries/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Content-Length: 25\r\n\r\n" + body

    private func verdict(_ text: String) -> String { laneVerdict(text.utf8) }

    private func taken(_ request: String, key: String = "a") -> String {
        "PUT shop \(key) \(request.utf8.count) \(Self.body)"
    }

    private func with(_ field: String) -> String {
        Self.plain.replacing("\r\nHost: localhost\r\n", with: "\r\nHost: localhost\r\n\(field)\r\n")
    }

    @Test("takes a plain put with its body, and the next request begins right behind it")
    func takes() {
        #expect(verdict(Self.plain) == taken(Self.plain))
        for next in ["GET /", "PUT /v1", "\r\n", "}", "\0"] {
            #expect(verdict(Self.plain + next) == taken(Self.plain), "\(next.debugDescription)")
        }
        let shorter = Self.plain.replacing("Length: 25", with: "Length: 24")
        #expect(verdict(shorter) == "PUT shop a \(Self.plain.utf8.count - 1) \(Self.body.dropLast())")
        let empty = Self.plain.replacing("Length: 25", with: "Length: 0")
        #expect(verdict(empty) == "PUT shop a \(empty.utf8.count - Self.body.utf8.count) ")
    }

    @Test(
        "does not look into the body",
        arguments: ["\r\n\r\n GET / HTTP/1.1\r\n\r\n a", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]
    )
    func bodies(body: String) {
        let request = Self.plain.replacing(Self.body, with: body)
        #expect(verdict(request) == "PUT shop a \(request.utf8.count) \(body)")
    }

    @Test(
        "takes fields that change nothing, in any case, in any order and with space around them",
        arguments: [
            "Accept: */*", "accept:application/json", "User-Agent: curl/8.4.0 (x; \"y\")", "Accept-Encoding: gzip, br",
            "Connection: Keep-Alive", "X-Request-Id: 7", "Traceparent: 00-1-2-01\r\nTracestate: a=b",
            "Accept: text/html", "Authorization: Bearer x", "Content-MD5: x", "X-Unknown: 1", "Cookie: a", "Digest: a",
            "Cache-Tag: a",
            "Content_Length: 3", "User-Agent: a\tb", "Range: bytes=0-1",
        ]
    )
    func fields(field: String) {
        #expect(verdict(with(field)) == taken(with(field)))
    }

    /// What to put in the place of what, in the plain request.
    private static let same: [(String, String)] = [
        ("Content-Type", "content-type"), ("Content-Length", "CONTENT-LENGTH"),
        ("application/json", "Application/JSON"), ("Content-Type: application/json\r\n", ""), ("application/json", ""),
        ("application/json", "text/plain"), ("application/json", "application/json; charset=utf-8"),
        ("application/json", "nonsense"),
        ("application/json", "application/json, text/plain"), ("application/json", "application/x-www-form-urlencoded"),
        ("Type: application", "Type:   application"), ("/json\r\n", "/json  \r\n"), ("Length: 25", "Length:25"),
        ("Length: 25", "Length: 25 "), ("Length: 25", "Length: 025"), ("Length: 25", "Length: 000000025"),
        (
            "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 25\r\n",
            "Content-Length: 25\r\nContent-Type: application/json\r\nHost: 127.0.0.1:8080\r\n"
        ),
    ]

    @Test("takes what is written otherwise and says the same", arguments: same)
    func sameRequests(what: String, with other: String) {
        let request = Self.plain.replacing(what, with: other)
        #expect(verdict(request) == taken(request))
    }

    private static let odd: [(String, String)] = [
        ("PUT", "put"), ("PUT", "POST"), ("PUT", "PATCH"), ("PUT ", "PUT  "), ("PUT", "\r\nPUT"), ("entries", "values"),
        ("entries", "entry"), ("entries", "counters"), ("shop", "Shop"), ("shop", ""), ("/a ", "/ "), ("/a ", "/.. "),
        ("/a ", "/a?x "), ("/a ", "/caf\u{e9} "), ("/a ", "/" + String(repeating: "k", count: 1025) + " "),
        ("HTTP/1.1", "HTTP/1.2"), ("1.1\r\n", "1.1\n"), ("Host: localhost\r\n", ""), ("localhost", "evil.example"),
        ("application/json", "multipart/form-data; boundary=x"), ("application/json", "Multipart/mixed"),
        ("Content-Length: 25\r\n", ""), ("Length: 25", "Length:"), ("Length: 25", "Length: +25"),
        ("Length: 25", "Length: -25"), ("Length: 25", "Length: 2 5"), ("Length: 25", "Length: 25, 25"),
        ("Length: 25", "Length: 0x19"), ("Length: 25", "Length: 25.0"), ("Length: 25", "Length: 0000000025"),
        ("Length: 25", "Length: 18446744073709551641"), ("Length: 25", "Length: \t25"), ("Length: 25", "Length : 25"),
        ("Length: 25", "Length: 501"), ("Length: 25", "Length: 1001"),
    ]

    @Test("leaves everything that it does not understand, and a long body that is not whole", arguments: odd)
    func leaves(what: String, with other: String) {
        let request = Self.plain.replacing(what, with: other)
        #expect(verdict(request) == "other", "\(request.debugDescription)")
    }

    @Test(
        "leaves fields that might matter, and those that come twice",
        arguments: [
            "Host: localhost", "Content-Type: application/json", "Content-Length: 25", "content-length: 25",
            "Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Expect: 100-continue",
            "If-Match: *", "If-None-Match: *", "Lease: x", "Content-Encoding: identity", "Content-Encoding: gzip",
            "Trailer: x",
            "Connection: upgrade", "Upgrade: websocket", "Proxy-Connection: keep-alive", "Content-Length",
            "Content-Lengt\u{0}: 3", "Origin: http://localhost", "Sec-Fetch-Site: same-origin", "Authorization:",
            "Authorization: Bearer x\r\nAuthorization: Bearer x",
        ]
    )
    func leavesFields(field: String) {
        #expect(verdict(with(field)) == "other")
        #expect(verdict(Self.plain.replacing("\r\n\r\n", with: "\r\n\(field)\r\n\r\n")) == "other")
    }

    @Test("what is not whole is awaited, wherever it is cut: many clients send head and body one after the other")
    func cuts() {
        let head = Self.plain.utf8.count - Self.body.utf8.count
        for count in 1..<Self.plain.utf8.count {
            let expected = count < head ? "incomplete" : "awaits body"
            #expect(laneVerdict(Self.plain.utf8.prefix(count)) == expected, "\(count)")
        }
        #expect(laneVerdict(Self.plain.utf8.dropLast(), awaited: 24) == "other")
    }

    @Test("a head and a body up to their limits are taken, and not a byte more")
    func limits() {
        let head = Self.plain.utf8.count - Self.body.utf8.count
        #expect(laneVerdict(Self.plain.utf8, head: head, body: 25) == taken(Self.plain))
        #expect(laneVerdict(Self.plain.utf8, head: head - 1, body: 25) == "other")
        #expect(laneVerdict(Self.plain.utf8, head: head, body: 24) == "other")
        let agent = with("User-Agent: " + String(repeating: "x", count: 500))
        #expect(laneVerdict(agent.utf8.prefix(400), head: 300) == "other")
    }
}
