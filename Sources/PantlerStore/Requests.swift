import PantlerJSON
package import PantlerModel

// What callers ask of a store and what they get back, as plain values.

/// How long an entry is to live.
package enum Lifetime: Hashable, Sendable {
    /// The namespace's `default_ttl`.
    case byPolicy
    case never
    /// A TTL from now on; > 0.
    case milliseconds(Int64)
    /// A moment that the caller named.
    case until(WallTime)
}

/// Entity tags of a condition; an entry's is its version (RFC 9110, section 8.8.3).
package struct EntityTags: Hashable, Sendable {
    /// `*`: any entry that is there.
    package var any: Bool
    package var versions: [Version]

    package init(any: Bool = false, versions: [Version] = []) {
        self.any = any
        self.versions = versions
    }

    func match(_ version: Version?) -> Bool {
        guard let version else { return false }
        return any || versions.contains(version)
    }
}

/// What must hold of the entry that is there for a write to go on (RFC 9110, section 13.1).
package struct Condition: Hashable, Sendable {
    package var ifMatch: EntityTags?
    package var ifNoneMatch: EntityTags?

    package init(ifMatch: EntityTags? = nil, ifNoneMatch: EntityTags? = nil) {
        self.ifMatch = ifMatch
        self.ifNoneMatch = ifNoneMatch
    }

    package static let none = Condition()

    var isEmpty: Bool { ifMatch == nil && ifNoneMatch == nil }

    /// - Parameter version: the version of the entry that is there; `nil` where there is none.
    func check(_ version: Version?) throws(Problem) {
        if let ifMatch, !ifMatch.match(version) { throw .versionMismatch(found: version) }
        if let ifNoneMatch, ifNoneMatch.match(version) { throw .versionMismatch(found: version) }
    }
}

/// An entry to make or replace; also a negative one, which has no value and no stale TTL, and lives for the policy's `negative_ttl` at most.
package struct Put: Sendable {
    package var value: [UInt8]
    package var kind: ValueKind
    package var lifetime: Lifetime
    /// Milliseconds; `nil` = the namespace's `stale_ttl`.
    package var staleTTL: Int64?
    package var tags: [EntryTag]
    package var condition: Condition
    /// The lease that the put is the fill of; `nil` = the put needs none.
    package var lease: LeaseToken?
    /// Whether the answer is to say if the entry was made or replaced. Where it need not, the lower tier is not asked for that.
    package var wantsOutcome: Bool

    package init(
        value: [UInt8],
        kind: ValueKind,
        lifetime: Lifetime = .byPolicy,
        staleTTL: Int64? = nil,
        tags: [EntryTag] = [],
        condition: Condition = .none,
        lease: LeaseToken? = nil,
        wantsOutcome: Bool = true
    ) {
        self.lease = lease
        self.value = value
        self.kind = kind
        self.lifetime = lifetime
        self.staleTTL = staleTTL
        self.tags = tags
        self.condition = condition
        self.wantsOutcome = wantsOutcome
    }

    /// Fails with `value_too_large` where the policy does not allow a value of this size.
    package func check(_ policy: Policy) throws(Problem) {
        let size = Int64(value.count)
        if size > policy.maxValueSize { throw .valueTooLarge(size, limit: policy.maxValueSize) }
    }
}

/// The changes of an entry's parts. A part that is not named stays as it is.
package struct Patch: Sendable {
    package enum StaleTTL: Hashable, Sendable {
        case keep, byPolicy
        case milliseconds(Int64)
    }

    /// A merge patch (RFC 7396) for the value, which must be valid JSON; `nil` leaves the value as it is.
    package var value: [UInt8]?
    /// `nil` leaves the expiry as it is.
    package var lifetime: Lifetime?
    package var staleTTL: StaleTTL
    /// `nil` leaves the tags as they are.
    package var tags: [EntryTag]?
    package var condition: Condition

    package init(
        value: [UInt8]? = nil,
        lifetime: Lifetime? = nil,
        staleTTL: StaleTTL = .keep,
        tags: [EntryTag]? = nil,
        condition: Condition = .none
    ) {
        self.value = value
        self.lifetime = lifetime
        self.staleTTL = staleTTL
        self.tags = tags
        self.condition = condition
    }
}

/// A number to add to a counter.
package struct CounterAdd: Sendable {
    package var by: Int64
    /// The number that is added to where there is no entry; `nil` = no entry is made.
    package var initial: Int64?
    /// The lifetime of an entry that is made. An entry that is there keeps its own.
    package var lifetime: Lifetime

    package init(by: Int64 = 1, initial: Int64? = nil, lifetime: Lifetime = .byPolicy) {
        self.by = by
        self.initial = initial
        self.lifetime = lifetime
    }

    /// Fails as the addition would where no entry is there: with `entry_not_found`, `counter_overflow` or `value_too_large`.
    package func check(_ policy: Policy) throws(Problem) {
        guard let initial else { throw .notFound(.absent) }
        _ = try Self.value(try Self.sum(initial, by), policy)
    }

    static func sum(_ base: Int64, _ by: Int64) throws(Problem) -> Int64 {
        let (sum, overflow) = base.addingReportingOverflow(by)
        guard !overflow, sum.magnitude <= Limits.maxSafeInteger.magnitude else {
            throw Problem(
                .counterOverflow,
                "\(base) and \(by) make a number outside of -(2^53 - 1) to 2^53 - 1, which is not kept."
            )
        }
        return sum
    }

    /// A number as the value of an entry. Fails with `value_too_large`.
    static func value(_ number: Int64, _ policy: Policy) throws(Problem) -> [UInt8] {
        var value: [UInt8] = []
        JSON.appendInteger(number, to: &value)
        let size = Int64(value.count)
        if size > policy.maxValueSize { throw .valueTooLarge(size, limit: policy.maxValueSize) }
        return value
    }
}

/// An entry as it is after a write.
package struct Written: Hashable, Sendable {
    package var version: Version
    /// The expiry, as callers are told it.
    package var expiresAt: WallTime
    /// Whether there was no entry before.
    package var isNew: Bool
}

/// A counter as it is after an addition.
package struct Counted: Hashable, Sendable {
    package var value: Int64
    package var version: Version
    package var isNew: Bool
}

/// What is to be invalidated.
package enum Invalidation: Sendable {
    case keys([EntryAddress])
    case tags([EntryTag])
    case prefix([UInt8])
    case all
}

package enum InvalidationMode: Hashable, Sendable {
    /// Nobody sees the entries any more.
    case gone
    /// The entries are past their TTL as of now, and may be handed out for their stale TTL.
    case stale
}

package struct Invalidated: Hashable, Sendable {
    /// The number of entries that were ended or made stale; `nil` where they were not counted, because the invalidation took constant time.
    package var count: Int?
    package var tags: Int?
    /// The namespace's generation after a flush.
    package var generation: UInt64?
}

/// One row of a page.
package struct ListedRow: Hashable, Sendable {
    package var entry: ListedEntry
    package var tier: Tier
    /// The expiry, as callers are told it.
    package var expiresAt: WallTime
}

/// One page of a namespace's keys, in byte order.
package struct Listing: Sendable {
    package var rows: [ListedRow]
    /// Whether nothing comes after the last row.
    package var isComplete: Bool
}

/// The result of setting a policy.
package struct PolicySet: Sendable {
    package var namespace: Namespace
    package var isNew: Bool
}
