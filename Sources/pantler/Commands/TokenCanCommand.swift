internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct TokenCanCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "can",
        abstract: "Say whether the token that is sent may do something.",
        discussion: """
            The exit status is 0 if so, and else 4. Without a namespace it is asked of all of them, as calls ask that name none, such as \
            `pantler stats` (read) or `pantler token` (admin).
            """
    )

    @Argument(help: "read, write or admin.")
    var role: Role

    @Argument(help: "The namespace, whether it is there or not.", completion: .namespaces)
    var namespace: String?

    @OptionGroup var client: ClientOptions

    func validate() throws {
        guard namespace.map({ NamespaceName.isValid($0.utf8) }) ?? true else {
            throw ValidationError(
                "A namespace's name has 1 to 63 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit."
            )
        }
    }

    func run(_ session: Session) async throws {
        let own = ShownToken(answer: try await session.client.expect(.get, "/v1/token").tree())
        let grant = try Self.grant(own.answer)
        let isAllowed = namespace.map { grant.allows(role, $0) } ?? grant.allowsEverywhere(role)
        switch session.output {
        case .json: try session.write(json: json(own.answer, isAllowed))
        case .table: try session.write(line: sentence(own, isAllowed))
        }
        // The line has said it.
        if !isAllowed { throw ExitStatus.notAllowed }
    }

    /// A role or a pattern of a later Pantler is not believed to allow anything.
    private static func grant(_ answer: JSONTree) throws(CommandFailure) -> Grant {
        guard let text = answer["role"]?.text, let namespaces = answer["namespaces"] else {
            throw CommandFailure(
                .failed,
                code: "answer_invalid",
                "The answer does not say what the token may do: is it Pantler that answers there?"
            )
        }
        guard let role = Role(rawValue: text) else { return Grant(role: .read, namespaces: []) }
        return Grant(
            role: role,
            namespaces: namespaces.elements.compactMap { $0.text.flatMap { NamespacePattern($0) } }
        )
    }

    private func sentence(_ own: ShownToken, _ isAllowed: Bool) -> String {
        let who =
            switch own.source {
            case "listener": "this listener asks for no token, and gives everybody"
            case "certificate": "the client's certificate gives"
            default: "the token '\(own.id)' gives"
            }
        let place = namespace.map { "'\($0)'" } ?? "all namespaces"
        return "\(isAllowed ? "yes" : "no"), \(role.rawValue) of \(place): \(who) \(own.role) of \(own.namespaces)"
    }

    private func json(_ own: JSONTree, _ isAllowed: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("allowed")
        writer.bool(isAllowed)
        for (name, text) in [
            ("needed_role", role.rawValue), ("namespace", namespace), ("id", own["id"]?.text),
            ("role", own["role"]?.text),
        ] {
            writer.member(name)
            if let text { writer.string(text) } else { writer.null() }
        }
        writer.member("namespaces")
        writer.beginArray()
        for pattern in own["namespaces"]?.elements ?? [] { writer.string(pattern.text ?? "") }
        writer.endArray()
        writer.member("source")
        writer.string(own["source"]?.text ?? "")
        writer.endObject()
        return writer.bytes
    }
}
