internal import ArgumentParser
internal import PantlerJSON

struct TouchCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "touch",
        abstract: "Give an entry a new TTL.",
        discussion: "The value stays; the version is a new one."
    )

    @Argument(help: "The entry's key.")
    var key: String

    @Option(help: "When it expires, from now: 30s, 5m, 2h, 1d, none for never.", transform: ArgumentText.ttl)
    var ttl: OrNone

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("ttl")
        writer.seconds(ttl)
        writer.endObject()
        let reply = try await session.client.expect(.patch, namespace.entry(key), mergePatch: writer.bytes)
        try session.writeWritten(reply)
    }
}
