internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Manage tokens: who may call, and what they may do.",
        discussion: """
            A token is pt_, an id of 8 letters that names it, _ and a secret. The secret is printed once, when it is made; the service keeps its \
            SHA-256. These commands need a token of the role admin for all namespaces themselves, except on a listener that asks for none; \
            the first is made by `pantler token create --data-dir`, while the folder is not served.
            """,
        subcommands: [
            TokenCreateCommand.self, TokenListCommand.self, TokenShowCommand.self, TokenRotateCommand.self,
            TokenRevokeCommand.self, TokenCanCommand.self, TokenGenerateCommand.self, TokenHashCommand.self,
        ]
    )
}

extension Role: ExpressibleByArgument {}

/// What a token is made for.
struct GrantOptions: ParsableArguments {
    @Option(help: "read: see; write: change entries too; admin: namespaces too, and with '*' tokens.")
    var role: Role

    @Option(
        name: [.short, .customLong("namespace")],
        help: "A namespace, or the beginning of names: 'team-*'. May be repeated. (default: '*', all)",
        completion: .namespaces,
        transform: Self.pattern
    )
    var namespaces: [NamespacePattern] = []

    @Option(help: "What it is for: one line, up to \(TokenRecord.noteBytes) bytes.")
    var note = ""

    @Option(
        help: "When it ends: 90d, 12h, or a moment as 2027-01-31T00:00:00Z. (default: never)",
        transform: TokenEnd.init
    )
    var expires: TokenEnd?

    var grant: Grant { Grant(role: role, namespaces: namespaces.isEmpty ? [.everything] : namespaces) }

    func validate() throws {
        guard TokenRecord.isNote(note) else {
            throw ValidationError(
                "--note is one line of up to \(TokenRecord.noteBytes) bytes, without control characters."
            )
        }
        guard namespaces.count <= Grant.namespaceLimit else {
            throw ValidationError("--namespace may be given up to \(Grant.namespaceLimit) times.")
        }
    }

    private static func pattern(_ text: String) throws -> NamespacePattern {
        guard let pattern = NamespacePattern(text) else {
            throw ValidationError("allowed is '*', a name, or the beginning of names with '*' behind it, as 'team-*'")
        }
        return pattern
    }
}

/// When a token ends.
enum TokenEnd: Hashable, Sendable {
    /// Milliseconds from now.
    case after(Int64)
    case at(WallTime)

    init(_ text: String) throws {
        if let milliseconds = Quantity.milliseconds(text), (1...Limits.ttlMilliseconds).contains(milliseconds) {
            self = .after(milliseconds)
        } else if let moment = RFC3339.parse(text) {
            self = .at(moment)
        } else {
            throw ValidationError(
                "allowed is a duration such as 12h or 90d, above 0 and up to 100 years, or a moment as 2027-01-31T00:00:00Z"
            )
        }
    }

    func moment(now: WallTime) -> WallTime {
        switch self {
        case .after(let milliseconds): WallTime(milliseconds: now.milliseconds + milliseconds)
        case .at(let moment): moment
        }
    }
}

/// The id of a token as the argument of a command about it. A whole token is taken for its id, so that one that was found where it should not
/// be can be revoked as it is; nothing shows it again.
struct TokenArgument: ParsableArguments {
    @Argument(help: "The token's id: the 8 letters after pt_.", completion: .tokens)
    var id: String

    func validate() throws {
        // ArgumentParser would show what it cannot transform, and that may be a secret.
        if tokenID == nil {
            throw ValidationError("The id of a token is 8 letters from a to z, as `pantler token list` shows it.")
        }
    }

    private var tokenID: TokenID? { TokenID(id) ?? PresentedToken.id(in: id) }

    func path() throws(CommandFailure) -> String { "/v1/tokens/\(try resolved())" }

    func resolved() throws(CommandFailure) -> TokenID {
        guard let tokenID else { throw .usage("The id of a token is 8 letters from a to z.") }
        return tokenID
    }
}

extension CompletionKind {
    /// The ids of the tokens of the service that the shell's environment names.
    static let tokens = shellCommand("pantler token list 2>/dev/null | sed 1d | cut -d ' ' -f 1")
}

extension PresentedToken {
    /// The id in a whole token; `nil` where the text is none.
    static func id(in text: String) -> TokenID? {
        var text = text
        return text.withUTF8 { PresentedToken(UnsafeRawBufferPointer($0))?.id }
    }
}

/// A token as it is shown, from an answer of the service.
struct ShownToken {
    let answer: JSONTree

    var id: String { answer["id"]?.text ?? "-" }
    var role: String { answer["role"]?.text ?? "-" }
    var namespaces: String { (answer["namespaces"]?.elements ?? []).compactMap(\.text).joined(separator: ", ") }
    var expiresAt: WallTime? { answer["expires_at"]?.text.flatMap { RFC3339.parse($0) } }

    /// - Parameter now: by the service's clock.
    func expiry(_ now: WallTime) -> String {
        guard let text = answer["expires_at"]?.text else { return "never" }
        return expiresAt.map { $0 <= now } == true ? text + " (expired)" : text
    }

    var lastUsed: String { answer["last_used"]?.text ?? "never" }
    var source: String { answer["source"]?.text ?? "-" }
    var note: String { answer["note"]?.text ?? "" }

    func table(now: WallTime) -> Table {
        var table = Table("", "")
        table.add(["id", id])
        table.add(["role", role])
        table.add(["namespaces", namespaces])
        table.add(["note", note.isEmpty ? "-" : note])
        table.add(["created_at", answer["created_at"]?.text ?? "-"])
        table.add(["expires_at", expiry(now)])
        table.add(["last_used", lastUsed])
        table.add(["source", source])
        return table
    }
}

extension Session {
    func writeToken(_ reply: Reply) throws {
        if output == .json { return try write(json: reply.body) }
        try write(ShownToken(answer: try reply.tree()).table(now: reply.date ?? WallTime.now()))
    }

    /// A token with its secret, which nobody is told again: the token alone on the output, for `TOKEN=$(pantler token create …)`, and what is to be
    /// said of it beside.
    func writeIssued(_ body: [UInt8], now: WallTime) throws {
        if output == .json { return try write(json: body) }
        let answer: JSONTree
        do {
            answer = try JSONTree(body)
        } catch {
            throw CommandFailure.unreadableAnswer(error)
        }
        guard let token = answer["token"]?.text else {
            throw CommandFailure(
                .failed,
                code: "answer_invalid",
                "There is no token in the answer: is it Pantler that answers there?"
            )
        }
        var table = ShownToken(answer: answer).table(now: now)
        for line in table.lines(Style(noColor: true, on: .error)) { Terminal.write(line: line, to: .error) }
        Terminal.write(line: "This is the only time that the token is shown:", to: .error)
        try write(line: token)
    }
}

extension JSONWriter {
    /// Writes the member that names a grant's namespaces.
    mutating func namespaces(of grant: Grant) {
        member("namespaces")
        beginArray()
        for pattern in grant.namespaces { string(pattern.description) }
        endArray()
    }
}
