internal import NIOCore
internal import PantlerSockets
internal import Synchronization

/// How many worthless tokens each peer has shown lately: a bucket for each that fills as they come, and is empty again a minute after the
/// last. It is a value without a clock.
///
/// Peers are bounded. Those for whom no bucket is left share one, so that nobody is better off for being one of many.
struct FailedTokenTable {
    /// Nanoseconds until a bucket is empty, counted from the clock's zero.
    private var ends: [PeerAddress: UInt64] = [:]
    private var othersEnd: UInt64 = 0
    /// When it is next looked which buckets are empty.
    private var nextLook: UInt64 = 0

    /// Peers with a bucket of their own.
    static let peerLimit = 4096
    private static let minute: UInt64 = 60_000_000_000
    private static let second: UInt64 = 1_000_000_000

    /// Buckets that are kept.
    var count: Int { ends.count }

    /// Counts a worthless token.
    ///
    /// - Parameters:
    ///   - peer: one network of them (`PeerAddress.network`).
    ///   - now: in nanoseconds.
    ///   - perMinute: how many are answered at once; 0 = all.
    /// - Returns: whether this one is among them. One that is not is not counted.
    mutating func take(_ peer: PeerAddress, at now: UInt64, perMinute: Int) -> Bool {
        guard perMinute > 0 else { return true }
        let step = Self.minute / UInt64(perMinute)
        let end = ends[peer] ?? (hasRoom(at: now) ? now : nil)
        let next = max(end ?? othersEnd, now) + step
        // The rest of the division is forgiven.
        guard next <= now + Self.minute else { return false }
        if end == nil { othersEnd = next } else { ends[peer] = next }
        return true
    }

    /// Whether there is room for one more peer, after those have left whose buckets are empty.
    private mutating func hasRoom(at now: UInt64) -> Bool {
        if ends.count >= Self.peerLimit, now >= nextLook {
            nextLook = now + Self.second
            ends = ends.filter { $0.value > now }
        }
        return ends.count < Self.peerLimit
    }
}

/// The table for all loops. It is asked for worthless tokens alone.
final class FailedTokens: Sendable {
    private let table = Mutex(FailedTokenTable())

    /// How much later than others a request is answered whose peer has shown too many.
    static let delay = TimeAmount.seconds(1)

    /// Whether a worthless token is answered at once.
    func take(_ peer: PeerAddress, at now: NIODeadline, perMinute: Int) -> Bool {
        table.withLock { $0.take(peer.network, at: now.uptimeNanoseconds, perMinute: perMinute) }
    }
}
