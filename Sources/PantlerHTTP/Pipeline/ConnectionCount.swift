import PantlerModel
import PantlerSockets
import Synchronization

/// Counts connections, of all loops and by peer, and what became of those that were refused or too slow. It may be used from any thread.
///
/// A connection is counted twice: from `admit`, where it is accepted, until its socket is closed, and from `open`, where its loop has taken it
/// over, until it ends there. The first bounds what the process has open, however far behind a loop is; the second is what is told.
final class ConnectionCount: Sendable {
    /// Why a client was given up that sends, or takes, too little.
    enum Slowness: String, CaseIterable {
        case head, body, answer
    }

    enum Refusal: String, CaseIterable {
        /// All the connections that the server takes were open.
        case limit
        /// All the connections that one peer may have were open.
        case peer
    }

    enum Admission: Equatable {
        case admitted
        case refused(Refusal)
    }

    private struct Sockets {
        var all = 0
        /// The connections of each peer that has one and is counted.
        var ofPeers: [PeerAddress: Int] = [:]
    }

    private let count = Atomic(0)
    private let acceptedCount = Atomic<UInt64>(0)
    private let refusedForLimit = Atomic<UInt64>(0)
    private let refusedForPeer = Atomic<UInt64>(0)
    private let slowHeads = Atomic<UInt64>(0)
    private let slowBodies = Atomic<UInt64>(0)
    private let slowAnswers = Atomic<UInt64>(0)
    private let limitCount = Atomic(HTTPLimits().connections)
    private let socketLimitCount = Atomic(HTTPLimits().connections + refusedAtOnce)
    private let peerLimitCount = Atomic(HTTPLimits().connectionsPerPeer)
    /// Each accepted connection comes here once, and once more at its end.
    private let sockets = Mutex(Sockets())

    /// Connections over the limit that are open at a time, each to be told so in full. Beyond them a connection ends where it is accepted, so that
    /// a storm of them has no more descriptors than these.
    static let refusedAtOnce = 128

    /// Connections that are open.
    var current: Int { count.load(ordering: .relaxed) }
    var accepted: UInt64 { acceptedCount.load(ordering: .relaxed) }
    var limit: Int { limitCount.load(ordering: .relaxed) }
    /// Peers that are counted.
    var peers: Int { sockets.withLock { $0.ofPeers.count } }

    /// Takes `connections` and `connectionsPerPeer`. Where the process may not have as many files open, there are fewer connections: without a
    /// descriptor to spare the store could not open its own files.
    func setLimits(_ limits: HTTPLimits) {
        let connections = min(limits.connections, DescriptorLimit.connections)
        limitCount.store(connections, ordering: .relaxed)
        socketLimitCount.store(min(connections + Self.refusedAtOnce, DescriptorLimit.sockets), ordering: .relaxed)
        peerLimitCount.store(limits.connectionsPerPeer, ordering: .relaxed)
    }

    // MARK: Sockets

    /// Counts a connection that was accepted, unless that is to be closed at once. `release` has to be called for each that was admitted.
    ///
    /// - Parameter isPlain: whether it can be told that it is one too many. By TLS that would take a handshake.
    func admit(_ peer: PeerAddress, isPlain: Bool = true) -> Admission {
        let network = peer.isLoopback ? nil : peer.network
        let bound = isPlain ? socketLimitCount.load(ordering: .relaxed) : limit
        let perPeer = peerLimitCount.load(ordering: .relaxed)
        let refusal: Refusal? = sockets.withLock { sockets in
            if sockets.all >= bound { return .limit }
            if let network {
                let open = sockets.ofPeers[network, default: 0]
                if perPeer > 0, open >= perPeer { return .peer }
                sockets.ofPeers[network] = open + 1
            }
            sockets.all += 1
            return nil
        }
        guard let refusal else { return .admitted }
        acceptedCount.wrappingAdd(1, ordering: .relaxed)
        noteRefusal(refusal)
        return .refused(refusal)
    }

    /// Notes that the socket of a connection that was admitted is closed.
    func release(_ peer: PeerAddress) {
        let network = peer.isLoopback ? nil : peer.network
        sockets.withLock { sockets in
            sockets.all -= 1
            guard let network, let open = sockets.ofPeers[network] else { return }
            sockets.ofPeers[network] = open > 1 ? open - 1 : nil
        }
    }

    // MARK: Connections

    /// Counts one more. Returns how many there are now.
    func open() -> Int {
        acceptedCount.wrappingAdd(1, ordering: .relaxed)
        return count.wrappingAdd(1, ordering: .relaxed).newValue
    }

    func close() { count.wrappingSubtract(1, ordering: .relaxed) }

    // MARK: What is told

    func noteRefusal(_ refusal: Refusal) {
        switch refusal {
        case .limit: refusedForLimit.wrappingAdd(1, ordering: .relaxed)
        case .peer: refusedForPeer.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Connections that were refused, whether they were told so or closed at once.
    func refused(_ refusal: Refusal) -> UInt64 {
        switch refusal {
        case .limit: refusedForLimit.load(ordering: .relaxed)
        case .peer: refusedForPeer.load(ordering: .relaxed)
        }
    }

    func noteSlow(_ what: Slowness) {
        switch what {
        case .head: slowHeads.wrappingAdd(1, ordering: .relaxed)
        case .body: slowBodies.wrappingAdd(1, ordering: .relaxed)
        case .answer: slowAnswers.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Clients that were given up.
    func slow(_ what: Slowness) -> UInt64 {
        switch what {
        case .head: slowHeads.load(ordering: .relaxed)
        case .body: slowBodies.load(ordering: .relaxed)
        case .answer: slowAnswers.load(ordering: .relaxed)
        }
    }
}
