internal import ArgumentParser
internal import PantlerModel

struct TokenListCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the tokens, without their secrets.",
        discussion: "Those that have expired are listed until they are revoked.",
        aliases: ["ls"]
    )

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let reply = try await session.client.expect(.get, "/v1/tokens")
        if session.output == .json { return try session.write(json: reply.body) }
        // Moments are told by the service's clock.
        let now = reply.date ?? WallTime.now()
        var table = Table("ID", "ROLE", "NAMESPACES", "EXPIRES", "LAST USED", "SOURCE", "NOTE")
        for answer in try reply.tree()["tokens"]?.elements ?? [] {
            let token = ShownToken(answer: answer)
            table.add([
                token.id, token.role, token.namespaces, token.expiry(now), token.lastUsed, token.source, token.note,
            ])
        }
        if table.isEmpty {
            Terminal.write(line: "There are none yet: `pantler token create` makes one.", to: .error)
        } else {
            try session.write(table)
        }
    }
}
