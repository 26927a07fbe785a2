internal import PantlerSockets
import Synchronization

/// The TLS handshakes of all loops: how many may be under way, who waits for a place, and what became of them. From any thread.
///
/// Each that is under way has some 50 KiB and, in its turn, a private key's operation of the loop's time. A connection of which nothing whole
/// has come yet is none of them: it costs no more than one without TLS.
final class Handshakes: Sendable {
    enum Outcome: String, CaseIterable {
        case done
        /// By either side's wish, or since the bytes made no sense.
        case failed
        /// By its deadline, or by its client's slowness where others waited.
        case timeout
        /// Since too many waited for a place already.
        case refused
    }

    enum Begin: Equatable {
        case begins
        /// The place comes later; the number is that of `leave`.
        case waits(UInt64)
        case refused
    }

    private struct Waiter {
        let number: UInt64
        let takesPlace: @Sendable () -> Void
    }

    private struct State {
        var limit: Int
        var underWay = 0
        var waiters: [Waiter] = []
        var latest: UInt64 = 0
        /// Those of each peer that are under way or wait.
        var peers: [PeerAddress: Int] = [:]

        mutating func leave(_ peer: PeerAddress) {
            let count = peers[peer, default: 0] - 1
            peers[peer] = count > 0 ? count : nil
        }
    }

    private let state: Mutex<State>
    // Each only counts, and publishes nothing: relaxed.
    private let counts = OutcomeCounts()
    private let expiry = Atomic<Int64>(0)

    /// Those who wait, as a multiple of those who may be under way: with a second's patience each a wait of some seconds.
    private static let waitersPerPlace = 4

    /// The most that one peer may have of all that are under way or wait: a quarter, so that no single one keeps the others out.
    private static func share(_ limit: Int) -> Int { max(8, limit * (1 + waitersPerPlace) / 4) }

    init(limit: Int = HTTPLimits().handshakes) { state = Mutex(State(limit: max(1, limit))) }

    /// Changes how many may be under way; those that are more go on.
    func setLimit(_ limit: Int) {
        let woken = state.withLock { state in
            state.limit = max(1, limit)
            var woken: [Waiter] = []
            while state.underWay < state.limit, !state.waiters.isEmpty {
                state.underWay += 1
                woken.append(state.waiters.removeFirst())
            }
            return woken
        }
        for waiter in woken { waiter.takesPlace() }
    }

    /// Asks for a place.
    ///
    /// - Parameters:
    ///   - peer: one network of them (`PeerAddress.network`).
    ///   - takesPlace: called with the place if there is none now, by the thread that gives one back.
    func begin(_ peer: PeerAddress, _ takesPlace: @escaping @Sendable () -> Void) -> Begin {
        state.withLock { state in
            guard state.peers[peer, default: 0] < Self.share(state.limit) else { return .refused }
            let begun = begin(takesPlace, &state)
            if begun != .refused { state.peers[peer, default: 0] += 1 }
            return begun
        }
    }

    private func begin(_ takesPlace: @escaping @Sendable () -> Void, _ state: inout State) -> Begin {
        if state.underWay < state.limit, state.waiters.isEmpty {
            state.underWay += 1
            return .begins
        }
        guard state.waiters.count < state.limit * Self.waitersPerPlace else { return .refused }
        state.latest += 1
        state.waiters.append(Waiter(number: state.latest, takesPlace: takesPlace))
        return .waits(state.latest)
    }

    /// Gives up waiting. Returns `false` where the place has come meanwhile, which then is to be given back.
    func leave(_ number: UInt64, _ peer: PeerAddress) -> Bool {
        state.withLock { state in
            guard let index = state.waiters.firstIndex(where: { $0.number == number }) else { return false }
            state.waiters.remove(at: index)
            state.leave(peer)
            return true
        }
    }

    /// Gives a place back. It goes to whoever has waited longest.
    func giveBack(_ peer: PeerAddress) {
        let next: Waiter? = state.withLock { state in
            state.leave(peer)
            guard !state.waiters.isEmpty, state.underWay <= state.limit else {
                state.underWay -= 1
                return nil
            }
            return state.waiters.removeFirst()
        }
        next?.takesPlace()
    }

    /// Whether some wait for a place.
    var isCrowded: Bool { state.withLock { !$0.waiters.isEmpty } }

    // MARK: What is told

    var underWay: Int { state.withLock { $0.underWay } }
    var waiting: Int { state.withLock { $0.waiters.count } }

    func count(_ outcome: Outcome) { counts.add(outcome) }
    func count(of outcome: Outcome) -> UInt64 { counts[outcome] }

    /// When the certificate in use expires, in seconds since 1970; 0 = none is in use.
    var certificateExpiry: Int64 { expiry.load(ordering: .relaxed) }
    func setCertificateExpiry(_ seconds: Int64) { expiry.store(seconds, ordering: .relaxed) }
}

/// A count for each outcome.
private final class OutcomeCounts: Sendable {
    private let done = Atomic<UInt64>(0)
    private let failed = Atomic<UInt64>(0)
    private let timeout = Atomic<UInt64>(0)
    private let refused = Atomic<UInt64>(0)

    func add(_ outcome: Handshakes.Outcome) {
        switch outcome {
        case .done: done.wrappingAdd(1, ordering: .relaxed)
        case .failed: failed.wrappingAdd(1, ordering: .relaxed)
        case .timeout: timeout.wrappingAdd(1, ordering: .relaxed)
        case .refused: refused.wrappingAdd(1, ordering: .relaxed)
        }
    }

    subscript(outcome: Handshakes.Outcome) -> UInt64 {
        switch outcome {
        case .done: done.load(ordering: .relaxed)
        case .failed: failed.load(ordering: .relaxed)
        case .timeout: timeout.load(ordering: .relaxed)
        case .refused: refused.load(ordering: .relaxed)
        }
    }
}
