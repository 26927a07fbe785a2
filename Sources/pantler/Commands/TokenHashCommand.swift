internal import ArgumentParser
internal import Glibc
internal import PantlerJSON
internal import PantlerModel
internal import PantlerStore

struct TokenGenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Print a new token that no service knows yet.",
        discussion: """
            For tokens of the configuration: `pantler token hash` makes of it what the file has that tokens.file names. Nothing is called \
            and nothing is kept.
            """
    )

    func run() throws {
        try Terminal.write(Array((TokenSecret.newToken() + "\n").utf8))
    }
}

struct TokenHashCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hash",
        abstract: "Print the line of the configuration for a token, which has its digest alone.",
        discussion: """
            The token is read from --token-file, or from the input. The line is for the file that tokens.file names: \
            pantler token hash --role read < secret >> tokens.yaml
            """
    )

    @OptionGroup var options: GrantOptions

    @Option(help: "The file with the token. (default: the input)", completion: .file())
    var tokenFile: String?

    func run() throws {
        let token: String
        if let tokenFile {
            token = try CallerToken.read(file: tokenFile)
        } else {
            token = try CallerToken.text(of: Terminal.readInput(), in: "The input")
        }
        let end = options.expires?.moment(now: .now())
        guard let line = Self.line(of: token, options.grant, note: options.note, expiresAt: end) else {
            throw CommandFailure(
                .failed,
                code: "token_malformed",
                "That is no token: one is pt_, 8 letters, _ and \(PresentedToken.secretCount) characters. `pantler token generate` makes one."
            )
        }
        try Terminal.write(Array((line + "\n").utf8))
    }

    /// An element of the list as JSON, which YAML takes too; `nil` where the text is no token.
    static func line(of token: String, _ grant: Grant, note: String = "", expiresAt: WallTime? = nil) -> String? {
        var token = token
        let parts = token.withUTF8 { bytes in
            PresentedToken(UnsafeRawBufferPointer(bytes)).map { ($0.id, TokenSecret.digest(of: $0.secret)) }
        }
        guard let (id, digest) = parts else { return nil }
        var writer = JSONWriter()
        writer.beginObject()
        for (name, text) in [("id", id.description), ("sha256", digest.hex), ("role", grant.role.rawValue)] {
            writer.member(name)
            writer.string(text)
        }
        writer.namespaces(of: grant)
        if !note.isEmpty {
            writer.member("note")
            writer.string(note)
        }
        if let expiresAt {
            writer.member("expires_at")
            writer.string(RFC3339.string(expiresAt))
        }
        writer.endObject()
        return "- " + String(decoding: writer.bytes, as: UTF8.self)
    }
}
