internal import ArgumentParser

struct TokenShowCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show what a token is for, and when it was last used."
    )

    @OptionGroup var token: TokenArgument
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        try session.writeToken(try await session.client.expect(.get, try token.path()))
    }
}
