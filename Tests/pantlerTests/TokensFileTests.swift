import Glibc
import PantlerModel
import Support
import Testing

@testable import pantler

@Suite("The file of configured tokens")
struct TokensFileTests {
    private static let digest = String(repeating: "ab", count: 32)
    private static let secret = String(repeating: "sEcReT-_x", count: 4) + "1234567"
    private static let token = "pt_abcdefgh_\(secret)"

    private func read(_ text: String) throws -> [ConfiguredToken] { try TokensFile(path: "t.yaml", text: text).tokens }

    private func faults(_ text: String) -> [String] {
        do {
            _ = try TokensFile(path: "t.yaml", text: text)
            return []
        } catch {
            return error.faults
        }
    }

    @Test("a list in YAML, with all that a token has, and what is not said is as it is usually")
    func yaml() throws {
        let tokens = try read(
            """
            # The shop's.
            - id: abcdefgh
              sha256: \(Self.digest)
              role: write
              namespaces: [sessions, "team-*"]
              note: the web shop
              expires_at: 2027-01-31T00:00:00Z
            - {id: zzzzzzzz, sha256: \(Self.digest.uppercased()), role: admin, note: null, expires_at: ~}
            """
        )
        #expect(tokens.count == 2)
        let first = try #require(tokens.first)
        #expect(first.id.description == "abcdefgh")
        #expect(first.digest.hex == Self.digest)
        #expect(first.grant.role == .write)
        #expect(first.grant.namespaces.map(\.description) == ["sessions", "team-*"])
        #expect(first.note == "the web shop")
        #expect(first.expiresAt == RFC3339.parse("2027-01-31T00:00:00Z")?.milliseconds)
        let second = try #require(tokens.last)
        #expect(second.grant == Grant(role: .admin))
        #expect(second.note.isEmpty && second.expiresAt == nil)
        #expect(second.digest == first.digest)
    }

    @Test(
        "what is empty is a fault and takes nothing away; an empty list has no token",
        arguments: ["", "# nothing\n", "null", "---\n"]
    )
    func empty(text: String) throws {
        #expect(throws: ConfigurationError.self) { try read(text) }
        #expect(try read("[]").isEmpty)
        let open = "- {id: abcdefgh, sha256: \(Self.digest), role: read, namespaces: }"
        #expect(throws: ConfigurationError.self) { try read(open) }
    }

    @Test("JSON is YAML")
    func json() throws {
        let text = #"[{"id":"abcdefgh","sha256":"\#(Self.digest)","role":"read","namespaces":["*"],"note":"a \"b\""}]"#
        #expect(try read(text).map(\.note) == [#"a "b""#])
    }

    @Test("one line with a token is one admin of everything", arguments: ["", "\n", "\r\n", "\n\n"])
    func first(end: String) throws {
        let tokens = try read(Self.token + end)
        #expect(tokens.map(\.id.description) == ["abcdefgh"])
        #expect(tokens.map(\.grant) == [Grant(role: .admin)])
        let line = try #require(TokenHashCommand.line(of: Self.token, Grant(role: .read)))
        #expect(line.contains(tokens[0].digest.hex))
    }

    @Test("what `pantler token hash` prints is a line of the list")
    func hash() throws {
        let grant = Grant(role: .write, namespaces: try ["a", "b-*"].map { try #require(NamespacePattern($0)) })
        let note = "it's \"#1\": {x}"
        let end = WallTime(milliseconds: 86_400_000)
        let line = try #require(TokenHashCommand.line(of: Self.token, grant, note: note, expiresAt: end))
        #expect(!line.contains(Self.secret))
        let token = try #require(read(line + "\n" + line.replacing("abcdefgh", with: "hgfedcba")).first)
        #expect(token.grant == grant)
        #expect(token.note == note)
        #expect(token.expiresAt == 86_400_000)
        #expect(try read(Self.token).first?.digest == token.digest)
        for text in ["", "pt_", Self.token + "x", " " + Self.token] {
            #expect(TokenHashCommand.line(of: text, grant) == nil)
        }
    }

    @Test(
        "a fault is told with its line and what is allowed",
        arguments: [
            ("tokens: []", "no list of tokens"), ("abc", "no list of tokens"), ("- abc", "t.yaml:1: this is no token"),
            ("- {}", "t.yaml:1: the token has no 'id'"),
            ("- {id: abcdefgh, sha256: \(digest)}", "t.yaml:1: the token has no 'role'"),
            ("- {id: Abcdefgh, sha256: \(digest), role: read}", "'id' is not 8 letters"),
            ("- id: abcdefgh\n  sha256: abc\n  role: read", "t.yaml:2: 'sha256' is not 64 hexadecimal digits"),
            ("- id: abcdefgh\n  sha256: \(digest)\n  role: emperor", "t.yaml:3: 'role' is 'emperor'"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, namespaces: a}", "'namespaces' is no list"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, namespaces: []}", "'namespaces' is no list"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, namespaces: [A]}", "'A' in 'namespaces' is neither"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, note: [a]}", "'note' is not one line"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, note: \"a\\nb\"}", "'note' is not one line"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, expires_at: 2027-01-31}", "'expires_at' is no moment"),
            ("- {id: abcdefgh, sha256: \(digest), role: read, rol: x}", "a token has no 'rol'"),
            ("- {id: abcdefgh, id: abcdefgi}", "t.yaml:1: a key stands there twice"),
            ("- {id: abcdefgh\n- x", "this is not YAML"), ("- *x", "this is not YAML"),
        ]
    )
    func faults(text: String, part: String) {
        let found = faults(text)
        #expect(found.contains { $0.contains(part) }, "\(found)")
        #expect(found.allSatisfy { $0.hasPrefix("t.yaml:") && $0.hasSuffix(".") }, "\(found)")
    }

    @Test("all faults are told at once, and an id that comes twice with both lines")
    func many() {
        let good = "- {id: abcdefgh, sha256: \(Self.digest), role: read}\n"
        #expect(faults(good + "- {id: x, sha256: y, role: z}\n" + good).count == 4)
        #expect(faults(good + good) == ["t.yaml:2: the id 'abcdefgh' is that of the token in line 1."])
    }

    @Test(
        "no fault shows a secret, wherever it was put",
        arguments: [
            "\(token)x", "\(token) \(token)", "- \(token)", "- {id: \(token)}",
            "- {id: a, sha256: \(token), role: read}",
            "- {\(secret): x}", "- {id: abcdefgh, sha256: \(secret), role: \(secret), namespaces: [\(secret)]}",
            "- {id: abcdefgh, sha256: x, role: read, note: \"\(token)", "token: \(token)\ntoken: \(token)",
            "- id: abcdefgh\n secret: \(secret)\n\t\(secret)", "- !!\(secret) x", "- &\(secret) *\(secret)a",
            "- {id: abcdefgh, role: \(token)}",
        ]
    )
    func secrets(text: String) {
        let found = faults(text)
        #expect(!found.isEmpty)
        for fault in found { #expect(!fault.contains(Self.secret.prefix(12)), "\(fault)") }
    }

    @Test("more tokens than there may be are refused")
    func limit() {
        let line = { (id: TokenID) in "- {id: \(id), sha256: \(Self.digest), role: read}" }
        var generator = SeededGenerator()
        let lines = (0..<TokenRecord.limit + 1).map { _ in line(TokenID(using: &generator)) }
        #expect(faults(lines.dropLast().joined(separator: "\n")).isEmpty)
        #expect(faults(lines.joined(separator: "\n")).last?.contains("more than 10000 tokens") == true)
    }

    @Test("a file is read from the disk, and one that is not there, no text or open to all is told")
    func files() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write(Self.token + "\n", to: "first")
        #expect(chmod(path, 0o640) == 0)
        #expect(try TokensFile.load(path).warnings.isEmpty)
        #expect(try TokensFile.load(path).tokens.count == 1)
        #expect(chmod(path, 0o644) == 0)
        #expect(try TokensFile.load(path).warnings.first?.contains("chmod o= \(path)") == true)
        let list = try folder.write("- {id: abcdefgh, sha256: \(Self.digest), role: read}", to: "list")
        #expect(chmod(list, 0o644) == 0)
        #expect(try TokensFile.load(list).warnings.isEmpty, "digests are nobody's key")
        #expect(throws: ConfigurationError.self) { try TokensFile.load(folder.file("none")) }
        #expect(throws: ConfigurationError.self) { try TokensFile.load(folder.path) }
    }
}

@Suite("The token that a command sends")
struct CallerTokenTests {
    private let token = "pt_abcdefgh_\(String(repeating: "x", count: 43))"

    private func text(_ text: String) throws -> String { try CallerToken.text(of: Array(text.utf8), in: "here") }

    @Test("the end of a line is no part of it, and everything else that no header takes is refused")
    func form() throws {
        for end in ["", "\n", "\r\n"] { #expect(try text(token + end) == token) }
        #expect(try text("another-kind.of/token=") == "another-kind.of/token=")
        for bad in ["", "\n", "a b", "a\n\n", "a\nb", " a", "a\r\nX: y", "a\u{0}", "ä", "a\t"] {
            let failure = #expect(throws: CommandFailure.self) { try text(bad) }
            #expect(failure?.status == .usage)
        }
        let failure = #expect(throws: CommandFailure.self) { try text(token + " " + token) }
        #expect(failure?.message.contains("xxx") == false)
    }

    @Test("a file gives it, and a word of warning where everybody can read that")
    func file() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write(token + "\n", to: "token")
        var warnings: [String] = []
        for (mode, count) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 2)] as [(mode_t, Int)] {
            #expect(chmod(path, mode) == 0)
            #expect(try CallerToken.resolve(flag: nil, file: path) { warnings.append($0) } == token)
            #expect(warnings.count == count)
        }
        #expect(warnings.allSatisfy { !$0.contains("xxx") })
        #expect(throws: CommandFailure.self) { try CallerToken.resolve(flag: nil, file: folder.file("none")) { _ in } }
        #expect(throws: CommandFailure.self) { try CallerToken.resolve(flag: token, file: path) { _ in } }
        #expect(try CallerToken.resolve(flag: "other", file: nil) { _ in } == "other")
    }

    @Test("when a token ends is a duration or a moment")
    func ends() throws {
        #expect(try TokenEnd("90d") == .after(90 * 86_400_000))
        #expect(try TokenEnd("2027-01-31T00:00:00Z").moment(now: .now()) == RFC3339.parse("2027-01-31T00:00:00Z"))
        #expect(try TokenEnd("1s").moment(now: WallTime(milliseconds: 5)).milliseconds == 1005)
        for text in ["", "0", "never", "-1d", "2027-01-31", "101y", "40000d"] {
            #expect(throws: (any Error).self) { try TokenEnd(text) }
        }
    }
}
