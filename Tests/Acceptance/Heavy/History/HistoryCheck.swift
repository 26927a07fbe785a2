/// Whether what clients were answered about one key is what they could have been answered one after the other, each at some moment between
/// its request and its answer: linearizability (Herlihy and Wing, 1990).
///
/// The search is Wing and Gong's (1993) with Lowe's memory of configurations, done just in time ("Testing for linearizability", 2017): a
/// configuration is a state and which of the running operations have led to it, and as the history is gone through in the order of time, an
/// operation is tried at the latest when its answer comes. So a configuration names running operations alone, of which a client has one,
/// and all that is possible at the end of a part of the history is what the next part begins with.
struct HistoryCheck: Sendable {
    /// What the key may be where the next part begins.
    private(set) var states: Set<KeyState>
    /// The most configurations that there were at one moment.
    private(set) var mostConfigurations = 0

    /// A state, and what has led to it. An operation that only looks changes nothing wherever it has its moment: where its answer fits now, it
    /// need not be tried later too.
    private struct Configuration: Hashable {
        /// A bit for each client whose running operation has led to the state.
        var linearized: UInt64 = 0
        var state: KeyState
    }

    /// An answer that no order explains.
    struct Violation: Error, CustomStringConvertible {
        let operation: KeyOperation
        /// What the key could have been when its answer came.
        let states: [KeyState]
        /// What was asked shortly before or meanwhile, in the order of the requests.
        let segment: [KeyOperation]

        var description: String {
            let start = segment.first?.invokedAt ?? 0
            let lines = segment.map { operation in
                let isIt = operation.client == self.operation.client && operation.invokedAt == self.operation.invokedAt
                return (isIt ? "> " : "  ") + operation.description(since: start)
            }
            return """
                no order explains: \(operation.description(since: start))
                it may have been one of \(states.count) when that was answered:
                  \(states.prefix(6).map(\.description).joined(separator: "\n  "))
                what was asked, in ms:
                \(lines.joined(separator: "\n"))
                """
        }
    }

    init(isThrough: Bool) {
        states = [KeyState(isThrough: isThrough)]
    }

    /// Goes on with the next part of the key's history: all operations between two moments at which none ran.
    ///
    /// - Parameters:
    ///   - operations: in any order.
    ///   - isKilled: whether the part ends with a kill. Otherwise all operations have an answer.
    /// - Throws: `Violation`; what the key may be is not known any more then.
    mutating func take(_ operations: [KeyOperation], isKilled: Bool = false) throws(Violation) {
        let operations = Self.notingFences(operations)
        var configurations = Set(states.map { Configuration(state: $0) })
        var running: [(bit: UInt64, operation: KeyOperation)] = []
        for event in Self.events(of: operations) {
            let operation = operations[event.place]
            let bit: UInt64 = 1 << UInt64(operation.client)
            if !event.isAnswer {
                running.append((bit, operation))
                guard operation.onlyLooks else { continue }
                configurations = Set(configurations.map { Self.absorbing([(bit, operation)], $0) })
                continue
            }
            let next = Self.linearizing(bit, running, configurations)
            if next.isEmpty {
                throw Violation(
                    operation: operation,
                    states: Array(Set(configurations.map(\.state))),
                    segment: Self.segment(of: operations, until: operation)
                )
            }
            configurations = next
            mostConfigurations = max(mostConfigurations, next.count)
            running.removeAll { $0.bit == bit }
        }
        states = Set(configurations.map(\.state))
        guard isKilled else { return }
        states = Set(Self.linearizing(nil, running, configurations).map(\.state.afterKill))
    }

    /// Notes of each operation that looks at the key's lease whether an invalidation by prefix ran meanwhile. Such a one comes to its keys one
    /// after the other, and the leases from before it are lost some time before or after their entries. It is no harm that a lease is lost
    /// while what it would have replaced is still seen.
    private static func notingFences(_ operations: [KeyOperation]) -> [KeyOperation] {
        let fences = operations.filter { if case .invalidate(.prefix, _) = $0.call { true } else { false } }
        return operations.map { operation in
            var operation = operation
            if operation.looksAtLease {
                operation.meetsFence = fences.contains {
                    $0.invokedAt <= operation.answeredAt && operation.invokedAt <= $0.answeredAt
                }
            }
            return operation
        }
    }

    private struct Event {
        let moment: UInt64
        let isAnswer: Bool
        /// The operation's place in the part.
        let place: Int
    }

    /// Requests and answers in the order of time. Where a request and an answer share a moment, nobody can tell which was first.
    private static func events(of operations: [KeyOperation]) -> [Event] {
        var events: [Event] = []
        events.reserveCapacity(2 * operations.count)
        for (place, operation) in operations.enumerated() {
            // What has no answer and would only have looked tells nothing.
            if operation.answer == nil, operation.call == .get { continue }
            events.append(Event(moment: operation.invokedAt, isAnswer: false, place: place))
            if operation.answer != nil {
                events.append(Event(moment: operation.answeredAt, isAnswer: true, place: place))
            }
        }
        events.sort { ($0.moment, $0.isAnswer ? 1 : 0) < ($1.moment, $1.isAnswer ? 1 : 0) }
        return events
    }

    /// All configurations to which running operations lead, the last of them the one of `bit`, which is not named in them any more. Without
    /// a `bit`, all to which any of the operations lead.
    private static func linearizing(
        _ bit: UInt64?,
        _ running: [(bit: UInt64, operation: KeyOperation)],
        _ configurations: Set<Configuration>
    ) -> Set<Configuration> {
        var reached: Set<Configuration> = []
        var known = configurations
        var open = Array(configurations)
        while let configuration = open.popLast() {
            if let bit, configuration.linearized & bit != 0 {
                var ended = configuration
                ended.linearized &= ~bit
                reached.insert(ended)
                continue
            }
            for (other, operation) in running where configuration.linearized & other == 0 {
                for state in configuration.state.states(after: operation) {
                    let linearized = configuration.linearized | other
                    let next = absorbing(running, Configuration(linearized: linearized, state: state))
                    if known.insert(next).inserted { open.append(next) }
                }
            }
        }
        return bit == nil ? known : reached
    }

    /// The configuration with all operations that only look and that its state explains.
    private static func absorbing(
        _ running: [(bit: UInt64, operation: KeyOperation)],
        _ configuration: Configuration
    ) -> Configuration {
        var configuration = configuration
        for (bit, operation) in running where configuration.linearized & bit == 0 && operation.onlyLooks {
            if configuration.state.states(after: operation) == [configuration.state] { configuration.linearized |= bit }
        }
        return configuration
    }

    /// How many operations a violation shows.
    private static let shown = 60

    private static func segment(of operations: [KeyOperation], until last: KeyOperation) -> [KeyOperation] {
        let before = operations.filter { $0.invokedAt <= last.answeredAt }.sorted { $0.invokedAt < $1.invokedAt }
        return Array(before.suffix(shown))
    }
}

extension KeyOperation {
    /// Whether its answer depends on whether somebody has the key's lease.
    fileprivate var looksAtLease: Bool {
        if case .lease = call { return true }
        return answer == .lost
    }

    /// Whether its answer says that it has changed nothing.
    fileprivate var onlyLooks: Bool {
        switch answer {
        case .found, .missing, .mismatch, .filling, .failed, .lost: true
        case .stored, .ended, .granted, .done, nil: false
        }
    }
}
