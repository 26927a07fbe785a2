import PantlerModel
import Support
import Testing

/// Clients that ask one service about the same few keys, and what has been found out about the history of each key so far.
struct HistoryRun {
    private static let clients = 8

    private var server: ServerProcess
    private var generator: SeededGenerator
    private var clients: [HistoryClient]
    private var checks: [HistoryCheck]
    private var versions = VersionCheck()
    private var tokens: Set<String> = []
    private let name: String
    /// Operations on single keys.
    private(set) var operations = 0
    /// How often there was each kind of outcome.
    private var outcomes: [HistoryOutcome: Int] = [:]
    private var kills = 0
    private var askedNanoseconds: UInt64 = 0
    private var checkedNanoseconds: UInt64 = 0

    /// - Parameter policy: of the namespace, a JSON text.
    init(policy: String, isThrough: Bool) throws {
        name = policy
        // More loops than there are by default on a small machine, so that calls meet.
        server = try ServerProcess(.init(configuration: "server: { threads: 4 }"))
        let namespace = try server.client.namespace(policy)
        var generator = SeededGenerator()
        let seed = generator.next()
        clients = (0..<Self.clients).map { HistoryClient($0, namespace: namespace, seed: seed) }
        checks = Array(repeating: HistoryCheck(isThrough: isThrough), count: HistoryClient.keys.count)
        self.generator = generator
    }

    /// What a failure needs to be looked at.
    private var context: String { "\(name), after \(operations) operations and \(kills) kills, \(generator)" }

    var summary: String {
        let configurations = checks.map(\.mostConfigurations).max() ?? 0
        return """
            \(name): \(operations) operations in \(askedNanoseconds / 1_000_000) ms with \(kills) kills, checked in \
            \(checkedNanoseconds / 1_000_000) ms with \(configurations) configurations at most, \(generator)
            \(HistoryOutcome.allCases.map { "\($0.rawValue) \(outcomes[$0] ?? 0)" }.joined(separator: ", "))
            """
    }

    /// Has the clients ask as many things together, and then checks.
    ///
    /// - Parameter kills: kills the service once so many are asked, in the midst of more, and starts it again.
    /// - Returns: whether there was nothing to complain of.
    mutating func round(of counts: ClosedRange<Int>, kills: Bool) throws -> Bool {
        let begin = monotonicNanoseconds()
        let count = Int.random(in: counts, using: &generator)
        let asked = Shared(0)
        let seed = generator.next()
        let asking = BackgroundThreads(clients.count) { [server, clients] number in
            var client = clients[number]
            let failure = Self.ask(&client, server.client, asked, count: kills ? .max : count, seed: seed)
            return (client, failure)
        }
        if kills {
            try eventually(within: 300, "\(count) operations are asked; \(context)") {
                asked.value >= count || !server.isRunning
            }
            let isRunning = server.isRunning
            #expect(isRunning, "\(server.log.suffix(3000)); \(context)")
            try server.kill9()
        }
        var records: [HistoryClient.Record] = []
        var complaints: [String] = []
        for (number, (client, failure)) in try asking.join().enumerated() {
            clients[number] = client
            records.append(clients[number].takeRecord())
            if let failure, !kills { complaints.append("client \(number): \(failure)\n\(server.log.suffix(3000))") }
        }
        if kills {
            self.kills += 1
            server = try server.restarted()
        }
        askedNanoseconds += monotonicNanoseconds() - begin
        complaints += try check(records, isKilled: kills)
        for complaint in complaints.prefix(5) { Issue.record("\(complaint)\n\(context)") }
        return complaints.isEmpty
    }

    /// Stops the service, and holds a run of some length to have met all that there is.
    func stop() throws {
        let rare = HistoryOutcome.allCases.filter { (outcomes[$0] ?? 0) < operations / 2000 }
        #expect(rare.isEmpty || operations < 50_000, "hardly met: \(rare); \(summary)")
        #expect(try server.terminate() == .exited(0), "\(server.log.suffix(3000))")
    }

    /// How many operations a phase lasts.
    private static let phase = 400

    /// Asks until all have asked `count` things together, or the service does not answer any more. Returns the failure then.
    private static func ask(
        _ client: inout HistoryClient,
        _ http: HTTPClient,
        _ asked: Shared<Int>,
        count: Int,
        seed: UInt64
    ) -> String? {
        while true {
            let number = asked.update { number in
                number += 1
                return number
            }
            if number > count { return nil }
            var generator = SeededGenerator(seed: seed &+ UInt64(number / phase))
            let draw = generator.next() % 12
            let phase: HistoryClient.Phase =
                switch draw {
                case 0: .quiet
                case 1..<4: .leases
                case 4..<8: .invalidations
                default: .everything
                }
            do {
                try client.step(http, phase)
            } catch {
                return "\(error)"
            }
        }
    }

    private mutating func check(_ records: [HistoryClient.Record], isKilled: Bool) throws -> [String] {
        let begin = monotonicNanoseconds()
        defer { checkedNanoseconds += monotonicNanoseconds() - begin }
        var complaints = records.flatMap(\.complaints)
        for token in records.flatMap(\.tokens) where !tokens.insert(token).inserted {
            complaints.append("the token \(token) was given twice")
        }
        let histories = HistoryClient.keys.indices.map { key in records.flatMap { $0.histories[key] } }
        operations += histories.reduce(0) { $0 + $1.count }
        for operation in histories.joined() {
            if let outcome = HistoryOutcome(operation) { outcomes[outcome, default: 0] += 1 }
        }
        complaints += versions.take(zip(HistoryClient.keys, histories).map { ($0, $1) })
        let results = try onThreads(checks.count) { [checks] number in
            var check = checks[number]
            do throws(HistoryCheck.Violation) {
                try check.take(histories[number], isKilled: isKilled)
                return (check, String?.none)
            } catch {
                return (check, "\(HistoryClient.keys[number]): \(error)")
            }
        }
        checks = results.map(\.0)
        return complaints + results.compactMap(\.1)
    }
}
