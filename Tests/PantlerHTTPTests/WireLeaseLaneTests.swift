import Testing

@testable import PantlerHTTP

@Suite("The fast lane's requests for leases")
struct WireLeaseLaneTests {
    private static let plain =
        "POST /v1/namespaces/shop/leases/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + "Content-Length: 10\r\n\r\n{\"wait\":5}"

    private static let bare = "POST /v1/namespaces/shop/leases/a HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"

    private func verdict(_ text: String) -> String { laneVerdict(text.utf8) }

    @Test("takes a plain one with its body, and one without a body")
    func takes() {
        #expect(verdict(Self.plain) == "LEASE shop a \(Self.plain.utf8.count) {\"wait\":5}")
        #expect(verdict(Self.plain + "GET /") == verdict(Self.plain))
        let empty = "POST /v1/namespaces/shop/leases/a%2Fb HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        #expect(verdict(empty) == "LEASE shop a/b \(empty.utf8.count) ")
        // As curl -X POST sends it.
        let bare = Self.bare + "GET / HTTP/1.1\r\n"
        #expect(verdict(bare) == "LEASE shop a \(Self.bare.utf8.count) ")
        let last = Self.plain.replacing("Host:", with: "Connection: close\r\nHost:")
        #expect(verdict(last) == "LEASE shop a \(last.utf8.count) {\"wait\":5} closes")
        let charset = Self.plain.replacing("application/json", with: "Application/JSON; charset=utf-8")
        #expect(verdict(charset) == "LEASE shop a \(charset.utf8.count) {\"wait\":5}")
    }

    @Test("waits for what is not there yet")
    func incomplete() {
        let head = Self.plain.count - 10
        for length in 1..<Self.plain.count {
            #expect(verdict(String(Self.plain.prefix(length))) == (length < head ? "incomplete" : "awaits body"))
        }
    }

    @Test(
        "leaves all else to the decoder",
        arguments: [
            ("leases/a", "entries/a"), ("leases/a", "leases/"), ("leases/a", "leases/a?x=1"),
            ("leases/a", "counters/a"),
            ("/leases/a", "/lease?key=a"), ("application/json", "text/plain"),
            ("application/json", "application/jsonx"),
            ("Content-Type: application/json\r\n", ""), ("Content-Length: 10\r\n", "Content-Length:\r\n"),
            ("Content-Length: 10", "Transfer-Encoding: chunked"), ("Host: localhost", "Host: elsewhere.example"),
            ("Host:", "Lease: x\r\nHost:"), ("Host:", "If-Match: *\r\nHost:"),
            ("Host:", "Expect: 100-continue\r\nHost:"),
            ("Host:", "Origin: http://localhost\r\nHost:"), ("Host:", "Sec-Fetch-Site: none\r\nHost:"),
            ("Host:", "Content-Encoding: gzip\r\nHost:"), ("POST", "PATCH"), ("POST", "POSt"),
        ]
    )
    func others(part: String, by other: String) {
        #expect(verdict(Self.plain.replacing(part, with: other)) == "other")
    }

    @Test("a bare one of HTTP/1.0 is left to the decoder, which knows when it ends")
    func oldVersion() {
        #expect(verdict(Self.bare.replacing("HTTP/1.1", with: "HTTP/1.0")) == "other")
    }

    @Test("the decoder sees the same request", arguments: [plain, bare, bare + "body"])
    func agreement(text: String) throws {
        let agreement = try LaneAgreement()
        #expect(try agreement.check(Array(text.utf8)) == .post)
        for place in text.utf8.indices {
            for byte in [0x00, 0x0a, 0x0d, 0x20, 0x2f, 0x3a, 0x41, 0x7f, 0xff] as [UInt8] {
                var bytes = Array(text.utf8)
                bytes[text.utf8.distance(from: text.utf8.startIndex, to: place)] = byte
                _ = try agreement.check(bytes)
            }
        }
    }
}
