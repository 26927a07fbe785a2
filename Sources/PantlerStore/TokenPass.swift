package import PantlerModel
import Synchronization

/// What a valid token gives: kept by a connection for as long as `Tokens.generation` stays the same.
package final class TokenPass: Sendable {
    package let id: TokenID
    package let grant: Grant
    /// When it ends, by the wall clock in milliseconds since 1970: with the token, or with the grace of a secret that was rotated. `.max` = never.
    package let expiresAt: Int64
    package let source: TokenSource
    private let use: TokenUse

    init(_ record: TokenRecord, expiresAt: Int64, _ use: TokenUse) {
        id = record.id
        grant = record.grant
        source = record.source
        self.expiresAt = expiresAt
        self.use = use
    }

    /// Of the token, whatever secret it was presented with: shared by all its connections.
    package var rate: RateBucket { use.rate }

    /// Notes that the token is used on a day (days since 1970 by UTC). One relaxed load where that is known.
    package func noteUse(day: Int32) { use.note(day: day) }
}

/// What happens to a token without a change of it: its use.
final class TokenUse: Sendable {
    /// The last day of use. Relaxed: nothing is ordered by it. `.min` = never.
    private let lastDay: Atomic<Int32>
    /// The day that the lower tier knows of. Written under the tokens' lock.
    private let savedDay: Atomic<Int32>
    /// Whether any token was used on a day that was not noted yet; see `Tokens.saveUse`.
    private let hasUnsaved: UnsavedUse
    let rate: RateBucket

    init(lastDay: Int32?, _ hasUnsaved: UnsavedUse, _ limit: RateLimit) {
        self.lastDay = Atomic(lastDay ?? .min)
        savedDay = Atomic(lastDay ?? .min)
        self.hasUnsaved = hasUnsaved
        rate = RateBucket(limit)
    }

    func note(day: Int32) {
        guard lastDay.load(ordering: .relaxed) != day else { return }
        lastDay.store(day, ordering: .relaxed)
        // Releasing: whoever takes the flag finds the day.
        hasUnsaved.flag.store(true, ordering: .releasing)
    }

    var day: Int32? {
        let day = lastDay.load(ordering: .relaxed)
        return day == .min ? nil : day
    }

    var isUnsaved: Bool { lastDay.load(ordering: .relaxed) != savedDay.load(ordering: .relaxed) }

    func noteSaved(_ day: Int32?) { savedDay.store(day ?? .min, ordering: .relaxed) }
}

/// One flag for all tokens, so that nobody goes over them where none was used.
final class UnsavedUse: Sendable {
    let flag = Atomic(false)
}

/// How many requests a second each token may make; 0 = as many as it likes. Shared by all tokens, so that it can be set while they are in use.
final class RateLimit: Sendable {
    /// Nanoseconds between two requests; 0 = no limit. Relaxed: a request may be judged by the former limit.
    let interval = Atomic<UInt64>(0)

    func set(perSecond: Int) {
        let interval = perSecond > 0 ? max(1, 1_000_000_000 / UInt64(perSecond)) : 0
        self.interval.store(interval, ordering: .relaxed)
    }
}

/// Requests of one token, evenly as many a second as it may make, and as many at once after a second without any (GCRA, ATM Forum's Traffic Management
/// Specification 4.1). Without a lock: one number says when the next request would be due if all came evenly.
package final class RateBucket: Sendable {
    private let limit: RateLimit
    /// Nanoseconds of the monotonic clock. Relaxed: it orders nothing but itself.
    private let due = Atomic<UInt64>(0)

    private static let second: UInt64 = 1_000_000_000

    init(_ limit: RateLimit) { self.limit = limit }

    /// Takes a request.
    ///
    /// - Parameter microseconds: of the clock's monotonic time. Loops may be a little apart.
    /// - Returns: 0 if it may be made; else nothing is taken, and it may be made in so many microseconds.
    package func take(at microseconds: UInt64) -> UInt64 {
        let interval = limit.interval.load(ordering: .relaxed)
        if interval == 0 { return 0 }
        let now = microseconds * 1000
        // One request can always be made at last, however few a second there may be.
        let most = now + max(Self.second, interval)
        var seen = due.load(ordering: .relaxed)
        while true {
            let next = max(seen, now) + interval
            if next > most { return (next - most + 999) / 1000 }
            let (isTaken, found) = due.compareExchange(expected: seen, desired: next, ordering: .relaxed)
            if isTaken { return 0 }
            seen = found
        }
    }
}
