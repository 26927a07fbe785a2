import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Tokens, by calls")
struct RoutesTokenTests {
    private func call(
        _ connection: TestConnection,
        _ line: String,
        _ fields: String,
        _ body: String = ""
    ) throws -> TestAnswer {
        let type = body.isEmpty ? "" : "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        try connection.send("\(line) HTTP/1.1\r\nHost: localhost\r\n\(fields)\(type)\r\n\(body)")
        connection.tier.commit()
        return try #require(try connection.answers().first)
    }

    private func member(_ name: String, _ answer: TestAnswer) throws -> String {
        let rest = try #require(answer.body.split(separator: "\"\(name)\":\"").dropFirst().first)
        return String(rest.prefix { $0 != "\"" })
    }

    @Test("are made, shown without their secrets, rotated and revoked")
    func life() throws {
        let connection = try TestConnection(needsToken: true)
        let admin = try connection.token(.admin, "*").field
        let order = #"{"role":"write","namespaces":["shop","team-*"],"note":"caf\u00e9","ttl":60}"#
        let made = try call(connection, "POST /v1/tokens", admin, order)
        #expect(made.status == 201 && made.fields["cache-control"] == "no-store")
        let (id, token) = (try member("id", made), try member("token", made))
        #expect(token.hasPrefix("pt_\(id)_") && token.utf8.count == PresentedToken.count)
        #expect(made.body.contains(#""role":"write","namespaces":["shop","team-*"],"note":"café""#))
        #expect(made.body.contains(#""last_used":null,"source":"database""#))
        let shown = try call(connection, "GET /v1/tokens/\(id)", admin)
        #expect(shown.body == made.body.replacing(",\"token\":\"\(token)\"", with: ""))
        let listed = try call(connection, "GET /v1/tokens", admin)
        #expect(listed.body.contains(shown.body) && !listed.body.contains(token.suffix(43)))
        let field = "Authorization: Bearer \(token)\r\n"
        let own = try call(connection, "GET /v1/token", field)
        #expect(own.status == 200 && own.body.contains("\"id\":\"\(id)\"") && !own.body.contains("\"last_used\":null"))

        let rotated = try call(connection, "POST /v1/tokens/\(id)/rotate", admin, #"{"grace":10}"#)
        #expect(rotated.status == 200)
        let next = "Authorization: Bearer \(try member("token", rotated))\r\n"
        for field in [field, next] { #expect(try call(connection, "GET /v1/token", field).status == 200) }
        connection.clock.advance(byMilliseconds: 10_000)
        #expect(try call(connection, "GET /v1/token", field).status == 401)
        #expect(try call(connection, "POST /v1/tokens/\(id)/rotate", admin).status == 200)
        #expect(try call(connection, "GET /v1/token", next).status == 401)

        #expect(try call(connection, "DELETE /v1/tokens/\(id)", admin).status == 204)
        for line in [
            "GET /v1/tokens/\(id)", "DELETE /v1/tokens/\(id)", "POST /v1/tokens/\(id)/rotate", "GET /v1/tokens/x",
        ] {
            let gone = try call(connection, line, admin)
            #expect(gone.status == 404 && gone.body.contains("token_not_found"), "\(line)")
        }
    }

    @Test("of the configuration can be looked at and not changed")
    func configured() throws {
        let connection = try TestConnection()
        let id = try #require(TokenID("configed"))
        let digest = try #require(TokenDigest([UInt8](repeating: 1, count: 32)))
        let grant = Grant(role: .read, namespaces: [.everything])
        #expect(connection.store.tokens.setConfigured([ConfiguredToken(id: id, digest: digest, grant: grant)]) == [])
        let shown = try call(connection, "GET /v1/tokens/configed", "")
        #expect(shown.body.contains(#""created_at":null"#) && shown.body.contains(#""source":"configuration""#))
        for line in ["DELETE /v1/tokens/configed", "POST /v1/tokens/configed/rotate"] {
            let refused = try call(connection, line, "")
            #expect(refused.status == 409 && refused.body.contains("token_read_only"))
        }
    }

    @Test(
        "that cannot be made are refused with what is wrong",
        arguments: [
            ("{}", "missing_member"), ("[]", "member_invalid"), ("", "unsupported_media_type"), ("{", "invalid_json"),
            (#"{"role":"root"}"#, "member_invalid"), (#"{"role":1}"#, "member_invalid"),
            (#"{"role":"read","namespaces":[]}"#, "member_invalid"),
            (#"{"role":"read","namespaces":"*"}"#, "member_invalid"),
            (#"{"role":"read","namespaces":["A"]}"#, "member_invalid"),
            (#"{"role":"read","namespaces":["a*b"]}"#, "member_invalid"),
            (#"{"role":"read","namespaces":[1]}"#, "member_invalid"),
            (#"{"role":"read","note":"a\u0000b"}"#, "member_invalid"),
            (#"{"role":"read","ttl":0}"#, "ttl_invalid"), (#"{"role":"read","ttl":"1"}"#, "ttl_invalid"),
            (#"{"role":"read","expires_at":"tomorrow"}"#, "expires_at_invalid"),
            (#"{"role":"read","expires_at":"2001-01-01T00:00:00Z"}"#, "expires_at_invalid"),
            (#"{"role":"read","ttl":1,"expires_at":"2099-01-01T00:00:00Z"}"#, "ttl_conflict"),
            (#"{"role":"read","role":"read"}"#, "duplicate_member"),
            (#"{"role":"read","scope":"*"}"#, "unknown_member"),
        ]
    )
    func refusedOrders(body: String, code: String) throws {
        let answer = try call(try TestConnection(), "POST /v1/tokens", "", body)
        #expect(answer.body.contains("\"code\":\"\(code)\""), "\(answer.body)")
    }

    @Test("are made for ever, and of all namespaces, where nothing else is said")
    func defaults() throws {
        for body in [#"{"role":"read"}"#, #"{"role":"read","ttl":null,"expires_at":null}"#] {
            let made = try call(try TestConnection(), "POST /v1/tokens", "", body)
            #expect(made.body.contains(#""namespaces":["*"],"note":"""#) && made.body.contains(#""expires_at":null"#))
        }
        let patterns = (0..<65).map { "\"n\($0)\"" }
        for (count, status) in [(64, 201), (65, 422)] {
            let body = "{\"role\":\"read\",\"namespaces\":[\(patterns.prefix(count).joined(separator: ","))]}"
            #expect(try call(try TestConnection(), "POST /v1/tokens", "", body).status == status)
        }
    }

    @Test(
        "are rotated with a grace of up to thirty days",
        arguments: [
            ("{}", 200), (#"{"grace":0}"#, 200), (#"{"grace":2592000}"#, 200), (#"{"grace":2592000.1}"#, 422),
            (#"{"grace":-1}"#, 422), (#"{"grace":"1"}"#, 422), (#"{"grace":null}"#, 422), (#"{"ttl":1}"#, 422),
            ("[]", 422),
            ("{", 400),
        ]
    )
    func graces(body: String, status: Int) throws {
        let connection = try TestConnection()
        let token = try connection.token(.read, "*")
        #expect(try call(connection, "POST /v1/tokens/\(token.id)/rotate", "", body).status == status)
    }

    @Test("listeners are told with what they ask")
    func listeners() throws {
        let connection = try TestConnection(needsToken: true, opensMetrics: true)
        let token = try connection.token(.read, "*").field
        var listener = Listener(.port(host: "127.0.0.1", port: 8080))
        listener.needsToken = true
        var facts = ListenerFacts(listener)
        facts.certificateExpiresAt = 1_800_000_000_000
        let socket = ListenerFacts(Listener(.socket(path: "/run/p.sock", mode: 0o660, group: nil)))
        connection.state.router.setListenerFacts([facts, socket])
        #expect(
            try call(connection, "GET /v1/listeners", token).body
                == #"{"listeners":[{"address":"127.0.0.1","port":8080,"tls":false,"tokens":true,"plaintext":false,"#
                + #""client_certificates":false,"certificate_expires_at":"2027-01-15T08:00:00.000Z"},"#
                + #"{"socket":"/run/p.sock","tls":false,"tokens":false,"plaintext":false,"client_certificates":false}],"#
                + #""open_metrics":true,"tokens":1}"#
        )
    }

    @Test(
        "routes of tokens",
        arguments: [
            ("/v1/token", Resource.token), ("/v1/tokens", .tokens), ("/v1/tokens/abcdefgh", .tokenRecord),
            ("/v1/tokens/", .tokenRecord),
            ("/v1/tokens/abcdefgh/rotate", .tokenRotation), ("/v1/listeners", .listeners),
            ("/v1/tokens/a/rotate/", nil),
            ("/v1/tokens/a/b", nil), ("/v1/token/", nil), ("/v1/tokensx", nil), ("/v1/listeners/", nil),
        ] as [(String, Resource?)]
    )
    func routes(path: String, resource: Resource?) {
        let bytes = Array(path.utf8)
        #expect(bytes.withUnsafeBytes { Route($0, path: 0..<bytes.count)?.resource } == resource)
    }
}
