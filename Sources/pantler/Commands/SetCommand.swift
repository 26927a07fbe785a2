internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct SetCommand: ClientCommand, TakesBytes {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Put an entry.",
        discussion: """
            The value is the argument, a file's content with --file, or standard input where neither is given, or the \
            argument is -. It may be any bytes. Valid JSON is stored as JSON (42, true, {"a":1}, "text" with its quotes), everything else as bytes: \
            text as text/plain, the rest as application/octet-stream. --type decides otherwise. What begins with a dash follows \
            two of them: pantler set KEY -- -5.
            """
    )

    @Argument(help: "The entry's key.")
    var key: String

    @Argument(help: "The value; - is standard input.")
    var value: String?

    @Option(name: [.short, .long], help: "Take the value from a file.", completion: .file())
    var file: String?

    @OptionGroup var kind: ValueKindOptions

    @OptionGroup(title: "Lifetime") var lifetime: LifetimeOptions

    @Option(help: "Set only if the entry has this version.")
    var ifVersion: UInt64?

    @Flag(help: "Set only if there is no entry.")
    var ifAbsent = false

    @Flag(help: "Set only if there is an entry.")
    var ifPresent = false

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    var byteArguments: [String?] { [value, file] }

    func validate() throws {
        if value != nil, file != nil {
            throw ValidationError("The value comes from the argument or from --file, not from both.")
        }
        if [ifVersion != nil, ifAbsent, ifPresent].count(where: { $0 }) > 1 {
            throw ValidationError("Of --if-version, --if-absent and --if-present only one can be given.")
        }
    }

    func run(_ session: Session) async throws {
        var headers: [(String, String)] = []
        if let ifVersion { headers.append(("If-Match", "\"\(ifVersion)\"")) }
        if ifPresent { headers.append(("If-Match", "*")) }
        if ifAbsent { headers.append(("If-None-Match", "*")) }
        let body = try envelope(of: try input())
        let reply = try await session.client.expect(.put, namespace.entry(key), headers: headers, json: body)
        try session.writeWritten(reply)
    }

    private func input() throws -> [UInt8] {
        if let file { return try Terminal.read(file: RawArguments.process.bytes(of: file)) }
        if let value, value != "-" { return RawArguments.process.bytes(of: value) }
        return try Terminal.readInput()
    }

    /// The envelope takes what the view of plain bytes cannot say: never as a TTL, and tags of any characters.
    private func envelope(of value: [UInt8]) throws -> [UInt8] {
        var writer = JSONWriter(capacity: value.count + 256)
        writer.beginObject()
        if let json = try kind.json(in: value) {
            writer.member("value")
            writer.raw(value[json])
        } else {
            writer.bytes(value, contentType: kind.mediaType(of: value))
        }
        lifetime.write(to: &writer)
        writer.endObject()
        return writer.bytes
    }
}

/// How long an entry lives, and what it goes with.
struct LifetimeOptions: ParsableArguments {
    @Option(
        help: "When it expires: 30s, 5m, 2h, 1d, none for never. (default: the namespace's)",
        transform: ArgumentText.ttl
    )
    var ttl: OrNone?

    @Option(help: "How long past its TTL it may still be handed out as stale.", transform: ArgumentText.staleTTL)
    var staleTTL: Int64?

    @Option(help: ArgumentHelp("A label to invalidate by; may be given again.", valueName: "tag"))
    var tag: [String] = []

    /// Writes the members of an envelope.
    ///
    /// - Parameter ofAbsence: whether it is one of a negative entry, which has no stale TTL.
    func write(to writer: inout JSONWriter, ofAbsence: Bool = false) {
        if let ttl {
            writer.member("ttl")
            writer.seconds(ttl)
        }
        if let staleTTL, !ofAbsence {
            writer.member("stale_ttl")
            writer.seconds(.number(staleTTL))
        }
        if !tag.isEmpty {
            writer.member("tags")
            writer.beginArray()
            for tag in tag { writer.string(tag) }
            writer.endArray()
        }
    }
}

extension JSONWriter {
    /// Milliseconds as seconds, or null.
    mutating func seconds(_ milliseconds: OrNone) {
        switch milliseconds {
        case .none: null()
        case .number(let milliseconds): raw(JSON.seconds(milliseconds: milliseconds).utf8)
        }
    }
}

extension Session {
    /// What became of an entry that was written.
    func writeWritten(_ reply: Reply) throws {
        if output == .json { return try write(json: reply.body) }
        let written = try reply.tree()
        let expiry = written["expires_at"]?.text.map { "expires \($0)" } ?? "never expires"
        try write(line: "version \(written["version"]?.text ?? "?"), \(expiry)")
    }
}
