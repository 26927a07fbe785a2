internal import ArgumentParser
internal import PantlerJSON

struct KeysCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "List keys, in the order of their bytes.",
        discussion: """
            A terminal gets a table of the first 100; a pipe or a file gets all keys, one a line, as their bytes are. Where keys \
            may have line breaks in them, -0 ends each with a NUL instead, as xargs -0 takes them. What is written meanwhile may \
            or may not be seen.
            """,
        aliases: ["ls"]
    )

    @Option(help: "List only keys that begin with this.")
    var prefix = ""

    @Option(help: "The most keys to list. (default: 100 on a terminal and with --output json, else all)")
    var limit: Int?

    @Flag(help: "List all of them, however many.")
    var all = false

    @Flag(name: [.customShort("0"), .customLong("null")], help: "End each key with a NUL, and print nothing else.")
    var endsWithNull = false

    @Option(help: "Go on where an earlier list ended.")
    var cursor: String?

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    /// The most that the service puts into one answer.
    private static let pageLimit = 1000
    /// What is listed where nobody says how much.
    private static let shownLimit = 100

    func validate() throws {
        if limit != nil, all { throw ValidationError("--limit and --all do not go together.") }
        if let limit, limit < 1 { throw ValidationError("--limit is an integer of at least 1.") }
    }

    func run(_ session: Session) async throws {
        let isTable = session.output == .table && !endsWithNull && Terminal.Stream.output.isTerminal
        let isWhole = all || (limit == nil && session.output == .table && !isTable)
        var left = isWhole ? Int.max : limit ?? Self.shownLimit
        var cursor = cursor
        var elements = JSONWriter()
        elements.beginArray()
        var table = Table("KEY", "VERSION>", "SIZE>", "TIER", "EXPIRES")
        var isFirst = true
        repeat {
            let reply = try await session.client.expect(.get, path(min(left, Self.pageLimit), cursor))
            let page = try reply.tree()
            let entries = page["entries"]?.elements ?? []
            if session.output == .json {
                try append(reply.body, to: &elements)
            } else if isTable {
                try write(entries, &table, goesOn: !isFirst, session)
            } else {
                try Terminal.write(
                    Array(entries.map { ($0["key"]?.text ?? "") + (endsWithNull ? "\0" : "\n") }.joined().utf8)
                )
            }
            isFirst = false
            left -= entries.count
            cursor = page["cursor"]?.text
            if entries.isEmpty { break }
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

    /// Writes a page as lines of one table.
    private func write(_ page: [JSONTree], _ table: inout Table, goesOn: Bool, _ session: Session) throws {
        table.removeRows()
        for entry in page {
            // A negative entry has no value.
            let size = entry["absent"] == nil ? Readable.bytes(entry["size"]?.integer ?? 0) : "absent"
            table.add([
                entry["key"]?.text ?? "", entry["version"]?.text ?? "", size,
                entry["tier"]?.text ?? "", entry["expires_at"]?.text ?? "never",
            ])
        }
        let lines = table.lines(session.style, goesOn: goesOn)
        if !lines.isEmpty { try session.write(line: lines.joined(separator: "\n")) }
    }
}
