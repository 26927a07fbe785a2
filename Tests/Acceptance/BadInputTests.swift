import Support
import Testing

/// A request that is to be refused. NS in it stands for a namespace that holds one entry, `kept`.
struct BadRequest: Sendable, CustomTestStringConvertible {
    let name: String
    let method: String
    let target: String
    var type: String? = "application/json"
    var headers: [String: String] = [:]
    let body: String?
    let status: Int
    /// `nil` where more than one would do.
    let code: String?

    var testDescription: String { name }

    init(
        _ name: String,
        _ method: String,
        _ target: String,
        type: String? = "application/json",
        headers: [String: String] = [:],
        body: String? = nil,
        _ status: Int,
        _ code: String?
    ) {
        self.name = name
        self.method = method
        self.target = target
        self.type = type
        self.headers = headers
        self.body = body
        self.status = status
        self.code = code
    }
}

@Suite("Bad input", .server("limits:\n  body_size: 1MiB\n"))
struct BadInputTests {
    let server: ServerProcess
    let http: HTTPClient

    init() throws {
        server = try ServerTrait.server
        http = server.client
    }

    /// Runs `body` in a namespace with an entry, and holds it to have changed nothing.
    func unchanged(
        _ body: (_ ns: String) throws -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let ns = try http.namespace(#"{"max_value_size":1000}"#)
        try http.store(ns, "kept", #"{"n":1}"#)
        let looks = ["\(ns)/entries", "\(ns)/entries/kept?peek", ns]
        let before = try looks.map { try http.get($0).text }
        let writes = try http.get("\(ns)/stats").json["writes"].description
        try body(ns)
        #expect(try looks.map { try http.get($0).text } == before, sourceLocation: sourceLocation)
        #expect(try http.get("\(ns)/stats").json["writes"].description == writes, sourceLocation: sourceLocation)
        #expect(server.isRunning, sourceLocation: sourceLocation)
    }

    @Test("is refused with its code, and changes nothing", arguments: BadInputCases.all)
    func refused(request: BadRequest) throws {
        try unchanged { ns in
            var headers = request.headers
            if request.body != nil { headers["Content-Type"] = headers["Content-Type"] ?? request.type }
            let target = request.target.replacing("NS", with: ns)
            let body = request.body.map { Array($0.utf8)[...] }
            let client = server.client
            let response = expect(try client.request(request.method, target, headers, body: body), request.status)
            if let code = request.code, request.method != "HEAD" { #expect(response.code == code, "\(response)") }
            expect(try client.get("/livez"), 200)
        }
    }

    @Test("each wrong method is told what the path takes")
    func wrongMethods() throws {
        try unchanged { ns in
            for (target, allowed) in Self.methods(ns) {
                for method in Set(["GET", "PUT", "POST", "PATCH", "DELETE", "TRACE", "BREW"]).subtracting(allowed) {
                    let response = expect(try http.request(method, target), 405, "method_not_allowed")
                    let told = Set((response["Allow"] ?? "").split(separator: ", ").map(String.init))
                    #expect(told == allowed.union(["OPTIONS"]), "\(method) \(target): \(response)")
                }
            }
        }
    }

    /// What each path takes, besides OPTIONS.
    static func methods(_ ns: String) -> [(target: String, methods: Set<String>)] {
        [
            ("\(ns)/entries/kept", ["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
            ("\(ns)/entry?key=kept", ["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
            ("\(ns)/values/kept", ["GET", "HEAD", "PUT", "DELETE"]),
            ("\(ns)/value?key=kept", ["GET", "HEAD", "PUT", "DELETE"]),
            ("\(ns)/counters/kept", ["POST"]), ("\(ns)/counter?key=kept", ["POST"]), ("\(ns)/batch/get", ["POST"]),
            ("\(ns)/batch/set", ["POST"]),
            ("\(ns)/batch/delete", ["POST"]), ("\(ns)/invalidate", ["POST"]), ("\(ns)/entries", ["GET", "HEAD"]),
            ("\(ns)/stats", ["GET", "HEAD"]), (ns, ["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
            ("/v1/namespaces", ["GET", "HEAD"]), ("/v1/stats", ["GET", "HEAD"]), ("/metrics", ["GET", "HEAD"]),
            ("/livez", ["GET", "HEAD"]), ("/readyz", ["GET", "HEAD"]), ("/openapi.yaml", ["GET", "HEAD"]),
            ("/openapi.json", ["GET", "HEAD"]), ("/", ["GET", "HEAD"]),
        ]
    }

    @Test("an empty key is refused by every method, and flushes nothing")
    func emptyKey() throws {
        try unchanged { ns in
            let views: [(String, [String])] = [
                ("entries/", ["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
                ("entry?key=", ["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
                ("entry", ["GET", "HEAD", "PUT", "PATCH", "DELETE"]), ("values/", ["GET", "HEAD", "PUT", "DELETE"]),
                ("value?key=", ["GET", "HEAD", "PUT", "DELETE"]), ("value", ["GET", "HEAD", "PUT", "DELETE"]),
                ("counters/", ["POST"]), ("counter", ["POST"]), ("counter?key=", ["POST"]),
            ]
            for (view, methods) in views {
                for method in methods {
                    let writes = ["PUT", "PATCH", "POST"].contains(method)
                    let type = method == "PATCH" ? "application/merge-patch+json" : "application/json"
                    let body = writes ? Array((method == "PUT" ? #"{"value":1}"# : "{}").utf8)[...] : nil
                    let headers = writes ? ["Content-Type": type] : [:]
                    let response = expect(try http.request(method, "\(ns)/\(view)", headers, body: body), 400)
                    if method != "HEAD" { #expect(response.code == "key_required", "\(method) \(view): \(response)") }
                }
            }
        }
    }

    @Test("a value over the limit is refused, whether its length is told or not")
    func valueTooLarge() throws {
        try unchanged { ns in
            let target = "\(ns)/values/kept"
            let over = [UInt8](repeating: 0x61, count: 1001)
            expect(try http.put(target, bytes: over), 413, "value_too_large")
            let connection = try RawConnection(port: server.port)
            try connection.send(
                "PUT \(target) HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"
            )
            try connection.send(over + Array("\r\n0\r\n\r\n".utf8))
            expect(try connection.receive(), 413, "value_too_large")

            let told = try RawConnection(port: server.port)
            try told.send("PUT \(target) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n")
            try told.sendUntilAnswered([UInt8](repeating: 0x61, count: 1_048_577))
            #expect(expect(try told.receive(), 413).code?.hasSuffix("_too_large") == true)
            let untold = try RawConnection(port: server.port)
            try untold.send("PUT \(target) HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = Array("1000\r\n".utf8) + [UInt8](repeating: 0x61, count: 4096) + Array("\r\n".utf8)
            try untold.sendUntilAnswered(Array(repeating: chunk, count: 300).flatMap { $0 }, piece: chunk.count)
            #expect(expect(try untold.receive(), 413).code?.hasSuffix("_too_large") == true)
        }
    }

    @Test("an envelope that is over the server's limit is refused")
    func bodyTooLarge() throws {
        try unchanged { ns in
            let connection = try RawConnection(port: server.port)
            let body = #"{"value":""# + String(repeating: "v", count: 1 << 20) + "\"}"
            let headers = ["Content-Type": "application/json"]
            try connection.send(http.head("PUT", "\(ns)/entries/kept", headers, bodyCount: body.utf8.count))
            try connection.sendUntilAnswered(Array(body.utf8))
            expect(try connection.receive(), 413, "body_too_large")
        }
    }

    @Test("a header block of 1 MiB is refused")
    func headersTooLarge() throws {
        try unchanged { ns in
            for line in [
                "X-Long: " + String(repeating: "x", count: 1 << 20), String(repeating: "X-Many: 1\r\n", count: 100_000),
            ] {
                let connection = try RawConnection(port: server.port)
                try connection.send("GET \(ns)/entries/kept HTTP/1.1\r\nHost: localhost\r\n")
                try connection.sendUntilAnswered(Array(line.utf8))
                expect(try connection.receive(), 431, "headers_too_large")
                #expect(connection.ends())
            }
        }
    }

    /// Heads that no client library would send. NS as above.
    static let heads: [(name: String, head: String, status: Int, code: String?)] = [
        (
            "Content-Length twice",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400,
            "bad_request"
        ),
        (
            "two Content-Lengths",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", 400,
            "bad_request"
        ),
        (
            "Content-Length as a list", "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400,
            "bad_request"
        ),
        (
            "Content-Length with Transfer-Encoding",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
            400, "bad_request"
        ),
        (
            "Transfer-Encoding with Content-Length",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nx",
            400, "bad_request"
        ),
        (
            "negative Content-Length", "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400,
            "bad_request"
        ),
        (
            "Content-Length with a sign", "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400,
            "bad_request"
        ),
        (
            "Content-Length beyond 64 bits",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, nil
        ),
        (
            "an encoding that is not chunked last",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, nil
        ),
        (
            "a transfer coding that is not known",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501,
            "transfer_coding_not_supported"
        ),
        ("HTTP/1.2", "DELETE NS/entries/kept HTTP/1.2\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported"),
        (
            "a chunk size that is no number",
            "PUT NS/values/kept HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", 400,
            "bad_request"
        ),
        ("no Host", "GET NS/entries/kept HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (
            "two Hosts", "GET NS/entries/kept HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400,
            "bad_request"
        ),
        ("space before the colon", "GET NS/entries/kept HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, "bad_request"),
        ("NUL in a header", "GET NS/entries/kept HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 400, "bad_request"),
        ("no request line", "hello\r\n\r\n", 400, "bad_request"),
        ("a space in the target", "GET NS/entries/a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "bad_request"),
        ("a control character in the target", "GET NS/entries/a\u{01}b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, nil),
    ]

    @Test("a head that cannot be read is refused, and nothing after it is taken for a request", arguments: heads)
    func unreadable(name: String, head: String, status: Int, code: String?) throws {
        try unchanged { ns in
            let connection = try RawConnection(port: server.port)
            let smuggled = "DELETE \(ns)/entries/kept HTTP/1.1\r\nHost: localhost\r\n\r\n"
            let readable = head.replacing("NS", with: ns).replacing("Host: a\r\n", with: "Host: localhost\r\n")
            try connection.send(readable + smuggled)
            expect(try connection.receive(), status, code)
            #expect(connection.ends())
        }
    }

    @Test(
        "a name that is not served is refused",
        arguments: [
            "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1.", "",
        ]
    )
    func foreignHost(host: String) throws {
        try unchanged { ns in
            let response = expect(try http.get("\(ns)/entries/kept?peek", ["Host": host]), host.isEmpty ? 400 : 421)
            if !host.isEmpty {
                #expect(response.code == "host_not_served")
                #expect(response.json["detail"].string?.contains("server.allowed_hosts") == true)
            }
            expect(try http.put("\(ns)/entries/kept", #"{"value":2}"#, ["Host": host]), host.isEmpty ? 400 : 421)
        }
    }

    @Test(
        "addresses are served, and this machine's name",
        arguments: ["localhost", "127.0.0.1:1", "[::1]", "LOCALHOST:1", "localhost.", "10.0.0.1:8080", "[fd00::5]:80"]
    )
    func ownHosts(host: String) throws {
        expect(try http.get("/v1/stats", ["Host": host]), 200)
        expect(try http.get("/v1/namespaces/none/entries/a", ["Host": host]), 404)
    }

    @Test("probes and metrics are for whoever comes, by whatever name", arguments: ["/livez", "/readyz", "/metrics?"])
    func probesOfAnyHost(target: String) throws {
        for host in ["evil.example", "cache.default.svc.cluster.local:8080", "a_b"] {
            expect(try http.get(target, ["Host": host]), 200)
            expect(try http.get("/livez/..", ["Host": host]), 421)
        }
    }

    @Test(
        "what speaks something else than HTTP is told at once",
        arguments: [
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}", "\0", "{\"value\":1}", "*1\r\n$4\r\nPING\r\n", "PING\r\n",
            "SSH-2.0-OpenSSH_9.9\r\n", "GET /\r\n",
        ]
    )
    func otherProtocols(hello: String) throws {
        let connection = try RawConnection(port: server.port)
        try connection.send(hello)
        expect(try connection.receive(), 400, "bad_request")
        #expect(connection.ends())
    }
}

@Suite("Slow clients", .server("limits:\n  head_timeout: 300ms\n  body_timeout: 300ms\n  idle_timeout: 400ms\n"))
struct SlowClientTests {
    @Test("a head or a body that never comes is answered 408, an idle connection is closed, and nothing changes")
    func timeouts() throws {
        let server = try ServerTrait.server
        let http = server.client
        let ns = try http.namespace()
        let version = try http.store(ns, "kept")
        let put = "PUT \(ns)/entries/kept HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for start in [
            put + "Content-Length: 11\r\n\r\n", put + "Content-Length: 11\r\n\r\n{\"value\":",
            put + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"val", put,
        ] {
            let connection = try RawConnection(port: server.port, within: 15)
            try connection.send(start)
            expect(try connection.receive(), 408, "request_timeout")
            #expect(connection.ends())
        }
        let idle = try RawConnection(port: server.port)
        try idle.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(try idle.receive(), 200)
        #expect(idle.ends(within: 15))
        #expect(try server.client.get("\(ns)/entries/kept").version == version)
    }
}
