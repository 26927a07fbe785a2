internal import ArgumentParser
internal import PantlerModel

struct ReplayCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Replay a trace of requests cache-aside: get each key, and put it after a miss.",
        discussion: """
            A trace is a CSV file, plain or gzipped, of lines key,size or key,size,op,ttl without a header, oldest first: the \
            key a number, the size in bytes (1 where it is not known: 256 is put then), op g for a get or s for a set, ttl in \
            seconds. It is replayed as fast as the service answers; over one connection in exactly its order, over several \
            each takes the next request from the one trace. Values are JSON strings of random letters. Where any request \
            failed, the exit status is 1.
            """
    )

    @Argument(help: "The trace: a .csv or .csv.gz file.", completion: .file(extensions: ["csv", "gz"]))
    var trace: String

    @Option(help: "Connections, each with one request at a time.")
    var connections = 8

    @Option(help: "Replay only the first so many requests.")
    var limit: Int?

    @Option(
        help: """
            Entries that the namespace may hold in memory: a number, or a part of the trace's distinct keys as in 10%, rounded \
            down.
            """,
        transform: EntryBound.init
    )
    var maxEntries: EntryBound?

    @Option(help: "The namespace's durability.")
    var durability: Durability?

    @Flag(help: "Make the namespace, and fail where it is there already: the replay then begins with nothing.")
    var create = false

    @Option(name: [.short, .customLong("namespace")], help: "The namespace.")
    var namespace = "bench"

    @OptionGroup var client: ClientOptions

    func validate() throws {
        if !(1...1000).contains(connections) { throw ValidationError("--connections is an integer from 1 to 1000.") }
        if let limit, limit < 1 { throw ValidationError("--limit is an integer of at least 1.") }
    }

    func run(_ session: Session) async throws {
        let address = try ServiceAddress(session.client.url)
        if address.isSecure {
            throw CommandFailure.usage(
                "bench replay speaks plain HTTP: name the service by http://, or by unix: and its socket."
            )
        }
        let trace = try Trace(path: trace, limit: limit)
        let bound = maxEntries.map { $0.count(of: trace.distinctKeys) }
        let needs = BenchNamespace(
            name: namespace,
            maxEntries: bound,
            durability: durability,
            largestValue: trace.largestSize
        )
        try await needs.prepare(session.client, isNew: create)
        let replay = Replay(
            trace: trace,
            connections: connections,
            wire: ReplayWire(address: address, namespace: namespace, token: session.client.token),
            timeoutMilliseconds: client.timeout
        )
        let outcome = try await replay.run(progress: ProgressBar(total: trace.count))
        let report = ReplayReport(
            path: self.trace,
            trace: trace,
            connections: connections,
            maxEntries: bound,
            outcome: outcome
        )
        switch session.output {
        case .json: try session.write(json: report.json)
        case .table: try session.write(report.table)
        }
        // The report has told how many, and why.
        if outcome.errors > 0 { throw ExitStatus.failed }
    }
}

/// How many entries a namespace may hold, as a number or as a part of a trace's keys.
enum EntryBound: Hashable, Sendable {
    case number(Int64)
    /// In millionths of a percent.
    case percent(Int64)

    init(_ text: String) throws {
        let invalid = ValidationError("allowed is an integer of at least 1, or a percentage such as 10% or 0.5%")
        guard text.hasSuffix("%") else {
            guard let number = Int64(text), number > 0 else { throw invalid }
            self = .number(number)
            return
        }
        let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2,
            parts.allSatisfy({ !$0.isEmpty && $0.count <= 6 && $0.utf8.allSatisfy { (48...57).contains($0) } })
        else { throw invalid }
        let fraction = parts.count == 2 ? parts[1] + String(repeating: "0", count: 6 - parts[1].count) : "0"
        guard let whole = Int64(parts[0]), let millionths = Int64(fraction), whole <= 100, whole + millionths > 0 else {
            throw invalid
        }
        self = .percent(whole * 1_000_000 + millionths)
    }

    /// Rounded down, but at least 1. Exact: no double comes between, and 2^32 keys do not overflow.
    func count(of keys: Int) -> Int64 {
        switch self {
        case .number(let number): number
        case .percent(let millionths): max(1, Int64(keys) * millionths / 100_000_000)
        }
    }
}
