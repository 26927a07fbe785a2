internal import ArgumentParser
internal import PantlerModel

/// What the commands that put a steady load on a service take.
struct LoadOptions: ParsableArguments {
    static let discussion = """
        The keys are put first, which is not measured; then each connection asks for keys at random until the time or the requests \
        are over. The service's own CPU time is read from its /metrics before and after, and is what a request costs it, \
        whatever the client costs. Values are JSON strings of random letters. The namespace stays as it is at the end. Where any \
        request failed, the exit status is 1.
        """

    @Option(help: "Connections, each with a thread of its own.")
    var connections = 32

    @Option(help: "Requests sent at once over a connection, before the answers are read.")
    var pipeline = 1

    @Option(help: "Keys that there are.")
    var keys = 10_000

    @Option(help: "Bytes of a value, such as 220 or 4KiB.", transform: ArgumentText.size)
    var size: Int64 = 220

    @Option(help: "How long to go on: 500ms, 5s, 1m. (default: 5s)", transform: ArgumentText.timeout)
    var duration: Int64?

    @Option(help: "How many requests to send, in place of a time.")
    var requests: Int?

    @Option(help: "The namespace's durability.")
    var durability: Durability?

    @Option(name: [.short, .customLong("namespace")], help: "The namespace.")
    var namespace = "bench"

    func validate() throws {
        if !(1...10_000).contains(connections) { throw ValidationError("--connections is an integer from 1 to 10000.") }
        if !(1...1000).contains(pipeline) { throw ValidationError("--pipeline is an integer from 1 to 1000.") }
        if !(1...100_000_000).contains(keys) { throw ValidationError("--keys is an integer from 1 to 100000000.") }
        if !(1...Self.largestValue).contains(size) {
            throw ValidationError("--size is from 1 byte to \(Quantity.text(bytes: Self.largestValue)).")
        }
        if let requests {
            if requests < 1 { throw ValidationError("--requests is an integer of at least 1.") }
            if duration != nil {
                throw ValidationError("--requests and --duration: only one of them can end the load.")
            }
        }
    }

    private static let largestValue: Int64 = 32 << 20

    var end: Load.End { requests.map { .requests($0) } ?? .milliseconds(duration ?? 5000) }
}

/// A command that puts a steady load on a service and tells what came of it.
protocol LoadCommand: ClientCommand {
    var load: LoadOptions { get }
    var operation: LoadOperation { get }
}

extension LoadCommand {
    func run(_ session: Session) async throws {
        let address = try ServiceAddress(session.client.url)
        if address.isSecure {
            throw CommandFailure.usage(
                "bench speaks plain HTTP: name the service by http://, or by unix: and its socket."
            )
        }
        let namespace = BenchNamespace(
            name: load.namespace,
            durability: load.durability,
            largestValue: Int(load.size)
        )
        try await namespace.prepare(session.client)
        let wire = LoadWire(
            address: address,
            namespace: load.namespace,
            token: session.client.token,
            keys: UInt32(load.keys),
            size: Int(load.size)
        )
        try await LoadFill(wire: wire, path: namespace.path).run(session.client)
        let load = Load(
            operation: operation,
            wire: wire,
            connections: load.connections,
            pipeline: load.pipeline,
            end: load.end,
            timeoutMilliseconds: client.timeout
        )
        let before = try await ServerCPU.seconds(session.client)
        let outcome = try await load.run()
        let after = try await ServerCPU.seconds(session.client)
        let spent = if let before, let after, after >= before { after - before } else { Double?.none }
        let report = LoadReport(load: load, outcome: outcome, serverSeconds: spent)
        switch session.output {
        case .json: try session.write(json: report.json)
        case .table: try session.write(report.table)
        }
        // The report has told how many, and why.
        if outcome.errors > 0 { throw ExitStatus.failed }
    }
}

/// The CPU time that a service says it has used.
enum ServerCPU {
    /// Of all its threads, since it began; `nil` where its page of metrics does not have it.
    static func seconds(_ client: Client) async throws(CommandFailure) -> Double? {
        let page = String(decoding: try await client.expect(.get, "/metrics").body, as: UTF8.self)
        return seconds(in: page)
    }

    static func seconds(in page: String) -> Double? {
        let line = page.split(separator: "\n").first { $0.hasPrefix("process_cpu_seconds_total ") }
        return line?.split(separator: " ").dropFirst().first.flatMap { Double($0) }
    }
}
