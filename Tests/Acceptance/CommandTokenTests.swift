import Glibc
import Support
import Testing

@Suite("The command, tokens")
struct CommandTokenTests {
    private static let secret = String(repeating: "sEcReT-_x", count: 4) + "1234567"
    private static let token = "pt_abcdefgh_\(secret)"
    private static let record =
        #""id":"abcdefgh","role":"write","namespaces":["sessions","team-*"],"note":"the shop","created_at":"2026-01-01T00:00:00.000Z","#
        + #""expires_at":"2026-06-01T00:00:00.000Z","last_used":"2026-05-01","source":"database""#

    private func stub(_ call: String, _ status: Int, _ body: String) throws -> StubService {
        try StubService([call: (status, body)])
    }

    private func pantler(
        _ stub: StubService,
        _ arguments: String...,
        environment: [String: String] = [:]
    ) throws -> CommandResult {
        try Command.run(["token"] + arguments, url: stub.url, environment: environment)
    }

    // MARK: Calls

    @Test("a new token stands alone on the output, and what is said of it among the errors")
    func create() throws {
        let stub = try stub("POST /v1/tokens", 201, "{\(Self.record),\"token\":\"\(Self.token)\"}")
        let made = try pantler(
            stub,
            "create",
            "--role",
            "write",
            "--namespace",
            "sessions",
            "-n",
            "team-*",
            "--note",
            "the shop",
            "--expires",
            "90d"
        )
        #expect(made.status == 0, "\(made)")
        #expect(made.output == Self.token + "\n")
        #expect(made.errors.contains("sessions, team-*"))
        #expect(!made.errors.contains(Self.secret))
        #expect(
            stub.asked.map(\.body) == [
                #"{"role":"write","namespaces":["sessions","team-*"],"note":"the shop","ttl":7776000}"#
            ]
        )
        let json = try pantler(stub, "create", "--role", "read", "--expires", "2027-01-31T00:00:00Z", "-o", "json")
        #expect(json.json["token"].string == Self.token)
        #expect(json.json["id"].string == "abcdefgh")
        #expect(json.errors.isEmpty)
        #expect(
            stub.asked.last?.body
                == #"{"role":"read","namespaces":["*"],"expires_at":"2027-01-31T00:00:00.000Z"}"#
        )
    }

    @Test("tokens are listed with what has expired by the service's clock")
    func list() throws {
        let other = Self.record.replacing("abcdefgh", with: "bbbbbbbb").replacing(
            #""2026-06-01T00:00:00.000Z","last_used":"2026-05-01""#,
            with: #"null,"last_used":null"#
        )
        let stub = try stub("GET /v1/tokens", 200, "{\"tokens\":[{\(Self.record)},{\(other)}]}")
        let listed = try pantler(stub, "list")
        #expect(listed.status == 0, "\(listed)")
        let lines = listed.output.split(separator: "\n")
        #expect(lines.first?.hasPrefix("ID ") == true)
        #expect(
            lines.dropFirst().first?.hasPrefix("abcdefgh  write  sessions, team-*  2026-06-01T00:00:00.000Z (expired)")
                == true
        )
        #expect(lines.last?.hasPrefix("bbbbbbbb  write  sessions, team-*  never") == true)
        #expect(lines.last?.contains("the shop") == true)
        let empty = try pantler(try self.stub("GET /v1/tokens", 200, #"{"tokens":[]}"#), "ls")
        #expect(empty.status == 0)
        #expect(empty.output.isEmpty)
    }

    @Test("one token is shown, rotated and revoked by its id")
    func one() throws {
        let stub = try StubService([
            "GET /v1/tokens/abcdefgh": (200, "{\(Self.record)}"),
            "POST /v1/tokens/abcdefgh/rotate": (200, "{\(Self.record),\"token\":\"\(Self.token)\"}"),
            "DELETE /v1/tokens/abcdefgh": (204, ""),
        ])
        let shown = try pantler(stub, "show", "abcdefgh")
        #expect(shown.output.contains("last_used   2026-05-01"), "\(shown)")
        let rotated = try pantler(stub, "rotate", "abcdefgh", "--grace", "24h")
        #expect(rotated.output == Self.token + "\n", "\(rotated)")
        #expect(stub.asked.last?.body == #"{"grace":86400}"#)
        let asked = try pantler(stub, "revoke", "abcdefgh")
        #expect(asked.status == 2, "nobody is at a terminal to be asked: \(asked)")
        #expect(stub.asked.count == 2)
        // A token that was found where it should not be is revoked as it is.
        let revoked = try pantler(stub, "revoke", Self.token, "--yes")
        #expect(revoked.status == 0, "\(revoked)")
        #expect(revoked.output == "token 'abcdefgh' revoked\n")
        #expect(stub.asked.last?.call == "DELETE /v1/tokens/abcdefgh")
        let unknown = try pantler(stub, "show", "zzzzzzzz")
        #expect(unknown.status == 3)
        #expect(unknown.errors.contains("pantler token list"))
    }

    @Test(
        "whether a token may do something is an exit status",
        arguments: [
            (["write", "sessions"], 0), (["read", "team-7"], 0), (["admin", "sessions"], 4), (["read", "other"], 4),
            (["read"], 4), (["admin"], 4),
        ] as [([String], Int32)]
    )
    func can(arguments: [String], status: Int32) throws {
        let stub = try stub("GET /v1/token", 200, "{\(Self.record)}")
        let result = try Command.run(["token", "can"] + arguments, url: stub.url)
        #expect(result.status == status, "\(result)")
        #expect(result.output.hasPrefix(status == 0 ? "yes, " : "no, "))
        #expect(result.output.contains("the token 'abcdefgh' gives write of sessions, team-*"))
        #expect(result.errors.isEmpty)
        let json = try Command.run(["token", "can", "-o", "json"] + arguments, url: stub.url)
        #expect(json.status == status)
        #expect(json.json["allowed"].bool == (status == 0))
        #expect(json.json["namespaces"].array.count == 2)
    }

    @Test("a listener without tokens lets everybody do everything, and says so")
    func canWithout() throws {
        let body = #"{"id":null,"role":"admin","namespaces":["*"],"note":"","source":"listener"}"#
        let result = try pantler(try stub("GET /v1/token", 200, body), "can", "admin")
        #expect(result.status == 0)
        #expect(result.output.contains("this listener asks for no token"))
    }

    @Test("a role and patterns of a later Pantler are not believed to allow anything")
    func canLater() throws {
        for body in [
            #"{"id":"abcdefgh","role":"emperor","namespaces":["*"]}"#,
            #"{"id":"abcdefgh","role":"admin","namespaces":["+s"]}"#,
        ] {
            #expect(try pantler(try stub("GET /v1/token", 200, body), "can", "read", "s").status == 4)
        }
    }

    @Test("who is not let in has exit status 4, and is told what to do", arguments: [401, 403])
    func refused(status: Int) throws {
        let code = status == 401 ? "token_required" : "forbidden"
        let body = "{\"status\":\(status),\"code\":\"\(code)\",\"detail\":\"No.\"}"
        for call in ["can read", "list"] {
            let stub = try StubService(["GET /v1/token": (status, body), "GET /v1/tokens": (status, body)])
            let result = try Command.run(["token"] + call.split(separator: " ").map(String.init), url: stub.url)
            #expect(result.status == 4, "\(result)")
            #expect(result.errors.contains(status == 401 ? "--token-file" : "pantler token can"))
        }
    }

    // MARK: The token that is sent

    @Test("a token comes from a flag, a file or the environment, the nearer before the farther")
    func sent() throws {
        let stub = try stub("GET /v1/tokens", 200, #"{"tokens":[]}"#)
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let file = try folder.write("of-a-file\n", to: "token")
        let other = try folder.write("of-another\r\n", to: "other")
        #expect(chmod(file, 0o600) == 0 && chmod(other, 0o600) == 0)
        let variables = ["PANTLER_TOKEN": "of-a-variable", "PANTLER_TOKEN_FILE": other]
        for (arguments, environment, token) in [
            ([], [:], nil), ([], variables, "of-a-variable"), ([], ["PANTLER_TOKEN_FILE": other], "of-another"),
            (["--token-file", file], variables, "of-a-file"), (["--token", "of-a-flag"], variables, "of-a-flag"),
        ] as [([String], [String: String], String?)] {
            let result = try Command.run(["token", "list"] + arguments, url: stub.url, environment: environment)
            #expect(result.status == 0, "\(result)")
            let line = stub.asked.last?.head.split(separator: "\r\n").first { $0.hasPrefix("authorization:") }
            #expect(line.map(String.init) == token.map { "authorization: bearer \($0)" })
        }
        // Before the verb as well, as the other options of all commands.
        let before = try Command.run(["--token-file", file, "token", "list"], url: stub.url)
        #expect(before.status == 0, "\(before)")
        #expect(chmod(file, 0o644) == 0)
        let open = try Command.run(["token", "list", "--token-file", file], url: stub.url)
        #expect(open.errors.contains("everybody on this machine can read the token"))
        let both = try Command.run(["token", "list", "--token-file", file, "--token", "x"], url: stub.url)
        #expect(both.status == 2)
    }

    @Test("no message shows a token, wherever it was put on the command line")
    func messages() throws {
        for arguments in [
            ["get", "k", Self.token], [Self.token], ["token", Self.token], ["token", "show", Self.token + "x"],
            ["token", "create", "--role", Self.token], ["token", "can", "read", Self.token],
            ["token", "show", "x", Self.token],
            ["serve", Self.token], ["token", "list", "--token", Self.token + " x"],
            ["get", "--timeout", Self.token, "k"],
        ] {
            let result = try Command.run(arguments, url: "http://127.0.0.1:1")
            #expect(result.status != 0)
            #expect(!result.output.contains(Self.secret) && !result.errors.contains(Self.secret), "\(result)")
        }
    }

    // MARK: Without a service

    @Test("the first token is made in a folder that is not served, and its file has no secret in it")
    func folder() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let made = try Command.run([
            "token", "create", "--data-dir", folder.path, "--role", "admin", "--note", "the first", "--expires", "1d",
            "-o",
            "json",
        ])
        #expect(made.status == 0, "\(made)")
        let text = try #require(made.json["token"].string)
        #expect(made.json["source"].string == "database")
        #expect(made.json["note"].string == "the first")
        #expect(made.json["namespaces"].array.map(\.string) == ["*"])
        let second = try Command.run([
            "token", "create", "--data-dir", folder.path, "--role", "read", "--namespace", "a",
        ])
        #expect(second.output.hasPrefix("pt_") && second.output.utf8.count == 56, "\(second)")
        #expect(second.output != text + "\n")
        for name in names(in: folder.path) {
            let bytes = String(decoding: contents(of: folder.file(name)), as: UTF8.self)
            #expect(!bytes.contains(text.suffix(43)) && !bytes.contains(second.output.dropLast().suffix(43)), "\(name)")
        }
        #expect(try Command.run(["check", "--data-dir", folder.path]).status == 0)
    }

    @Test("a folder that is served is told with what to do; one that is not there is made, as by the first start")
    func folderRefused() throws {
        let server = try ServerProcess()
        let served = try Command.run(["token", "create", "--role", "admin", "--data-dir", server.dataFolder])
        #expect(served.status == 5, "\(served)")
        #expect(served.errors.contains("is served by process"))
        #expect(served.output.isEmpty)
        let new = server.dataFolder + "x"
        let first = try Command.run(["token", "create", "--role", "admin", "--data-dir", new])
        #expect(first.status == 0, "\(first)")
        #expect(try Command.run(["check", "--data-dir", new]).status == 0)
        let inFile = try server.databaseFile() + "/x"
        let file = try Command.run(["token", "create", "--role", "admin", "--data-dir", inFile])
        #expect(file.status == 1 && file.output.isEmpty, "\(file)")
    }

    @Test("root makes nothing in a folder that is another user's", .enabled(if: geteuid() == 0))
    func folderOfAnother() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        #expect(chown(folder.path, 12_345, 12_345) == 0)
        let result = try Command.run(["token", "create", "--role", "admin", "--data-dir", folder.path])
        #expect(result.status == 1)
        #expect(result.errors.contains("sudo -u '#12345'"), "\(result)")
        #expect(names(in: folder.path).isEmpty)
    }

    @Test("a token is generated, and its line of the configuration has the digest alone")
    func hash() throws {
        let generated = try Command.run(["token", "generate"])
        #expect(generated.output.utf8.count == 56)
        let line = try Command.run(["token", "hash", "--role", "read", "-n", "a"], input: generated.output)
        #expect(line.status == 0, "\(line)")
        #expect(line.output.hasPrefix("- {\"id\":\"\(generated.output.dropFirst(3).prefix(8))\",\"sha256\":\""))
        #expect(!line.output.contains(generated.output.dropLast().suffix(43)))
        let bad = try Command.run(["token", "hash", "--role", "read"], input: Self.token + "x")
        #expect(bad.status == 1)
        #expect(bad.output.isEmpty && !bad.errors.contains(Self.secret))
    }
}
