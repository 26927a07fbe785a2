internal import ArgumentParser

struct NamespaceListCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the namespaces.",
        aliases: ["ls"]
    )

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let reply = try await session.client.expect(.get, "/v1/namespaces")
        if session.output == .json { return try session.write(json: reply.body) }
        var table = Table(
            "NAME",
            "DEFAULT TTL>",
            "MAX TTL>",
            "MAX MEMORY>",
            "MAX ENTRIES>",
            "DURABILITY",
            "GENERATION>"
        )
        for namespace in try reply.tree()["namespaces"]?.elements ?? [] {
            table.add([
                namespace["name"]?.text ?? "", PolicyText.duration(namespace["default_ttl"]),
                PolicyText.duration(namespace["max_ttl"]), PolicyText.bytes(namespace["max_memory"]),
                PolicyText.count(namespace["max_entries"]), namespace["durability"]?.text ?? "",
                namespace["generation"]?.text ?? "",
            ])
        }
        if table.isEmpty {
            Terminal.write(line: "There are none yet: the first `pantler set` makes one.", to: .error)
        } else {
            try session.write(table)
        }
    }
}
