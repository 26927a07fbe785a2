internal import ArgumentParser
internal import PantlerJSON

struct ExistsCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "exists",
        abstract: "Tell by the exit status whether entries are there.",
        discussion: """
            0 where all of them are, 3 where one is not, which standard error then names; a negative entry is none. Nothing is \
            counted, and no entry is kept from being evicted by it.
            """
    )

    @Argument(help: "The entries' keys.")
    var keys: [String]

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        var missing: [String] = []
        for key in keys {
            let reply = try await session.client.send(.head, namespace.entry(key) + "&peek=true")
            switch reply.status {
            case 200..<300: continue
            case 404 where reply.cacheStatus != nil: missing.append(key)
            // An answer to HEAD has no body, and so no problem in it that would say what is wrong.
            default: _ = try await session.client.expect(.get, namespace.entry(key) + "&peek=true")
            }
        }
        if session.output == .json { try session.write(json: answer(missing)) }
        guard missing.isEmpty else {
            if session.output == .json { throw ExitStatus.notFound }
            throw CommandFailure(
                .notFound,
                code: "entry_not_found",
                missing.map { "There is no entry '\($0)'." }.joined(separator: " ")
            )
        }
    }

    private func answer(_ missing: [String]) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        for (name, list) in [("exist", keys.filter { !missing.contains($0) }), ("missing", missing)] {
            writer.member(name)
            writer.beginArray()
            for key in list { writer.string(key) }
            writer.endArray()
        }
        writer.endObject()
        return writer.bytes
    }
}
