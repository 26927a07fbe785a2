internal import ArgumentParser

struct NamespaceShowCommand: ClientCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show a namespace's policy.")

    @OptionGroup var namespace: NamespaceArgument
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        try session.writeNamespace(try await session.client.expect(.get, namespace.path))
    }
}
