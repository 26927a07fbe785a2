internal import ArgumentParser
internal import PantlerJSON

struct TTLCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "ttl",
        abstract: "Print how many seconds an entry has left.",
        discussion: """
            Whole seconds, or none for an entry that never expires. Below 0 the entry is stale: past its TTL, and handed out until \
            its stale TTL ends. Where there is no entry, the exit status is 3.
            """
    )

    @Argument(help: "The entry's key.")
    var key: String

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let reply = try await session.client.expect(.get, namespace.entry(key) + "&peek=true")
        let ttl = CacheStatus.ttl(reply.cacheStatus)
        guard session.output == .json else { return try session.write(line: ttl.map { "\($0)" } ?? "none") }
        let entry = try reply.tree()
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("key")
        writer.string(key)
        writer.member("ttl")
        if let ttl { writer.integer(ttl) } else { writer.null() }
        writer.member("expires_at")
        if let moment = entry["expires_at"]?.text { writer.string(moment) } else { writer.null() }
        writer.endObject()
        try session.write(json: writer.bytes)
    }
}
