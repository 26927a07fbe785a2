internal import ArgumentParser

struct NamespaceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "namespace",
        abstract: "Manage namespaces and their policies.",
        subcommands: [
            NamespaceListCommand.self, NamespaceShowCommand.self, NamespaceCreateCommand.self,
            NamespaceUpdateCommand.self, NamespaceDeleteCommand.self, NamespaceFlushCommand.self,
        ],
        aliases: ["ns"]
    )
}

/// A namespace as the argument of a command about it.
struct NamespaceArgument: ParsableArguments {
    @Argument(
        help: "The namespace: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit.",
        completion: .namespaces
    )
    var name: String

    var path: String { "/v1/namespaces/\(name.percentEncoded)" }
}

/// A policy's fields as people read them.
enum PolicyText {
    static func duration(_ seconds: JSONTree?) -> String {
        guard let seconds = seconds?.double else { return "-" }
        return Quantity.text(milliseconds: Int64((seconds * 1000).rounded()))
    }

    static func bytes(_ value: JSONTree?) -> String {
        value?.integer.map { Quantity.text(bytes: $0) } ?? "-"
    }

    static func count(_ value: JSONTree?) -> String {
        value?.integer.map(Readable.count) ?? "-"
    }
}

extension Session {
    /// A namespace with its whole policy.
    func writeNamespace(_ reply: Reply) throws {
        if output == .json { return try write(json: reply.body) }
        let namespace = try reply.tree()
        var table = Table("", "")
        table.add(["name", namespace["name"]?.text ?? ""])
        for name in ["default_ttl", "max_ttl", "stale_ttl", "negative_ttl"] {
            table.add([name, PolicyText.duration(namespace[name])])
        }
        for name in ["ttl_jitter", "early_refresh"] { table.add([name, namespace[name]?.text ?? "-"]) }
        table.add(["max_memory", PolicyText.bytes(namespace["max_memory"])])
        table.add(["max_entries", PolicyText.count(namespace["max_entries"])])
        table.add(["max_disk", PolicyText.bytes(namespace["max_disk"])])
        table.add(["max_value_size", PolicyText.bytes(namespace["max_value_size"])])
        table.add(["eviction", namespace["eviction"]?.text ?? "-"])
        table.add(["durability", namespace["durability"]?.text ?? "-"])
        let threshold = PolicyText.bytes(namespace["compression", "threshold"])
        table.add(["compression", "level \(namespace["compression", "level"]?.text ?? "-") from \(threshold)"])
        table.add(["generation", namespace["generation"]?.text ?? "-"])
        table.add(["created_at", namespace["created_at"]?.text ?? "-"])
        try write(table)
    }
}
