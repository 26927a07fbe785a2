import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Who may call")
struct PipelineAuthorizationTests {
    private static let challenge = #"Bearer realm="pantler""#
    /// In form, and nobody's.
    private static let wrong = "Authorization: Bearer pt_abcdefgh_\(String(repeating: "x", count: 43))\r\n"

    private func answer(_ connection: TestConnection, _ request: String) throws -> TestAnswer {
        try connection.send(request)
        return try #require(try connection.answers().first)
    }

    /// The status of an answer, which may be to HEAD, and all of it as it came.
    private func raw(_ connection: TestConnection, _ request: String) throws -> (status: Int, text: String) {
        try connection.send(request)
        connection.tier.commit()
        let text = String(decoding: try connection.received(), as: UTF8.self)
        return (Int(text.dropFirst("HTTP/1.1 ".count).prefix(3)) ?? 0, text)
    }

    /// The same request on either way.
    private func both(_ connection: TestConnection, _ request: (String) -> String) throws -> [TestAnswer] {
        try ["", TestConnection.otherLane].map { try answer(connection, request($0)) }
    }

    private func code(_ answer: TestAnswer) -> String {
        answer.body.split(separator: "\"code\":\"").last?.split(separator: "\"").first.map(String.init) ?? ""
    }

    private func request(_ operation: DocumentedOperation, _ namespace: String, _ fields: String) -> String {
        let method = "\(operation.method)".uppercased()
        let hasBody = [.put, .post, .patch].contains(operation.method)
        let body = hasBody ? "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" : "\r\n"
        return "\(method) \(operation.target(namespace)) HTTP/1.1\r\nHost: localhost\r\n\(fields)\(body)"
    }

    /// What a caller may do, as the document's roles have it.
    private func allows(_ need: String, _ role: Role, inNamespace: Bool, everywhere: Bool) -> Bool {
        if need == "any" { return true }
        let parts = need.split(separator: ":")
        guard let needed = Role(rawValue: String(parts[0])), role >= needed else { return false }
        return parts.count == 2 ? everywhere : inNamespace
    }

    @Test(
        "every operation, tried without a token, with a wrong one, and with every role",
        arguments: DocumentedOperation.all
    )
    func table(operation: DocumentedOperation) throws {
        let connection = try TestConnection(needsToken: true) { $0.durability = .memory }
        connection.tier.answerAtOnce()
        let need = try #require(operation.role)
        for lane in ["", TestConnection.otherLane] {
            let none = try raw(connection, request(operation, "ns", lane))
            let wrong = try raw(connection, request(operation, "ns", Self.wrong + lane))
            if need == "none" {
                #expect(![401, 403].contains(none.status) && ![401, 403].contains(wrong.status))
            } else {
                #expect(none.status == 401 && none.text.contains("\(Self.challenge)\r\n"))
                #expect(wrong.status == 401)
                #expect(wrong.text.contains("\(Self.challenge), error=\"invalid_token\"\r\n"))
            }
        }
        for role in Role.allCases {
            for pattern in ["ns", "n*", "other", "*"] {
                let fresh = try TestConnection(needsToken: true) { $0.durability = .memory }
                fresh.tier.answerAtOnce()
                let token = try fresh.token(role, pattern)
                for lane in ["", TestConnection.otherLane] {
                    let status = try raw(fresh, request(operation, "ns", token.field + lane)).status
                    let isAllowed =
                        need == "none"
                        || allows(need, role, inNamespace: pattern != "other", everywhere: pattern == "*")
                    #expect((status == 403) == !isAllowed, "\(role) of \(pattern): \(status)")
                    #expect(status != 401 && status != 429)
                }
            }
        }
    }

    @Test("a refusal is the same for namespaces that are there and that are not, to the last byte")
    func constant() throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.write, "other")
        for operation in DocumentedOperation.all where operation.path.contains("{ns}") && operation.method != .head {
            for lane in ["", TestConnection.otherLane] {
                try connection.send(request(operation, "ns", token.field + lane))
                let there = try connection.received()
                try connection.send(request(operation, "no", token.field + lane))
                #expect(try connection.received() == there, "\(operation.testDescription)")
                #expect(String(decoding: there, as: UTF8.self).contains(#"error="insufficient_scope""#))
            }
        }
    }

    @Test("what is not there, and what a path does not take, is told to those with a token alone")
    func unknownPaths() throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.read, "other")
        for (line, status) in [
            ("GET /nothing", 404), ("OPTIONS *", 204), ("OPTIONS /v1/tokens", 204), ("PUT /v1/stats", 405),
            ("GET /v1/namespaces/Bad/entries/a", 400), ("GET /v1/namespaces/ns/entries/", 400),
            ("GET /v1/namespaces/ns/entries/a?x", 403), ("BREW /v1/namespaces/ns/entries/a", 405),
            ("GET /v1/tokens/x", 403),
        ] {
            let without = try answer(connection, "\(line) HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(without.status == 401, "\(line)")
            let with = try answer(connection, "\(line) HTTP/1.1\r\nHost: localhost\r\n\(token.field)\r\n")
            #expect(with.status == status, "\(line)")
        }
    }

    @Test(
        "every way to write a path leads to the same rule",
        arguments: [
            "GET /v1/namespaces/ns/values/a HTTP/1.1", "GET /v1/namespaces/ns/values/a HTTP/1.0",
            "GET http://localhost/v1/namespaces/ns/values/a HTTP/1.1",
            "GET HTTP://LOCALHOST/v1/namespaces/ns/values/a HTTP/1.1", "GET /v1/namespaces/%6es/values/a HTTP/1.1",
            "GET /v1/namespaces/n%73/values/%61 HTTP/1.1", "GET /v1/namespaces/ns/values/%61 HTTP/1.1",
            "GET /v1/namespaces/ns/value?key=a HTTP/1.1", "GET /v1/namespaces/ns/values/a?peek HTTP/1.1",
            "GET //v1/namespaces/ns/values/a HTTP/1.1", "GET /v1//namespaces/ns/values/a HTTP/1.1",
            "GET /v1/namespaces//ns/values/a HTTP/1.1", "GET /v1/./namespaces/ns/values/a HTTP/1.1",
            "GET /livez/../v1/namespaces/ns/values/a HTTP/1.1", "GET /v1/namespaces/x/../ns/values/a HTTP/1.1",
            "GET /v1/namespaces/other/../ns/values/a HTTP/1.1", "GET /v1/namespaces/NS/values/a HTTP/1.1",
            "GET /v1/namespaces/ns/values/a;x HTTP/1.1", "get /v1/namespaces/ns/values/a HTTP/1.1",
            "GET /v1/namespaces/other%2F..%2Fns/values/a HTTP/1.1", "HEAD /v1/namespaces/ns/values/a HTTP/1.1",
            "GET /livez?/v1/namespaces/ns/values/a HTTP/1.1", "GET livez/v1/namespaces/ns/values/a HTTP/1.1",
            "GET /v1/namespaces/ns/batch/../values/a HTTP/1.1", "GET /v1/namespaces/ns%00/values/a HTTP/1.1",
            "GET /v1/namespaces/ns /values/a HTTP/1.1", "GET /v1/namespaces/other/values/../../ns/values/a HTTP/1.1",
        ]
    )
    func spellings(line: String) throws {
        for lane in ["", TestConnection.otherLane] {
            let connection = try TestConnection(needsToken: true)
            let own = try connection.token(.write, "ns")
            try connection.send(TestConnection.put("a", "secret", own.field))
            #expect(try connection.answers().first?.status == 201)
            // What the connection remembers of the one who put it is nobody else's.
            for fields in ["", Self.wrong, try connection.token(.admin, "other").field] {
                let told = try raw(connection, "\(line)\r\nHost: localhost\r\n\(fields)\(lane)\r\n")
                #expect(!told.text.contains("secret"))
                #expect(told.status >= 400 || line.contains("livez?"), "\(told.text)")
                if told.text.contains("connection: close") { break }
            }
        }
    }

    @Test("a listener that asks for no token ignores what is presented")
    func withoutTokens() throws {
        let connection = try TestConnection()
        try connection.store("a", "1")
        for fields in ["", Self.wrong, Self.wrong + Self.wrong, "Authorization: Basic eDp5\r\n", "Authorization:\r\n"] {
            for found in try both(connection, { TestConnection.get("a", fields + $0) }) { #expect(found.status == 200) }
        }
        let own = try answer(connection, "GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(own.body.contains(#""id":null,"role":"admin","namespaces":["*"]"#) && own.body.contains(#""listener""#))
    }

    @Test(
        "a token is found however the field is written, and nothing else is taken for one",
        arguments: [
            ("Authorization: Bearer TOKEN", 200), ("authorization:bearer TOKEN", 200),
            ("AUTHORIZATION:  BEARER   TOKEN  ", 200),
            ("Authorization: Bearer TOKEN\r\nAuthorization: Bearer TOKEN", 401), ("Authorization: TOKEN", 401),
            ("Authorization: BearerTOKEN", 401), ("Authorization: Bearer", 401), ("Authorization:", 401),
            ("Authorization: Basic TOKEN", 401), ("Authorization: Bearer TOKEN, Bearer TOKEN", 401),
            ("Authorization: Bearer TOKEN x", 401),
            ("Authorization: Bearer\tTOKEN", 401), ("Proxy-Authorization: Bearer TOKEN", 401),
            ("X-Authorization: Bearer TOKEN", 401),
            ("Authorization: Bearer \"TOKEN\"", 401), ("Cookie: Authorization=Bearer TOKEN", 401),
        ]
    )
    func fields(field: String, status: Int) throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.write, "ns")
        try connection.store("a", "1", token.field)
        // The line's end is one character.
        let value = String(token.field.dropFirst("Authorization: Bearer ".count).dropLast())
        for lane in ["", TestConnection.otherLane] {
            let field = field.replacing("TOKEN", with: value) + "\r\n"
            let found = try answer(connection, TestConnection.get("a", field + lane))
            #expect(found.status == status)
            #expect(!found.body.contains(value.suffix(43)))
        }
    }

    // MARK: What a connection remembers

    @Test("tokens of several callers may take turns on one connection, each for itself")
    func mixed() throws {
        let connection = try TestConnection(needsToken: true)
        let (own, others) = (try connection.token(.write, "ns"), try connection.token(.write, "other"))
        try connection.store("a", "1", own.field)
        for _ in 0..<3 {
            #expect(try answer(connection, TestConnection.get("a", own.field)).status == 200)
            #expect(try answer(connection, TestConnection.get("a", others.field)).status == 403)
            #expect(try answer(connection, TestConnection.get("a", Self.wrong)).status == 401)
            #expect(try answer(connection, TestConnection.get("a")).status == 401)
        }
        // In one burst, in the fast lane and behind each other.
        try connection.send(
            TestConnection.get("a", own.field) + TestConnection.get("a", others.field)
                + TestConnection.get("a", own.field)
                + TestConnection.get("a")
        )
        #expect(try connection.answers().map(\.status) == [200, 403, 200, 401])
    }

    @Test("a token that is revoked, rotated or expired opens nothing from then on")
    func ends() throws {
        let connection = try TestConnection(needsToken: true)
        let wall = connection.store.moment().wall.milliseconds
        let token = try connection.token(.write, "ns")
        try connection.store("a", "1", token.field)
        #expect(try answer(connection, TestConnection.get("a", token.field)).status == 200)
        connection.store.tokens.revoke(token.id) { _ in }
        for gone in try both(connection, { TestConnection.get("a", token.field + $0) }) { #expect(gone.status == 401) }

        let short = try connection.token(.read, "*", expiresAt: wall + 1000)
        #expect(try answer(connection, TestConnection.get("a", short.field)).status == 200)
        connection.clock.advance(byMilliseconds: 999)
        #expect(try answer(connection, TestConnection.get("a", short.field)).status == 200)
        connection.clock.advance(byMilliseconds: 1)
        for gone in try both(connection, { TestConnection.get("a", short.field + $0) }) { #expect(gone.status == 401) }

        let rotated = try connection.token(.read, "*")
        #expect(try answer(connection, TestConnection.get("a", rotated.field)).status == 200)
        let now = connection.store.moment().wall.milliseconds
        connection.store.tokens.rotate(rotated.id, graceMilliseconds: 500, nowMilliseconds: now) { _ in }
        connection.tier.commit()
        #expect(try answer(connection, TestConnection.get("a", rotated.field)).status == 200)
        connection.clock.advance(byMilliseconds: 500)
        for gone in try both(connection, { TestConnection.get("a", rotated.field + $0) }) {
            #expect(gone.status == 401)
        }
    }

    @Test("a token that ends while a body is under way opens nothing by it")
    func midBody() throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.admin, "*")
        let body = #"{"role":"admin"}"#
        let head = "POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        let request = head + token.field + "Content-Length: \(body.utf8.count)\r\n\r\n" + body
        try connection.send(String(request.dropLast(5)))
        connection.store.tokens.revoke(token.id) { _ in }
        connection.tier.commit()
        #expect(try connection.answers().isEmpty)
        try connection.send(String(request.suffix(5)))
        #expect(try connection.answers().map(\.status) == [401])
        #expect(connection.store.tokens.count == 0)
        let other = try connection.token(.write, "ns")
        let put = TestConnection.put("a", "late", other.field + TestConnection.otherLane)
        try connection.send(String(put.dropLast(2)))
        _ = try connection.token(.read, "*")
        try connection.send(String(put.suffix(2)))
        #expect(try connection.answers().map(\.status) == [201], "a change of another token changes nothing")
    }

    @Test("nothing is held of a body that means nothing to its call, whoever sends it")
    func meaninglessBody() throws {
        let connection = try TestConnection(needsToken: true)
        let padding = String(repeating: " ", count: 60_000)
        try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60001\r\n\r\n" + padding)
        #expect(connection.state.flight.figures.held == 0)
        try connection.send(" ")
        #expect(try connection.answers().map(\.status) == [200])
        try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        #expect(try connection.answers().map(\.status) == [413])
    }

    @Test("a day of use is noted once it begins")
    func use() throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.read, "*")
        #expect(connection.store.tokens.record(token.id)?.lastUsedDay == nil)
        _ = try answer(connection, TestConnection.get("a", token.field))
        let day = try #require(connection.store.tokens.record(token.id)?.lastUsedDay)
        connection.clock.advance(byMilliseconds: 86_400_000)
        _ = try answer(connection, TestConnection.get("a", token.field))
        #expect(connection.store.tokens.record(token.id)?.lastUsedDay == day + 1)
    }

    @Test(
        "a caller that waits for a lease is refused when its token is revoked, and gets nothing of what comes",
        arguments: [true, false]
    )
    func waits(isPlain: Bool) throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.write, "ns")
        let holder = try TestConnection(sharing: connection)
        let lane = isPlain ? "" : TestConnection.otherLane
        func lease(_ wait: Int, _ fields: String) -> String {
            let body = "{\"wait\":\(wait)}"
            return
                "POST /v1/namespaces/ns/leases/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\(fields)"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        }
        let admin = try connection.token(.admin, "*")
        #expect(try answer(holder, lease(0, admin.field)).status == 201)
        try connection.send(lease(10, token.field + lane) + TestConnection.get("a", token.field))
        #expect(try connection.answers().isEmpty)
        connection.store.tokens.revoke(token.id) { _ in }
        connection.tier.commit()
        connection.state.endWaitsOfLostTokens()
        connection.eventLoop.run()
        #expect(try connection.answers().map(\.status) == [401, 401])
    }

    @Test(
        "a fill that comes before anybody has told of the revocation is not handed out either",
        arguments: [true, false]
    )
    func lateFill(isPlain: Bool) throws {
        let connection = try TestConnection(needsToken: true)
        let token = try connection.token(.write, "ns")
        let admin = try connection.token(.admin, "*")
        let holder = try TestConnection(sharing: connection)
        let lane = isPlain ? "" : TestConnection.otherLane
        let lease = { (fields: String) in
            "POST /v1/namespaces/ns/leases/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\(fields)"
                + "Content-Length: 11\r\n\r\n{\"wait\":10}"
        }
        let given = try answer(holder, lease(admin.field))
        let key = try #require(given.body.split(separator: "\"token\":\"").last?.split(separator: "\"").first)
        try connection.send(lease(token.field + lane))
        #expect(try connection.answers().isEmpty)
        connection.store.tokens.revoke(token.id) { _ in }
        #expect(try answer(holder, TestConnection.put("a", "secret", "Lease: \(key)\r\n" + admin.field)).status == 201)
        holder.eventLoop.run()
        connection.eventLoop.run()
        let refused = try #require(try connection.answers().first)
        #expect(refused.status == 401 && !refused.body.contains("secret"))
    }

    // MARK: Rates

    @Test("requests a second are counted over both ways, and what is too much is told when to come again")
    func rate() throws {
        var limits = HTTPLimits()
        limits.requestsPerToken = 4
        let connection = try TestConnection(limits: limits, needsToken: true)
        let token = try connection.token(.read, "*")
        for number in 0..<8 {
            let lane = number % 2 == 0 ? "" : TestConnection.otherLane
            let told = try answer(connection, TestConnection.get("a", token.field + lane))
            #expect(told.status == (number < 4 ? 404 : 429), "\(number)")
            if number >= 4 { #expect(told.fields["retry-after"] == "1") }
        }
        #expect(connection.state.router.refusals.count(.rate) == 4)
        // Probes are open, and another token has its own.
        #expect(try answer(connection, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\(token.field)\r\n").status == 200)
        let other = try connection.token(.read, "*")
        #expect(try answer(connection, TestConnection.get("a", other.field)).status == 404)
        connection.clock.advance(byMilliseconds: 250)
        #expect(try answer(connection, TestConnection.get("a", token.field)).status == 404)
        #expect(try answer(connection, TestConnection.get("a", token.field)).status == 429)
    }

    @Test(
        "a peer that guesses is answered a second later, while its connection reads no more; good tokens are not slowed"
    )
    func guesses() throws {
        var limits = HTTPLimits()
        limits.failedTokens = 2
        let connection = try TestConnection(limits: limits, needsToken: true)
        let token = try connection.token(.write, "ns")
        for lane in ["", TestConnection.otherLane] {
            #expect(try answer(connection, TestConnection.get("a", Self.wrong + lane)).status == 401)
        }
        try connection.send(
            TestConnection.putEntry("a", "{\"value\":1}", Self.wrong) + TestConnection.get("a", token.field)
        )
        #expect(try connection.answers().isEmpty)
        let reads = connection.reads.count
        connection.advance(milliseconds: 999)
        #expect(try connection.answers().isEmpty && connection.reads.count == reads)
        connection.advance(milliseconds: 1)
        #expect(try connection.answers().map(\.status) == [401, 404])
        #expect(connection.state.router.refusals.delayed == 1)
        // None at all is no guess.
        #expect(try answer(connection, TestConnection.get("a")).status == 401)
        #expect(try answer(connection, TestConnection.get("a", token.field)).status == 404)
        // Who leaves meanwhile is nobody to answer.
        try connection.send(TestConnection.get("a", Self.wrong))
        connection.channel.close(promise: nil)
        connection.advance(milliseconds: 2000)
    }

    // MARK: Pages

    @Test(
        "a change that a page of another site sends is refused, with or without tokens, and by either way",
        arguments: [
            ("Origin: http://evil.example", 403), ("Origin: null", 403), ("Origin: http://localhost:9", 403),
            ("Origin: https://localhost", 201), ("Origin: http://localhost", 201), ("Origin: HTTP://LocalHost:80", 201),
            ("Sec-Fetch-Site: cross-site", 403), ("sec-fetch-site: Cross-Site", 403),
            ("Sec-Fetch-Site: same-origin", 201),
            ("Sec-Fetch-Site: none", 201), ("Origin: http://localhost\r\nOrigin: http://localhost", 403),
            ("Origin:", 403), ("Origin: http://localhost.evil.example", 403),
            ("Origin: http://localhost@evil.example", 403),
            ("Origin: chrome-extension://localhost", 403), ("Origin: http://localhost:80x", 403),
        ]
    )
    func pages(field: String, status: Int) throws {
        for needsToken in [false, true] {
            for lane in ["", TestConnection.otherLane] {
                let connection = try TestConnection(needsToken: needsToken)
                let token = try connection.token(.admin, "*").field
                let put = TestConnection.putEntry("a", "{\"value\":1}", token + field + "\r\n" + lane)
                let told = try answer(connection, put)
                #expect(told.status == status)
                #expect((code(told) == "cross_site") == (status == 403))
                #expect(told.fields["www-authenticate"] == nil)
                // Before the token is looked at.
                let without = try answer(
                    connection,
                    TestConnection.putEntry("b", "{\"value\":1}", field + "\r\n" + lane)
                )
                #expect(without.status == (status == 403 ? 403 : needsToken ? 401 : 201))
                // What only looks is nobody's harm: the page is not shown it.
                #expect(try answer(connection, TestConnection.get("none", token + field + "\r\n" + lane)).status == 404)
            }
        }
    }

    // MARK: What tokens show

    @Test("a list of namespaces has those that the token may do anything in")
    func namespaces() throws {
        let connection = try TestConnection(needsToken: true)
        for name in ["team-a", "team-b", "x"] { connection.store.setPolicy(try NamespaceName(name), Policy()) { _ in } }
        func listed(_ patterns: String...) throws -> [String] {
            let grant = try #require(patterns.first)
            let token = try connection.token(.read, grant)
            let told = try answer(connection, "GET /v1/namespaces HTTP/1.1\r\nHost: localhost\r\n\(token.field)\r\n")
            return told.body.split(separator: "{\"name\":\"").dropFirst().map { String($0.prefix { $0 != "\"" }) }
        }
        #expect(try listed("*") == ["ns", "team-a", "team-b", "x"])
        #expect(try listed("team-*") == ["team-a", "team-b"])
        #expect(try listed("x") == ["x"])
        #expect(try listed("none") == [])
    }

    @Test("metrics are open where the listener says so, and to those who may read everything")
    func metrics() throws {
        for isOpen in [false, true] {
            let connection = try TestConnection(needsToken: true, opensMetrics: isOpen)
            func get(_ fields: String) throws -> TestAnswer {
                try answer(connection, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n")
            }
            #expect(try get("").status == (isOpen ? 200 : 401))
            #expect(try get(Self.wrong).status == (isOpen ? 200 : 401))
            #expect(try get(connection.token(.admin, "ns").field).status == (isOpen ? 200 : 403))
            let page = try get(connection.token(.read, "*").field)
            let metrics = try Metrics(page.body)
            #expect(metrics.sum("pantler_tokens") == 2)
            #expect(metrics.sum("pantler_auth_failures_total", ["reason": "missing"]) == (isOpen ? 0 : 1))
            #expect(metrics.sum("pantler_auth_failures_total", ["reason": "forbidden"]) == (isOpen ? 0 : 1))
            #expect(metrics.sum("pantler_auth_delayed_total") == 0)
        }
    }

    @Test("a certificate stands in the place of a token where none is sent")
    func certificate() throws {
        let connection = try TestConnection(needsToken: true)
        let handler = try connection.channel.pipeline.syncOperations.handler(type: Connection.self)
        handler.certificatePass = Grant(role: .read, namespaces: [try #require(NamespacePattern("ns"))])
        for lane in ["", TestConnection.otherLane] {
            #expect(try answer(connection, TestConnection.get("a", lane)).status == 404)
            #expect(try answer(connection, TestConnection.get("a", Self.wrong + lane)).status == 401)
            #expect(try answer(connection, TestConnection.putEntry("a", "{\"value\":1}", lane)).status == 403)
        }
        let own = try answer(connection, "GET /v1/token HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(
            own.body.contains(#""source":"certificate""#) && own.body.contains(#""role":"read","namespaces":["ns"]"#)
        )
    }
}
