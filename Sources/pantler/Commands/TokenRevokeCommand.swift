internal import ArgumentParser
internal import PantlerModel

struct TokenRevokeCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "End a token at once, also on connections that are open.",
        aliases: ["delete", "rm"]
    )

    @OptionGroup var token: TokenArgument

    @Flag(name: [.short, .long], help: "Do not ask.")
    var yes = false

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let id = try token.resolved()
        try session.confirm("Revoke the token '\(id)'? Whoever uses it is refused from then on.", yes: yes)
        _ = try await session.client.expect(.delete, try token.path())
        // The service's own answer has no body.
        if session.output == .table { try session.write(line: "token '\(id)' revoked") }
    }
}
