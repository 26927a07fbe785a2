package import PantlerModel

/// Whether an entry may be handed out at a moment.
package enum Freshness: Equatable, Sendable {
    case fresh
    /// The entry is past its TTL, or was declared stale, and is within its stale TTL. It went stale at the given moment.
    case stale(since: Timestamp)
    /// Nobody may see the entry.
    case dead(MissReason)
}

/// What the marks of an entry's namespace and of its tags together say about the entry.
struct Judgement {
    /// Whether a flush or the invalidation of a tag has ended the entry.
    var isGone = false
    /// The first moment at which the entry was declared stale.
    var staleSince: Timestamp?

    mutating func add(_ mark: Watermark, _ version: Version) {
        if version < mark.goneBefore { isGone = true }
        if let since = mark.staleSince(version) { staleSince = min(staleSince ?? since, since) }
    }

    func freshness(expiresAt: Timestamp, staleTTL: Int64, at now: Timestamp) -> Freshness {
        if isGone { return .dead(.invalidated) }
        var end = expiresAt
        var reason = MissReason.expired
        if let staleSince, staleSince < end {
            end = staleSince
            reason = .invalidated
        }
        // A mark that is there counts, also for whoever has read the clock before it was made.
        let now = staleSince.map { max(now, $0) } ?? now
        if now < end { return .fresh }
        if staleTTL > 0, now < end.advanced(byMilliseconds: staleTTL) { return .stale(since: end) }
        return .dead(reason)
    }

    /// When marks end the entry, whatever its own expiry; `nil` if they do not.
    func end(staleTTL: Int64) -> Timestamp? {
        isGone ? Timestamp(milliseconds: .min) : staleSince?.advanced(byMilliseconds: staleTTL)
    }
}
