internal import ArgumentParser

struct NamespaceCreateCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a namespace.",
        discussion:
            "What is not given is as the service's configuration has it. Where it is there already, the exit status is 5."
    )

    @OptionGroup var namespace: NamespaceArgument
    @OptionGroup(title: "Policy") var policy: PolicyOptions
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let found = try await session.client.send(.get, namespace.path)
        if found.status == 200 { throw CommandFailure.namespaceExists(namespace.name) }
        guard found.status == 404 else { throw CommandFailure(found) }
        try session.writeNamespace(try await session.client.expect(.put, namespace.path, json: policy.json))
    }
}

extension CommandFailure {
    static func namespaceExists(_ name: String) -> CommandFailure {
        CommandFailure(
            .conflict,
            code: "namespace_exists",
            "The namespace '\(name)' is there already: `pantler namespace update` changes its policy."
        )
    }
}
