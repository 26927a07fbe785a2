internal import ArgumentParser

struct StatsCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Show hits, misses and sizes, of the service or of one namespace."
    )

    @Argument(help: "A namespace; without one, the whole service.")
    var namespace: String?

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let path = namespace.map { "/v1/namespaces/\($0.percentEncoded)/stats" } ?? "/v1/stats"
        let reply = try await session.client.expect(.get, path)
        if session.output == .json { return try session.write(json: reply.body) }
        let stats = try reply.tree()
        try session.write(Self.windows(stats))
        try session.write(line: "")
        try session.write(Self.breakdown(stats))
        try session.write(line: "")
        try session.write(Self.sizes(stats))
        let namespaces = stats["namespaces"]?.elements ?? []
        guard !namespaces.isEmpty else { return }
        try session.write(line: "")
        try session.write(Self.namespaces(namespaces))
    }

    /// How the hit ratio has gone.
    private static func windows(_ stats: JSONTree) -> Table {
        var table = Table("WINDOW", "GETS>", "HITS>", "MISSES>", "HIT RATIO>")
        for (name, label) in [("1m", "1 min"), ("5m", "5 min"), ("1h", "1 h"), ("start", "since start")] {
            let window = stats["windows", name]
            table.add([
                label, count(window?["gets"]), count(window?["hits"]), count(window?["misses"]),
                Readable.percent(window?["hit_ratio"]?.double),
            ])
        }
        return table
    }

    /// Where hits came from, why there were misses, what was written, and what leases have spared: loads, and the time that those would have taken.
    private static func breakdown(_ stats: JSONTree) -> Table {
        var table = Table("", ">", ">")
        let gets = stats["gets"]?.double ?? 0
        for (group, prefix) in [("hits", "hit in"), ("misses", "miss,")] {
            for (name, value) in stats[group]?.members ?? [] where name != "total" && value.integer != 0 {
                let label = name == "stale" ? "hit, stale" : "\(prefix) \(name)"
                table.add([label, count(value), Readable.percent(gets > 0 ? (value.double ?? 0) / gets : nil)])
            }
        }
        if stats["absent_hits"]?.integer ?? 0 != 0 { table.add(["negative entry", count(stats["absent_hits"]), ""]) }
        for (name, value) in stats["writes"]?.members ?? [] where value.integer != 0 {
            table.add([name, count(value), ""])
        }
        for (name, value) in stats["leases"]?.members ?? [] where value.integer != 0 {
            table.add(["leases, \(name)", count(value), ""])
        }
        if stats["loads", "count"]?.integer ?? 0 != 0 {
            let saved = Readable.duration(seconds: stats["loads", "saved_seconds"]?.double ?? 0)
            table.add(["loads avoided", count(stats["loads", "avoided"]), saved])
        }
        return table
    }

    /// What each tier holds; of the whole service, also how it is.
    private static func sizes(_ stats: JSONTree) -> Table {
        let isWhole = stats["disk"] != nil
        var table = Table("TIER", "ENTRIES>", "BYTES>", "EVICTIONS>", isWhole ? "LIMIT>" : "", isWhole ? "STATE" : "")
        for tier in ["memory", "disk"] {
            let limit = stats[tier, "limit"]?.integer.map(Readable.bytes) ?? "-"
            let state = stats[tier, "fault"]?.text ?? "ok"
            table.add([
                tier, count(stats["entries", tier]), Readable.bytes(stats["bytes", tier]?.integer ?? 0),
                count(stats["evictions", tier]), isWhole ? limit : "", isWhole ? state : "",
            ])
        }
        return table
    }

    private static func namespaces(_ namespaces: [JSONTree]) -> Table {
        var table = Table("NAMESPACE", "GETS>", "HIT RATIO>", "LAST MIN>", "IN MEMORY>", "ON DISK>", "BYTES IN MEMORY>")
        for stats in namespaces {
            table.add([
                stats["namespace"]?.text ?? "", count(stats["gets"]), Readable.percent(stats["hit_ratio"]?.double),
                Readable.percent(stats["windows", "1m", "hit_ratio"]?.double), count(stats["entries", "memory"]),
                count(stats["entries", "disk"]), Readable.bytes(stats["bytes", "memory"]?.integer ?? 0),
            ])
        }
        return table
    }

    private static func count(_ value: JSONTree?) -> String {
        value?.integer.map(Readable.count) ?? "-"
    }
}
