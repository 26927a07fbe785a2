/// What one client asked of one key, and what it was answered.
///
/// A call that concerns several keys (a batch, an invalidation by tag, by prefix or of all) is one operation on each of them, all with the
/// interval of the call: such calls promise nothing about what is seen between their keys, and each key has its own moment.
struct KeyOperation: Sendable {
    let client: Int
    let call: Call
    /// Nanoseconds of the monotonic clock, before the first byte of the request was sent.
    let invokedAt: UInt64
    /// When the whole answer was there; `.max` where there is none.
    var answeredAt: UInt64 = .max
    /// `nil` = the service was killed before it answered. What was asked may have been done, or not.
    var answer: Answer?
    /// Whether an invalidation by prefix ran meanwhile that concerns the key: see `HistoryCheck.notingFences`.
    var meetsFence = false

    enum Call: Hashable, Sendable {
        case get
        case put(Put)
        case delete(Condition?)
        case invalidate(Scope, Mode)
        /// Asks for the entry, or else for the lease; nanoseconds that it lasts.
        case lease(ttl: UInt64)
        /// Has a lease last so many nanoseconds from now.
        case prolong(Token, ttl: UInt64)
        /// Gives a lease up. With a `retryAfter`, in nanoseconds, because the source has failed.
        case release(Token, retryAfter: UInt64?)
    }

    /// The number that the test gives to a lease's token when it first sees it.
    typealias Token = Int

    struct Put: Hashable, Sendable {
        /// A number that no other write has.
        var value: Int
        var tags: TagSet = []
        /// Whether the entry has a stale TTL: it outlasts the test.
        var staysStale = false
        var condition: Condition?
        /// The lease that the put fills.
        var lease: Token?
    }

    enum Condition: Hashable, Sendable {
        /// `If-Match` with a version.
        case version(Int)
        /// `If-Match: *`
        case present
        /// `If-None-Match: *`
        case absent
    }

    /// What about a key makes an invalidation concern it.
    enum Scope: Hashable, Sendable {
        case key
        case prefix
        case all
        case tags(TagSet)
    }

    enum Mode: Hashable, Sendable {
        case gone
        case stale
    }

    enum Answer: Hashable, Sendable {
        /// The entry.
        case found(Sighting)
        /// There is none.
        case missing
        /// The version that was given, and whether there was an entry before, where that is told.
        case stored(version: Int, replaced: Bool?)
        /// The condition does not hold: the version that was found.
        case mismatch(Int?)
        /// A delete or an invalidation has been done: whether there was an entry, where that is told.
        case ended(wasThere: Bool?)
        /// The lease, and the stale entry that is there meanwhile.
        case granted(Token, stale: Sighting?)
        /// Somebody else has the lease.
        case filling
        /// The source has failed, and nobody gets a lease for some time.
        case failed
        /// The lease of the token was lost.
        case lost
        /// A lease was prolonged or given up.
        case done
    }

    /// An entry as an answer shows it.
    struct Sighting: Hashable, Sendable {
        var value: Int
        var version: Int
        /// `nil` where the answer does not tell.
        var isStale: Bool?
    }
}

/// Some of the three tags that the test's entries have.
struct TagSet: OptionSet, Hashable, Sendable {
    static let names = ["red", "green", "blue"]

    let rawValue: UInt8

    var names: [String] { Self.names.indices.filter { rawValue >> UInt8($0) & 1 == 1 }.map { Self.names[$0] } }
}

// MARK: In words

extension KeyOperation: CustomStringConvertible {
    var description: String {
        guard let answer else { return "client \(client): \(call) -> no answer" }
        return "client \(client): \(call) -> \(answer)"
    }

    /// With its interval, in milliseconds after a moment.
    func description(since start: UInt64) -> String {
        let end = answer == nil ? "…" : Self.milliseconds(answeredAt, since: start)
        return "\(Self.milliseconds(invokedAt, since: start)) to \(end)  \(self)"
    }

    private static func milliseconds(_ moment: UInt64, since start: UInt64) -> String {
        let microseconds = (Int64(moment) - Int64(start)) / 1000
        let fraction = String(abs(microseconds % 1000))
        let sign = microseconds < 0 ? "-" : ""
        return "\(sign)\(abs(microseconds / 1000)).\(String(repeating: "0", count: 3 - fraction.count))\(fraction)"
    }
}

extension KeyOperation.Call: CustomStringConvertible {
    var description: String {
        switch self {
        case .get: "get"
        case .put(let put): "\(put)"
        case .delete(let condition): "delete\(KeyOperation.words(condition))"
        case .invalidate(let scope, .gone): "invalidate \(scope)"
        case .invalidate(let scope, .stale): "make stale \(scope)"
        case .lease(let ttl): "lease for \(ttl / 1_000_000) ms"
        case .prolong(let token, let ttl): "prolong lease \(token) to \(ttl / 1_000_000) ms"
        case .release(let token, nil): "give up lease \(token)"
        case .release(let token, let retryAfter?): "fail lease \(token) for \(retryAfter / 1_000_000) ms"
        }
    }
}

extension KeyOperation.Put: CustomStringConvertible {
    var description: String {
        var text = lease.map { "fill lease \($0) with \(value)" } ?? "put \(value)"
        if !tags.isEmpty { text += " [\(tags.names.joined(separator: " "))]" }
        if staysStale { text += " with a stale TTL" }
        return text + KeyOperation.words(condition)
    }
}

extension KeyOperation.Scope: CustomStringConvertible {
    var description: String {
        switch self {
        case .key: "by key"
        case .prefix: "by prefix"
        case .all: "all"
        case .tags(let tags): "by tag [\(tags.names.joined(separator: " "))]"
        }
    }
}

extension KeyOperation.Answer: CustomStringConvertible {
    var description: String {
        switch self {
        case .found(let sighting): "\(sighting)"
        case .missing: "nothing there"
        case .stored(let version, let replaced):
            "version \(version)" + (replaced.map { $0 ? ", replaced" : ", made" } ?? "")
        case .mismatch(let version): "condition fails at \(version.map { "version \($0)" } ?? "nothing")"
        case .ended(let wasThere): "done" + (wasThere.map { $0 ? ", was there" : ", was not there" } ?? "")
        case .granted(let token, nil): "lease \(token)"
        case .granted(let token, let stale?): "lease \(token) beside \(stale)"
        case .filling: "held: filling"
        case .failed: "held: failed"
        case .lost: "lease lost"
        case .done: "done"
        }
    }
}

extension KeyOperation.Sighting: CustomStringConvertible {
    var description: String { "\(value) of version \(version)" + (isStale == true ? ", stale" : "") }
}

extension KeyOperation {
    fileprivate static func words(_ condition: Condition?) -> String {
        switch condition {
        case nil: ""
        case .version(let version): " if at version \(version)"
        case .present: " if there"
        case .absent: " if absent"
        }
    }
}
