import PantlerModel
import Support
import Testing

@Suite("Roles, patterns and grants")
struct GrantTests {
    @Test("a role includes those below it")
    func roles() {
        #expect(Role.allCases == [.read, .write, .admin])
        #expect(Role.allCases.sorted() == Role.allCases)
        for role in Role.allCases { #expect(!(role < role)) }
    }

    @Test(
        "a pattern is everything, a name, or the beginning of names",
        arguments: [
            "*", "a", "0", "sessions", "team-*", "t*", "a.b_c-d", "a" + String(repeating: "x", count: 62) + "*",
        ]
    )
    func form(text: String) throws {
        let pattern = try #require(NamespacePattern(text))
        #expect(pattern.description == text)
        #expect(pattern.isEverything == (text == "*"))
        #expect(NamespacePattern(Array(text.utf8)) == pattern)
    }

    @Test(
        "anything else is no pattern",
        arguments: [
            "", "**", "a**", "*a", "a*b", "-*", ".a", "A*", "a b", "é*", "a,b", "a\u{0}", " *", "* ",
            String(repeating: "x", count: 64), String(repeating: "x", count: 64) + "*",
        ]
    )
    func refused(text: String) {
        #expect(NamespacePattern(text) == nil)
    }

    @Test(
        "a pattern matches by bytes",
        arguments: [
            ("*", "anything", true), ("*", "", true), ("*", "Not A Name", true), ("team", "team", true),
            ("team", "team-a", false), ("team", "tea", false), ("team", "Team", false), ("team-*", "team-", true),
            ("team-*", "team-a", true), ("team-*", "team", false), ("team-*", "xteam-a", false), ("t*", "t", true),
        ]
    )
    func matches(pattern: String, name: String, isMatch: Bool) throws {
        #expect(try #require(NamespacePattern(pattern)).matches(name) == isMatch)
    }

    private func grant(_ role: Role, _ patterns: String...) throws -> Grant {
        Grant(role: role, namespaces: try patterns.map { try #require(NamespacePattern($0)) })
    }

    @Test("a grant allows its role and those below, in its namespaces and nowhere else")
    func allows() throws {
        let grant = try grant(.write, "sessions", "team-*")
        for (role, name, isAllowed) in [
            (Role.read, "sessions", true), (.write, "sessions", true), (.admin, "sessions", false),
            (.write, "team-7", true),
            (.read, "session", false), (.read, "other", false),
        ] {
            #expect(grant.allows(role, name) == isAllowed, "\(role) \(name)")
        }
        #expect(grant.covers("sessions") && !grant.covers("other"))
        for role in Role.allCases { #expect(!grant.allowsEverywhere(role)) }
    }

    @Test("what names no namespace takes all of them, whatever else the grant has")
    func everywhere() throws {
        let grant = try grant(.write, "sessions", "*")
        #expect(grant.allowsEverywhere(.read) && grant.allowsEverywhere(.write) && !grant.allowsEverywhere(.admin))
        #expect(try !self.grant(.admin, "a*", "b*").allowsEverywhere(.read))
    }

    @Test("a grant of no namespace allows nothing")
    func none() {
        let grant = Grant(role: .admin, namespaces: [])
        #expect(!grant.allows(.read, "a") && !grant.covers("a") && !grant.allowsEverywhere(.read))
    }
}

@Suite("The form of tokens")
struct TokenFormTests {
    static let secret = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ012-_xy"

    private func parts(_ text: String) -> (id: TokenID, secret: String)? {
        Array(text.utf8).withUnsafeBytes { bytes in
            PresentedToken(bytes).map { ($0.id, String(decoding: $0.secret, as: UTF8.self)) }
        }
    }

    @Test("an id is eight letters, and comes back as it was")
    func ids() throws {
        #expect(try #require(TokenID("abcdwxyz")).description == "abcdwxyz")
        #expect(try #require(TokenID("aaaaaaab")) > #require(TokenID("aaaaaaaa")))
        for text in ["", "abcdefg", "abcdefghi", "abcdefgH", "abcdefg1", "abcdefgé", "abcdefg\u{0}"] {
            #expect(TokenID(text) == nil)
        }
        var generator = SeededGenerator()
        let drawn = (0..<1000).map { _ in TokenID(using: &generator) }
        #expect(Set(drawn).count == 1000)
        for id in drawn { #expect(TokenID(id.description) == id) }
        #expect(Set(drawn.flatMap { Array($0.description) }).count == 26)
    }

    @Test("a token is `pt_`, its id and its secret")
    func tokens() throws {
        let found = try #require(parts("pt_abcdefgh_\(Self.secret)"))
        #expect(found.id.description == "abcdefgh")
        #expect(found.secret == Self.secret)
    }

    @Test(
        "anything else is no token",
        arguments: [
            "", "pt_", "pt_abcdefgh_", "pt_abcdefgh_\(secret)x", "pt_abcdefgh_\(secret.dropLast())",
            "pt_abcdefgh-\(secret)",
            "px_abcdefgh_\(secret)", "PT_abcdefgh_\(secret)", "pt_Abcdefgh_\(secret)", "pt_abcdefg_\(secret)x",
            "pt_abcdefgh_\(secret.dropLast())=", "pt_abcdefgh_\(secret.dropLast())+",
            "pt_abcdefgh_\(secret.dropLast())\u{0}",
            " pt_abcdefgh_\(secret)", "pt_abcdefgh_\(secret)\n", "pt_abcdefgh_\(secret.dropLast(2))é",
        ]
    )
    func refused(text: String) {
        #expect(parts(text) == nil)
    }

    @Test("digests are 32 bytes, the same where these are, and shown nowhere")
    func digests() throws {
        let bytes = [UInt8](200..<232)
        let digest = try #require(TokenDigest(bytes))
        #expect(digest.bytes == bytes)
        #expect(TokenDigest(hex: digest.hex.utf8) == digest)
        #expect(TokenDigest(hex: digest.hex.uppercased().utf8) == digest)
        for place in bytes.indices {
            var other = bytes
            other[place] ^= 1
            #expect(TokenDigest(other) != digest)
        }
        for text in ["", "0", String(repeating: "0", count: 63), String(repeating: "g", count: 64)] {
            #expect(TokenDigest(hex: text.utf8) == nil)
        }
        #expect(TokenDigest([]) == nil)
        var record = TokenRecord(
            id: try #require(TokenID("abcdefgh")),
            grant: Grant(role: .admin),
            createdAt: 1,
            digest: digest
        )
        record.former = TokenRecord.Former(digest: digest, until: 7)
        var dumped = ""
        dump(record, to: &dumped)
        for text in ["\(record)", String(reflecting: record), "\(digest)", String(reflecting: digest), dumped] {
            #expect(!text.contains(digest.hex) && !text.contains("200") && !text.contains("\(digest.bytes)"))
            for word in 0..<4 {
                let value = bytes[word * 8..<word * 8 + 8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                #expect(!text.contains("\(value)"))
            }
        }
    }

    @Test("a note is one short line")
    func notes() {
        for text in ["", "the batch job's", "grün 🌱", String(repeating: "x", count: 200)] {
            #expect(TokenRecord.isNote(text))
        }
        for text in [
            "a\nb", "\u{0}", "\u{1b}[2J", "\u{7f}", "\u{85}", "\u{2028}", "a\tb", String(repeating: "x", count: 201),
            String(repeating: "é", count: 101),
        ] {
            #expect(!TokenRecord.isNote(text))
        }
    }

    @Test("days are counted by UTC, before 1970 too")
    func days() {
        for (moment, day) in [(0, 0), (86_399_999, 0), (86_400_000, 1), (-1, -1), (-86_400_000, -1), (-86_400_001, -2)]
        {
            #expect(TokenRecord.day(ofMilliseconds: Int64(moment)) == Int32(day))
        }
    }
}

@Suite("A text that may have tokens in it")
struct HiddenSecretTests {
    private static let secret = String(repeating: "aZ09_-x", count: 6) + "Q"

    @Test(
        "loses their secrets, whole or not, and nothing else",
        arguments: [
            ("", ""), ("pt_", "pt_"), ("pt_abcdefgh", "pt_abcdefgh"), ("pt_abcdefgh_", "pt_abcdefgh_"),
            ("pt_abcdefgh_\(secret)", "pt_abcdefgh_…"), ("/v1/pt_abcdefgh_\(secret)?a=1", "/v1/pt_abcdefgh_…?a=1"),
            ("ppt_abcdefgh_x, pt_hgfedcba_\(secret).", "ppt_abcdefgh_…, pt_hgfedcba_…."),
            ("pt_pt_abcdefgh_\(secret)", "pt_pt_abcdefgh_…"), ("pt_Abcdefgh_\(secret)", "pt_Abcdefgh_\(secret)"),
            ("pt_abcdefg_\(secret)", "pt_abcdefg_\(secret)"), ("apt_get_install", "apt_get_install"),
        ]
    )
    func hidden(text: String, shown: String) {
        #expect(PresentedToken.hidingSecrets(text) == shown)
    }
}
