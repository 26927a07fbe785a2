internal import ArgumentParser

struct NamespaceDeleteCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete a namespace with all its entries.",
        aliases: ["del", "rm"]
    )

    @OptionGroup var namespace: NamespaceArgument

    @Flag(name: [.short, .long], help: "Do not ask.")
    var yes = false

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        try session.confirm("Delete the namespace '\(namespace.name)' with all its entries?", yes: yes)
        let path = namespace.path + "?confirm=\(namespace.name.percentEncoded)"
        _ = try await session.client.expect(.delete, path)
        // The service's own answer has no body.
        if session.output == .table { try session.write(line: "namespace '\(namespace.name)' deleted") }
    }
}
