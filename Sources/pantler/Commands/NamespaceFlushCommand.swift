internal import ArgumentParser
internal import PantlerJSON

struct NamespaceFlushCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "flush",
        abstract: "Drop a namespace's entries: all, or those of a prefix or a tag.",
        discussion: "The namespace and its policy stay."
    )

    enum Mode: String, CaseIterable, ExpressibleByArgument {
        case gone, stale
    }

    @OptionGroup var namespace: NamespaceArgument

    @Option(help: "Drop only entries whose keys begin with this.")
    var prefix: String?

    @Option(help: ArgumentHelp("Drop only entries with this tag; may be given again.", valueName: "tag"))
    var tag: [String] = []

    @Option(help: "gone: no more; stale: handed out as stale for as long as their stale TTL lets them.")
    var mode = Mode.gone

    @Flag(name: [.short, .long], help: "Do not ask.")
    var yes = false

    @OptionGroup var client: ClientOptions

    func validate() throws {
        if prefix != nil, !tag.isEmpty { throw ValidationError("--prefix and --tag do not go together: flush twice.") }
        if prefix == "" { throw ValidationError("--prefix is empty: leave it out to drop everything.") }
    }

    func run(_ session: Session) async throws {
        if prefix == nil, tag.isEmpty {
            let what = mode == .gone ? "Drop all entries" : "Make all entries stale"
            try session.confirm("\(what) of the namespace '\(namespace.name)'?", yes: yes)
        }
        let reply = try await session.client.expect(.post, namespace.path + "/invalidate", json: invalidation)
        if session.output == .json { return try session.write(json: reply.body) }
        let answer = try reply.tree()
        if let generation = answer["generation"]?.text {
            try session.write(line: "flushed, generation \(generation)")
        } else if let tags = answer["tags"]?.text {
            try session.write(line: "tags invalidated: \(tags)")
        } else {
            try session.write(line: "entries invalidated: \(PolicyText.count(answer["invalidated"]))")
        }
    }

    private var invalidation: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        if let prefix {
            writer.member("prefix")
            writer.string(prefix)
        } else if !tag.isEmpty {
            writer.member("tags")
            writer.beginArray()
            for tag in tag { writer.string(tag) }
            writer.endArray()
        } else {
            writer.member("all")
            writer.bool(true)
        }
        writer.member("mode")
        writer.string(mode.rawValue)
        writer.endObject()
        return writer.bytes
    }
}
