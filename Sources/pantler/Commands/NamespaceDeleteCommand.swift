internal import ArgumentParser

struct NamespaceDeleteCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete a namespace with all its entries."
    )

    @OptionGroup var namespace: NamespaceArgument

    @Flag(name: [.short, .long], help: "Do not ask.")
    var yes = false

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        try session.confirm("Delete the namespace '\(namespace.name)' with all its entries?", yes: yes)
        _ = try await session.client.expect(.delete, namespace.path + "?confirm=\(namespace.name.percentEncoded)")
    }
}
