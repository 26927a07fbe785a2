internal import ArgumentParser

struct DeleteCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete entries.",
        discussion: "Where one of the entries is not there, the others are deleted and the exit status is 3.",
        aliases: ["del", "rm"]
    )

    @Argument(help: "The entries' keys.")
    var keys: [String]

    @Option(help: "Delete only if the entry has this version; for one key.")
    var ifVersion: UInt64?

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func validate() throws {
        if ifVersion != nil, keys.count > 1 { throw ValidationError("--if-version goes with one key.") }
    }

    func run(_ session: Session) async throws {
        let headers = ifVersion.map { [("If-Match", "\"\($0)\"")] } ?? []
        var missing: [String] = []
        var deleted = 0
        for key in keys {
            let reply = try await session.client.send(.delete, namespace.entry(key), headers: headers)
            switch reply.status {
            case 200..<300: deleted += 1
            case 404 where keys.count > 1 && Self.isMissing(reply): missing.append(key)
            default: throw CommandFailure(reply)
            }
        }
        if session.output == .json {
            try session.write(json: Array("{\"deleted\":\(deleted)}".utf8))
        } else if deleted > 0 {
            try session.write(line: deleted == 1 ? "1 entry deleted" : "\(deleted) entries deleted")
        }
        guard missing.isEmpty else {
            let sentences =
                missing.map { "There was no entry '\($0)'." } + (deleted > 0 ? ["The others are deleted."] : [])
            throw CommandFailure(.notFound, code: "entry_not_found", sentences.joined(separator: " "))
        }
    }

    private static func isMissing(_ reply: Reply) -> Bool {
        (try? JSONTree(reply.body))?["code"]?.text == "entry_not_found"
    }
}
