import NIOCore
import NIOHTTP1
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Messages of the slow lane")
struct WireMessageTests {
    private let bench: DecoderBench

    init() throws { bench = try DecoderBench() }

    private func message(_ text: String) throws -> (head: RequestHead, body: String, rest: String)? {
        let bytes = Array(text.utf8)
        guard let (head, body, length) = try bench.message(bytes) else { return nil }
        return (head, String(decoding: body, as: UTF8.self), String(decoding: bytes[length...], as: UTF8.self))
    }

    /// The problem that a head comes to.
    private func problem(_ text: String) -> Problem.Code? {
        do {
            _ = try message(text)
            return nil
        } catch {
            return RequestHead.problem(error, head: ByteBuffer(string: text)).code
        }
    }

    private static let put = "PUT /v1/x HTTP/1.1\r\nHost: a\r\n"

    @Test(
        "a message ends where its length, its last chunk or its head says, and what follows is left",
        arguments: [
            ("", ""), ("Content-Length: 0\r\n", ""), ("Content-Length: 3\r\n", "abc"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            ("Transfer-Encoding: Chunked\r\n", "003\r\nabc\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "1;x=y\r\na\r\n2;y=\"q\"\r\nbc\r\n0;z\r\nA: b\r\nC: d\r\n\r\n"),
        ]
    )
    func ends(field: String, body: String) throws {
        let rest = "GET / HTTP/1.1\r\n"
        let read = try #require(try message(Self.put + field + "\r\n" + body + rest))
        #expect(read.rest == rest)
        #expect(read.body == (body.isEmpty ? "" : "abc"))
        for count in 0..<(Self.put + field + "\r\n" + body).utf8.count {
            #expect(try message(String((Self.put + field + "\r\n" + body).utf8.prefix(count)) ?? "") == nil)
        }
    }

    @Test(
        "framing that can be read in two ways is refused",
        arguments: [
            ("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), ("Content-Length: 1\r\nContent-Length: 2\r\n", "xy"),
            ("Content-Length: 1, 1\r\n", "x"), ("Content-Length: +1\r\n", "x"), ("Content-Length: -1\r\n", "x"),
            ("Content-Length: 0x1\r\n", "x"),
            ("Content-Length: 1 1\r\n", "x"), ("Content-Length:\r\n", ""),
            ("Content-Length: 99999999999999999999\r\n", ""),
            ("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nx"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nx"),
            ("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding:\r\n", ""), ("Transfer-Encoding: \"a b\"\r\n", ""),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "xyz\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "1 \r\na\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"), ("Transfer-Encoding: chunked\r\n", "\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabcd\r\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nabc\n\n0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "1000000000000000\r\n"),
            ("Transfer-Encoding: chunked\r\n", "0\r\nA b: c\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\n", "0\r\nA: b\n\n"),
        ]
    )
    func framing(fields: String, body: String) {
        #expect(problem(Self.put + fields + "\r\n" + body) == .badRequest)
    }

    @Test(
        "a transfer coding that is not known is told as that",
        arguments: [
            "gzip", "gzip, chunked", "GZIP , Chunked", "chunkedx", "identity", "x-y\r\nTransfer-Encoding: chunked",
        ]
    )
    func codings(value: String) {
        #expect(problem(Self.put + "Transfer-Encoding: \(value)\r\n\r\n0\r\n\r\n") == .transferCodingNotSupported)
    }

    @Test("another HTTP than 1.0 and 1.1 is told as that", arguments: ["1.2", "1.9", "2.0", "3.0", "0.9"])
    func versions(version: String) {
        #expect(problem("GET / HTTP/\(version)\r\nHost: a\r\n\r\n") == .versionNotSupported)
        #expect(problem("PRI * HTTP/\(version)\r\n\r\n") == .versionNotSupported)
    }

    @Test("what is not whole yet can become a head as long as it looks like one")
    func beginnings() {
        for text in [
            "G", "BREW", "GET /", "get", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost",
            "x y HTTP/9.9\n",
        ] {
            #expect(Array(text.utf8).withUnsafeBytes { RequestHead.canBecomeHead($0) }, "\(text.debugDescription)")
        }
        for text in [
            "\u{16}\u{3}\u{1}", "\0", " GET", "{", "/", "é", "PING\r\n", "*1\r\n$4\r\nPING", "GET /\r\n",
            " HTTP/1.1\r\n", "SSH-2.0-x\r\n",
        ] {
            #expect(!Array(text.utf8).withUnsafeBytes { RequestHead.canBecomeHead($0) }, "\(text.debugDescription)")
        }
    }

    @Test("chunked bodies in HTTP/1.0 are refused")
    func chunked10() {
        #expect(problem("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == .badRequest)
    }

    @Test(
        "heads that are no HTTP/1 are refused",
        arguments: [
            "hello\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTT\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{fffd} HTTP/1.1\r\nHost: a\r\n\r\n", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        ]
    )
    func heads(text: String) {
        #expect(problem(text) == .badRequest)
    }

    @Test("each refusal has its code")
    func codes() throws {
        #expect(problem("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n") == .expectationFailed)
        #expect(problem("GET /\(String(repeating: "k", count: 8192)) HTTP/1.1\r\nHost: a\r\n\r\n") == .uriTooLong)
        #expect(
            problem("GET / HTTP/1.1\r\nHost: a\r\n\(String(repeating: "X: 1\r\n", count: 300))\r\n") == .headersTooLarge
        )
        let named = Array("GET / HTTP/1.1\r\nHost: evil\r\n\r\n".utf8)
        #expect(throws: Problem.self) { try bench.head(named[...], ServedHosts(["a"], address: ""), HTTPLimits()) }
    }

    @Test("a target in absolute form is its path, and its authority must be served too")
    func absolute() throws {
        #expect(try message("GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n")?.head.target == Array("/x?y".utf8))
        #expect(try message("GET HTTP://b?y HTTP/1.1\r\nHost: a\r\n\r\n")?.head.target == Array("/?y".utf8))
        let request = Array("GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        #expect(throws: Problem.self) { try bench.head(request[...], ServedHosts(["a"], address: ""), HTTPLimits()) }
    }

    @Test(
        "any token is a method, and where its request ends does not depend on it",
        arguments: ["TRACE", "BREW", "CONNECT", "PRI", "get", "SOURCE"]
    )
    func methods(name: String) throws {
        let read = try #require(try message("\(name) /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET"))
        #expect(read.head.method == .other)
        #expect(read.rest == "GET")
    }

    @Test("a request for another protocol is a request like any other")
    func upgrade() throws {
        for body in ["", "abc"] {
            let text =
                "\(Self.put)Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: \(body.count)\r\n\r\n\(body)GET"
            #expect(try message(text)?.body == body)
            #expect(try message(text)?.rest == "GET")
        }
        #expect(try message("GET / HTTP/1.1\r\nHost: a\r\n\r\nx")?.rest == "x")
    }

    @Test("a connection is kept as its version and its Connection field say")
    func keepAlive() throws {
        for (version, field, isKept) in [
            ("1.1", "", true), ("1.1", "Connection: close\r\n", false), ("1.1", "Connection: x, Close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: keep-alive\r\n", true),
        ] {
            #expect(try message("GET / HTTP/\(version)\r\nHost: a\r\n\(field)\r\n")?.head.isKeptAlive == isKept)
        }
    }
}
