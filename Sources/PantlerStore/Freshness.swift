package import PantlerModel

/// Whether an entry may be handed out at a moment.
package enum Freshness: Equatable, Sendable {
    case fresh
    /// Past its TTL (or declared stale), within its stale TTL; it went stale at the given moment.
    case stale(since: Timestamp)
    /// Nobody may see it.
    case dead(MissReason)
}

/// What marks say of one entry: those of its namespace and of its tags together.
struct Judgement {
    /// Whether a flush or a tag has ended it.
    var isGone = false
    /// The first moment at which it was declared stale.
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
        if now < end { return .fresh }
        if staleTTL > 0, now < end.advanced(byMilliseconds: staleTTL) { return .stale(since: end) }
        return .dead(reason)
    }

    /// When marks end it, whatever its own expiry; `nil` if they do not.
    func end(staleTTL: Int64) -> Timestamp? {
        isGone ? Timestamp(milliseconds: .min) : staleSince?.advanced(byMilliseconds: staleTTL)
    }
}
