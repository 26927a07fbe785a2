internal import ArgumentParser
internal import PantlerJSON

struct IncrCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "incr",
        abstract: "Add to a counter, and print what it comes to.",
        discussion: "An entry's TTL stays as it is. Where there is no entry and no --initial, the exit status is 3."
    )

    @Argument(help: "The counter's key.")
    var key: String

    @Option(parsing: .unconditional, help: "What to add; --by -1 subtracts.")
    var by: Int64 = 1

    @Option(parsing: .unconditional, help: "Make a counter that is not there with this value, and add to it.")
    var initial: Int64?

    @Option(help: "When a counter that is made expires: 30s, 5m, 2h, 1d, none for never.", transform: ArgumentText.ttl)
    var ttl: OrNone?

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("by")
        writer.integer(by)
        if let initial {
            writer.member("initial")
            writer.integer(initial)
        }
        if let ttl {
            writer.member("ttl")
            writer.seconds(ttl)
        }
        writer.endObject()
        let reply = try await session.client.expect(.post, namespace.counter(key), json: writer.bytes)
        if session.output == .json { return try session.write(json: reply.body) }
        try session.write(line: try reply.tree()["value"]?.text ?? "?")
    }
}
