internal import ArgumentParser

struct GetCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Print an entry's value.",
        discussion: """
            The value comes as the bytes that it is, digit for digit; with --output json comes the entry, with its version, \
            expiry and tags. Where there is no entry, the exit status is 3; so it is for a \
            negative entry, which standard error then tells from none.
            """
    )

    @Argument(help: "The entry's key.")
    var key: String

    @Flag(help: "Read without counting, and without keeping the entry from being evicted.")
    var peek = false

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let view = session.output == .json ? namespace.entry(key) : namespace.value(key)
        let reply = try await session.client.expect(.get, view + (peek ? "&peek=true" : ""))
        if session.output == .json { return try session.write(json: reply.body) }
        try session.write(value: reply.body)
    }
}
