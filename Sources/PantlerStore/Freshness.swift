package import PantlerModel

/// Whether an entry may be handed out at a moment.
package enum Freshness: Equatable, Sendable {
    case fresh
    /// Past its TTL (or declared stale), within its stale TTL; it went stale at the given moment.
    case stale(since: Timestamp)
    /// Nobody may see it.
    case dead(MissReason)
}

/// The parts of an entry that its life depends on.
struct Life {
    var version: Version
    var expiresAt: Timestamp
    var staleTTL: Int64

    /// - Parameter marks: the watermarks that concern the entry: its namespace's, and those of its invalidated tags.
    func freshness(at now: Timestamp, under mark: Watermark) -> Freshness {
        if version < mark.goneBefore { return .dead(.invalidated) }
        var end = expiresAt
        var reason = MissReason.expired
        if version < mark.staleBefore, mark.staleSince < end {
            end = mark.staleSince
            reason = .invalidated
        }
        if now < end { return .fresh }
        if staleTTL > 0, now < end.advanced(byMilliseconds: staleTTL) { return .stale(since: end) }
        return .dead(reason)
    }
}

extension Watermark {
    /// The mark of two invalidations together.
    func merged(_ other: Watermark) -> Watermark {
        var merged = self
        merged.goneBefore = max(goneBefore, other.goneBefore)
        if other.staleBefore > staleBefore {
            merged.staleBefore = other.staleBefore
            merged.staleSince = other.staleSince
        }
        return merged
    }
}
