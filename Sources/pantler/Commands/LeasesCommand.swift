internal import ArgumentParser
internal import PantlerModel

struct LeasesCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "List the leases: what is being loaded, for how long, and who waits for it.",
        discussion: """
            The oldest come first. Of each token there are the first letters, enough to tell one from another and too few to use. With \
            --output json comes the service's whole answer.
            """
    )

    @Option(help: "List only leases of keys that begin with this.")
    var prefix = ""

    @Option(help: "The most leases to list, up to 1,000.")
    var limit = 100

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func validate() throws {
        guard (1...1000).contains(limit) else { throw ValidationError("--limit is an integer from 1 to 1000.") }
    }

    func run(_ session: Session) async throws {
        let filter = prefix.isEmpty ? "" : "&prefix=\(prefix.percentEncoded)"
        let reply = try await session.client.expect(.get, "\(namespace.path)/leases?limit=\(limit)\(filter)")
        if session.output == .json { return try session.write(json: reply.body) }
        let answer = try reply.tree()
        let leases = answer["leases"]?.elements ?? []
        // The service's moments are told by its own clock.
        let now = reply.date ?? WallTime.now()
        var table = Table("KEY", "TOKEN", "SINCE>", "ENDS>", "WAITERS>", "STALE")
        for lease in leases {
            table.add([
                lease["key"]?.text ?? "", lease["token"]?.text ?? "", Self.text(from: lease["since"], to: now) + " ago",
                "in " + Self.text(from: now, to: lease["expires_at"]),
                lease["waiters"]?.integer.map(Readable.count) ?? "-", lease["stale"]?.bool == true ? "yes" : "no",
            ])
        }
        if table.isEmpty {
            Terminal.write(line: "Nothing is being loaded.", to: .error)
        } else {
            try session.write(table)
        }
        if let count = answer["count"]?.integer, leases.count == limit, count > leases.count {
            let more = "The namespace has \(Readable.count(count)) leases: --limit lists more."
            Terminal.write(line: more, to: .error)
        }
    }

    private static func text(from since: JSONTree?, to now: WallTime) -> String {
        moment(since).map { text(from: $0, to: now) } ?? "-"
    }

    private static func text(from now: WallTime, to end: JSONTree?) -> String {
        moment(end).map { text(from: now, to: $0) } ?? "-"
    }

    private static func text(from begin: WallTime, to end: WallTime) -> String {
        Readable.duration(seconds: Double(max(0, end.milliseconds - begin.milliseconds)) / 1000)
    }

    private static func moment(_ value: JSONTree?) -> WallTime? { value?.text.flatMap { RFC3339.parse($0) } }
}
