internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct TokenRotateCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Give a token another secret, and print it once.",
        discussion: """
            With --grace the present secret is good for a while longer, so that those who use it can be given the new one in turn. One that an \
            earlier rotation has left ends at once. The output is as that of `pantler token create`.
            """
    )

    @OptionGroup var token: TokenArgument

    @Option(help: "How long the present secret is good besides: 24h, up to 30d.", transform: Self.grace)
    var grace: Int64 = 0

    @OptionGroup var client: ClientOptions

    private static func grace(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (0...30 * 86_400_000).contains(milliseconds) else {
            throw ValidationError("allowed is a duration such as 30m, 24h or 7d, up to 30d")
        }
        return milliseconds
    }

    func run(_ session: Session) async throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("grace")
        writer.seconds(.number(grace))
        writer.endObject()
        let reply = try await session.client.expect(.post, try token.path() + "/rotate", json: writer.bytes)
        try session.writeIssued(reply.body, now: reply.date ?? .now())
    }
}
