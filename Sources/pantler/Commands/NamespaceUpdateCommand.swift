internal import ArgumentParser

struct NamespaceUpdateCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "Change a namespace's policy.",
        discussion: "What is not given stays as it is."
    )

    @OptionGroup var namespace: NamespaceArgument
    @OptionGroup(title: "Policy") var policy: PolicyOptions
    @OptionGroup var client: ClientOptions

    func validate() throws {
        if policy.isEmpty {
            throw ValidationError("There is nothing to change: give at least one field of the policy.")
        }
    }

    func run(_ session: Session) async throws {
        try session.writeNamespace(try await session.client.expect(.patch, namespace.path, mergePatch: policy.json))
    }
}
