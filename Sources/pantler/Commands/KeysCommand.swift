internal import ArgumentParser
internal import PantlerJSON

struct KeysCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "List keys, in the order of their bytes.",
        discussion: "What is written meanwhile may or may not be seen."
    )

    @Option(help: "List only keys that begin with this.")
    var prefix = ""

    @Option(help: "The most keys to list.")
    var limit = 100

    @Flag(help: "List all of them, however many.")
    var all = false

    @Option(help: "Go on where an earlier list ended.")
    var cursor: String?

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    /// The most that the service puts into one answer.
    private static let pageLimit = 1000

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit is an integer of at least 1.") }
    }

    func run(_ session: Session) async throws {
        var left = all ? Int.max : limit
        var cursor = cursor
        var elements = JSONWriter()
        elements.beginArray()
        repeat {
            let reply = try await session.client.expect(.get, path(min(left, Self.pageLimit), cursor))
            let page = try reply.tree()
            let count = page["entries"]?.elements.count ?? 0
            if session.output == .json {
                try append(reply.body, to: &elements)
            } else {
                try session.write(Self.table(page))
            }
            left -= count
            cursor = page["cursor"]?.text
            if count == 0 { break }
        } while cursor != nil && left > 0
        if session.output == .json {
            elements.endArray()
            try session.write(json: Self.answer(elements.bytes, cursor))
        } else if let cursor {
            Terminal.write(line: "There are more: --all lists them, --cursor \(cursor) goes on here.", to: .error)
        }
    }

    private func path(_ limit: Int, _ cursor: String?) -> String {
        var path = "\(namespace.path)/entries?limit=\(limit)"
        if !prefix.isEmpty { path += "&prefix=\(prefix.percentEncoded)" }
        if let cursor { path += "&cursor=\(cursor.percentEncoded)" }
        return path
    }

    /// Appends the elements of a page as they came.
    private func append(_ page: [UInt8], to elements: inout JSONWriter) throws {
        try page.withUnsafeBytes { bytes in
            var members = try JSONObjectReader(bytes, maxDepth: 16)
            while let member = try members.next() {
                guard member.name.says("entries") else { continue }
                var entries = try JSONArrayReader(member.value.bytes, maxDepth: 16)
                while let entry = try entries.next() { elements.raw(entry.bytes) }
            }
        }
    }

    private static func answer(_ entries: [UInt8], _ cursor: String?) -> [UInt8] {
        var writer = JSONWriter(capacity: entries.count + 64)
        writer.beginObject()
        writer.member("entries")
        writer.raw(entries)
        writer.member("cursor")
        if let cursor { writer.string(cursor) } else { writer.null() }
        writer.endObject()
        return writer.bytes
    }

    private static func table(_ page: JSONTree) -> Table {
        var table = Table("KEY", "VERSION>", "SIZE>", "TIER", "EXPIRES")
        for entry in page["entries"]?.elements ?? [] {
            table.add([
                entry["key"]?.text ?? "", entry["version"]?.text ?? "", Readable.bytes(entry["size"]?.integer ?? 0),
                entry["tier"]?.text ?? "", entry["expires_at"]?.text ?? "never",
            ])
        }
        return table
    }
}
