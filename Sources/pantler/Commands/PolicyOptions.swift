internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

extension Durability: ExpressibleByArgument {}
extension Eviction: ExpressibleByArgument {}

/// The fields of a policy as options; `none` is null.
struct PolicyOptions: ParsableArguments {
    @Option(
        help: "TTL of entries that name none: 30s, 5m, 2h, 1d, none for never.",
        transform: ArgumentText.ttl
    )
    var defaultTTL: OrNone?

    @Option(help: "The longest TTL; longer ones are clamped to it.", transform: ArgumentText.ttl)
    var maxTTL: OrNone?

    @Option(help: "How long past its TTL an entry may be handed out as stale.", transform: ArgumentText.staleTTL)
    var staleTTL: Int64?

    @Option(
        help: "TTL of negative entries that name none, and their longest: 30s, 5m.",
        transform: ArgumentText.negativeTTL
    )
    var negativeTTL: Int64?

    @Option(help: "Fraction of the TTL, 0 to 1, by which expiries are brought forward at random.")
    var ttlJitter: Double?

    @Option(help: "How early one caller refreshes what still is fresh: 0 never, up to 10 (beta of XFetch).")
    var earlyRefresh: Double?

    @Option(help: "Memory that it may hold: 64MiB; none for the service's whole.", transform: ArgumentText.sizeOrNone)
    var maxMemory: OrNone?

    @Option(help: "Entries that it may hold in memory; none for as many as fit.", transform: ArgumentText.countOrNone)
    var maxEntries: OrNone?

    @Option(help: "Disk that it may hold: 1GiB; none for the service's whole.", transform: ArgumentText.sizeOrNone)
    var maxDisk: OrNone?

    @Option(help: "The largest value: 8MiB.", transform: ArgumentText.size)
    var maxValueSize: Int64?

    @Option(help: "Which entry leaves a full memory tier.")
    var eviction: Eviction?

    @Option(help: "memory: never on disk; behind: on disk soon; through: answered once on disk.")
    var durability: Durability?

    @Option(help: "Values of at least this size are deflated on disk: 1KiB.", transform: ArgumentText.size)
    var compressionThreshold: Int64?

    @Option(help: "1, fast, to 9, small; 0 never deflates.")
    var compressionLevel: Int?

    var isEmpty: Bool { json == Array("{}".utf8) }

    /// What was given, and nothing else.
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        for (name, value) in [
            ("default_ttl", defaultTTL), ("max_ttl", maxTTL), ("stale_ttl", staleTTL.map { .number($0) }),
            ("negative_ttl", negativeTTL.map { .number($0) }),
        ] {
            guard let value else { continue }
            writer.member(name)
            writer.seconds(value)
        }
        for (name, value) in [("ttl_jitter", ttlJitter), ("early_refresh", earlyRefresh)] {
            guard let value else { continue }
            writer.member(name)
            writer.number(value)
        }
        let integers: [(String, OrNone?)] = [
            ("max_memory", maxMemory), ("max_entries", maxEntries), ("max_disk", maxDisk),
            ("max_value_size", maxValueSize.map { .number($0) }),
        ]
        for (name, value) in integers {
            guard let value else { continue }
            writer.member(name)
            if case .number(let number) = value { writer.integer(number) } else { writer.null() }
        }
        for (name, value) in [("eviction", eviction?.rawValue), ("durability", durability?.rawValue)] {
            guard let value else { continue }
            writer.member(name)
            writer.string(value)
        }
        if compressionThreshold != nil || compressionLevel != nil { writeCompression(to: &writer) }
        writer.endObject()
        return writer.bytes
    }

    private func writeCompression(to writer: inout JSONWriter) {
        writer.member("compression")
        writer.beginObject()
        for (name, value) in [("threshold", compressionThreshold), ("level", compressionLevel.map(Int64.init))] {
            guard let value else { continue }
            writer.member(name)
            writer.integer(value)
        }
        writer.endObject()
    }
}
