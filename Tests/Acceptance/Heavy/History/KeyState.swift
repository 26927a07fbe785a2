/// What the contract lets a client find at one key at one moment, and what each operation makes of it.
///
/// An operation is judged by its answer. Where there is none, it has done all that it may have done.
struct KeyState: Hashable, Sendable {
    struct Entry: Hashable, Sendable {
        var value: Int
        /// `nil` = it has a version that no answer has told so far.
        var version: Int?
        /// What its version is larger than while it is not known; 0 when it is.
        var above = 0
        var tags: TagSet
        var staysStale: Bool
        /// When the call that made it stale was answered. Whoever asked before may have read the clock before the entry, and so be shown
        /// what that call made as still fresh.
        var staleAt: UInt64?

        /// Whether an answer may say that it is stale, or that it is not.
        fileprivate func mayBe(stale: Bool?, to operation: KeyOperation) -> Bool {
            guard let stale, let staleAt else { return stale != true }
            return stale || operation.invokedAt <= staleAt
        }
    }

    struct Lease: Hashable, Sendable {
        /// `nil` = its request was not answered.
        var token: KeyOperation.Token?
        /// The tags that were invalidated since it was given: no entry with one of them can be filled in.
        var outdated: TagSet = []
        /// It was lost by an invalidation of all or of a prefix: no fill is accepted any more, but until then it may still keep others away.
        var lingersUntil: UInt64?
        /// When the request was answered by which it was given.
        var givenAt: UInt64
        /// The lease runs out after this and before `latestEnd`: when exactly lies between a request and its answer.
        var earliestEnd: UInt64
        var latestEnd: UInt64
    }

    /// Since the source failed, nobody gets a lease for some time. Each failure in a row doubles it, until the key is written.
    struct Failure: Hashable, Sendable {
        var nanoseconds: UInt64
        var earliestEnd: UInt64
        var latestEnd: UInt64
    }

    /// Whether a kill leaves what was answered, as `through` promises it.
    let isThrough: Bool
    private(set) var entry: Entry?
    /// What a kill would leave of the entry. A write that is never answered may have been made in memory alone.
    private(set) var kept: Entry?
    /// The largest version that is known to have been given here.
    private(set) var newest = 0
    private(set) var lease: Lease?
    private(set) var failure: Failure?

    init(isThrough: Bool) { self.isThrough = isThrough }

    /// By how much the service's clock, which counts milliseconds, may be off.
    fileprivate static let clockStep: UInt64 = 2_000_000
    /// How long a lease that a flush has ended may still keep others away.
    fileprivate static let lingering: UInt64 = 2_000_000_000
    /// The longest time for which a failure keeps others away.
    fileprivate static let longestFailure: UInt64 = 60_000_000_000

    /// What a kill leaves: nothing of a lease.
    var afterKill: KeyState {
        var state = self
        state.entry = kept
        // A call that was not answered is over.
        if kept?.staleAt != nil { state.entry?.staleAt = 0 }
        state.kept = state.entry
        state.lease = nil
        state.failure = nil
        return state
    }

    /// The states that an operation may leave if its moment is now: none where it cannot have been answered as it was, and several where
    /// its answer does not tell.
    func states(after operation: KeyOperation) -> [KeyState] {
        switch operation.call {
        case .get: states(afterGet: operation)
        case .put(let put): states(after: put, operation)
        case .delete(let condition): states(afterDelete: condition, operation)
        case .invalidate(let scope, let mode): states(after: scope, mode, operation)
        case .lease(let ttl): states(afterLease: ttl, operation)
        case .prolong(let token, let ttl): states(afterProlonging: token, ttl, operation)
        case .release(let token, let retryAfter): states(afterReleasing: token, retryAfter, operation)
        }
    }

    // MARK: Looking

    private func states(afterGet operation: KeyOperation) -> [KeyState] {
        switch operation.answer {
        case .found(let sighting): seeing(sighting, operation).map { [$0] } ?? []
        case .missing: entry == nil ? [self] : []
        case nil: [self]
        default: []
        }
    }

    /// The state once an answer has shown its entry; `nil` where that is another one.
    private func seeing(_ sighting: KeyOperation.Sighting, _ operation: KeyOperation) -> KeyState? {
        guard let entry, entry.value == sighting.value, entry.mayBe(stale: sighting.isStale, to: operation) else {
            return nil
        }
        return seeing(version: sighting.version)
    }

    /// The state once an answer has told the version of its entry; `nil` where that is another one.
    private func seeing(version: Int) -> KeyState? {
        guard let entry else { return nil }
        if let known = entry.version { return known == version ? self : nil }
        guard version > entry.above else { return nil }
        var known = entry
        (known.version, known.above) = (version, 0)
        var next = self
        if kept == entry { next.kept = known }
        next.entry = known
        next.newest = max(newest, version)
        return next
    }

    // MARK: Conditions

    /// The state in which a condition holds; `nil` where it does not.
    private func satisfying(_ condition: KeyOperation.Condition?) -> KeyState? {
        switch condition {
        case nil: self
        case .present: entry == nil ? nil : self
        case .absent: entry == nil ? self : nil
        case .version(let version): seeing(version: version)
        }
    }

    /// The states in which a condition fails at this version.
    private func states(failing condition: KeyOperation.Condition?, at version: Int?) -> [KeyState] {
        let fails =
            switch condition {
            case nil: false
            case .present: version == nil
            case .absent: version != nil
            case .version(let wanted): version != wanted
            }
        guard fails else { return [] }
        guard let version else { return entry == nil ? [self] : [] }
        return seeing(version: version).map { [$0] } ?? []
    }

    // MARK: Writing

    private func states(after put: KeyOperation.Put, _ operation: KeyOperation) -> [KeyState] {
        var new = Entry(value: put.value, above: newest, tags: put.tags, staysStale: put.staysStale)
        switch operation.answer {
        case .mismatch(let version): return states(failing: put.condition, at: version)
        case .lost: return states(afterLosing: put, operation)
        case .stored(let version, let replaced):
            guard version > newest, (replaced ?? (entry != nil)) == (entry != nil) else { return [] }
            (new.version, new.above) = (version, 0)
        case nil: break
        default: return []
        }
        guard var next = satisfying(put.condition) else { return [] }
        if let token = put.lease {
            guard let lease, lease.isOf(token, at: operation), lease.outdated.isDisjoint(with: put.tags) else {
                return []
            }
        }
        next.newest = max(next.newest, new.version ?? 0)
        next.lease = nil
        next.failure = nil
        return next.states(isKept: operation.answer != nil) { $0 = new }
    }

    private func states(afterDelete condition: KeyOperation.Condition?, _ operation: KeyOperation) -> [KeyState] {
        switch operation.answer {
        case .mismatch(let version): return states(failing: condition, at: version)
        case .ended(let wasThere): guard (wasThere ?? (entry != nil)) == (entry != nil) else { return [] }
        case nil: break
        default: return []
        }
        guard var next = satisfying(condition) else { return [] }
        next.lease = nil
        return next.states(isKept: operation.answer != nil && entry != nil) { $0 = nil }
    }

    private func states(
        after scope: KeyOperation.Scope,
        _ mode: KeyOperation.Mode,
        _ operation: KeyOperation
    ) -> [KeyState] {
        switch operation.answer {
        case .ended(let wasThere): guard (wasThere ?? (entry != nil)) == (entry != nil) else { return [] }
        case nil: break
        default: return []
        }
        var next = self
        switch scope {
        case .tags(let tags): next.lease?.outdated.formUnion(tags)
        case .all: next.lease?.linger(until: operation.answeredAt, and: Self.lingering)
        case .prefix: next.lease?.linger(until: operation.answeredAt)
        case .key: next.lease = nil
        }
        // What is made stale one by one is written.
        if scope == .key || scope == .prefix, mode == .stale, entry?.staysStale == true { next.failure = nil }
        var states = next.states(invalidating: scope, mode, operation)
        // A lease that was given while a prefix was already being invalidated is not older than that, and may stay.
        if scope == .prefix, let lease, lease.givenAt >= operation.invokedAt {
            next.lease = lease
            states += next.states(invalidating: scope, mode, operation)
        }
        return states
    }

    private func states(
        invalidating scope: KeyOperation.Scope,
        _ mode: KeyOperation.Mode,
        _ operation: KeyOperation
    ) -> [KeyState] {
        states(isKept: operation.answer != nil && (scope != .key || entry != nil)) { entry in
            guard let present = entry else { return }
            // One key and a prefix are written entry by entry, each with a new version; the others get a mark.
            var isMarked = true
            switch scope {
            case .tags(let tags): if present.tags.isDisjoint(with: tags) { return }
            case .all: break
            case .key, .prefix: isMarked = false
            }
            guard mode == .stale, present.staysStale else {
                entry = nil
                return
            }
            var stale = present
            stale.staleAt = min(stale.staleAt ?? .max, operation.answeredAt)
            if !isMarked { (stale.version, stale.above) = (nil, newest) }
            entry = stale
        }
    }

    /// The states after a write.
    ///
    /// - Parameter isKept: whether a kill leaves it, because it was answered. One without an answer may have come no further than into
    ///   memory. Nor does a delete that finds nothing promise anything: what it does not find may have been removed by another one, which
    ///   was not answered.
    private func states(isKept: Bool, _ change: (inout Entry?) -> Void) -> [KeyState] {
        var seen = self
        change(&seen.entry)
        guard isThrough else { return [seen] }
        var lasting = seen
        change(&lasting.kept)
        return isKept || lasting == seen ? [lasting] : [lasting, seen]
    }

    // MARK: Leases

    private func states(afterLease ttl: UInt64, _ operation: KeyOperation) -> [KeyState] {
        let isHeld = lease?.keepsAway(operation) == true
        let hasFailed = failure.map { operation.invokedAt < $0.latestEnd } == true
        switch operation.answer {
        case .found(let sighting):
            guard let next = seeing(sighting, operation) else { return [] }
            let isFresh = sighting.isStale != true && entry?.mayBe(stale: false, to: operation) == true
            // A stale entry is handed out while nobody can get the lease.
            return isFresh || isHeld || hasFailed ? [next] : []
        case .filling: return entry == nil && isHeld ? [self] : []
        case .failed: return entry == nil && hasFailed ? [self] : []
        case .granted(let token, let stale):
            guard let next = stale.map({ seeing($0, operation) }) ?? (entry == nil ? self : nil) else { return [] }
            return next.giving(token, ttl, operation).map { [$0] } ?? []
        case nil: return giving(nil, ttl, operation).map { [$0] } ?? []
        default: return []
        }
    }

    /// The state once a lease is given; `nil` where none can be.
    private func giving(_ token: KeyOperation.Token?, _ ttl: UInt64, _ operation: KeyOperation) -> KeyState? {
        if let entry, entry.staleAt == nil { return nil }
        if let failure, operation.answeredAt <= failure.earliestEnd { return nil }
        if let lease, lease.lingersUntil == nil, !lease.mayHaveEnded(at: operation) { return nil }
        var next = self
        let (earliest, latest) = operation.ends(after: ttl)
        next.lease = Lease(token: token, givenAt: operation.answeredAt, earliestEnd: earliest, latestEnd: latest)
        return next
    }

    private func states(
        afterProlonging token: KeyOperation.Token,
        _ ttl: UInt64,
        _ operation: KeyOperation
    ) -> [KeyState] {
        if operation.answer == .lost { return states(afterLosing: token, operation) }
        guard operation.answer == .done || operation.answer == nil, lease?.isHeld(by: token, at: operation) == true
        else { return [] }
        var next = self
        let (earliest, latest) = operation.ends(after: ttl)
        next.lease?.earliestEnd = earliest
        next.lease?.latestEnd = latest
        return [next]
    }

    private func states(
        afterReleasing token: KeyOperation.Token,
        _ retryAfter: UInt64?,
        _ operation: KeyOperation
    ) -> [KeyState] {
        if operation.answer == .lost { return states(afterLosing: token, operation) }
        guard operation.answer == .done || operation.answer == nil, lease?.isHeld(by: token, at: operation) == true
        else { return [] }
        var next = self
        next.lease = nil
        guard let retryAfter else { return [next] }
        let doubled = min(max(retryAfter, 2 * (failure?.nanoseconds ?? 0)), Self.longestFailure)
        let (earliest, latest) = operation.ends(after: doubled)
        next.failure = Failure(nanoseconds: doubled, earliestEnd: earliest, latestEnd: latest)
        return [next]
    }

    /// The states after a fill that is refused because its lease is lost. Such a fill ends the lease where it has not ended before.
    private func states(afterLosing put: KeyOperation.Put, _ operation: KeyOperation) -> [KeyState] {
        guard let token = put.lease else { return [] }
        guard let lease, lease.token == token else { return [self] }
        let isLost = !lease.outdated.isDisjoint(with: put.tags) || lease.lingersUntil != nil
        guard isLost || lease.mayHaveEnded(at: operation) else { return [] }
        var next = self
        next.lease = nil
        return [next]
    }

    private func states(afterLosing token: KeyOperation.Token, _ operation: KeyOperation) -> [KeyState] {
        guard let lease, lease.token == token else { return [self] }
        guard lease.lingersUntil != nil || lease.mayHaveEnded(at: operation) else { return [] }
        var next = self
        next.lease = nil
        return [next]
    }
}

extension KeyState.Lease {
    /// Whether it may still last at the operation's moment.
    fileprivate func mayLast(at operation: KeyOperation) -> Bool { operation.invokedAt < latestEnd }

    /// Whether it may have run out, or have been lost while a prefix was being invalidated, at the operation's moment.
    fileprivate func mayHaveEnded(at operation: KeyOperation) -> Bool {
        operation.meetsFence || operation.answeredAt > earliestEnd
    }

    /// Whether a fill with this token may be accepted.
    fileprivate func isOf(_ token: KeyOperation.Token, at operation: KeyOperation) -> Bool {
        self.token == token && lingersUntil == nil && mayLast(at: operation)
    }

    /// Whether it may still be prolonged or given up with this token.
    fileprivate func isHeld(by token: KeyOperation.Token, at operation: KeyOperation) -> Bool {
        self.token == token && keepsAway(operation)
    }

    /// Whether it may keep others from getting the lease.
    fileprivate func keepsAway(_ operation: KeyOperation) -> Bool {
        mayLast(at: operation) && operation.invokedAt <= lingersUntil ?? .max
    }

    /// Loses it, although it may keep others away until some time after a moment.
    fileprivate mutating func linger(until moment: UInt64, and nanoseconds: UInt64 = 0) {
        let end = moment.addingReportingOverflow(nanoseconds)
        lingersUntil = min(lingersUntil ?? .max, end.overflow ? .max : end.partialValue)
    }
}

extension KeyOperation {
    /// Between what moments something ends that lasts so long from the operation's moment on.
    fileprivate func ends(after nanoseconds: UInt64) -> (earliest: UInt64, latest: UInt64) {
        let latest = answeredAt.addingReportingOverflow(nanoseconds + KeyState.clockStep)
        return (invokedAt + nanoseconds - KeyState.clockStep, latest.overflow ? .max : latest.partialValue)
    }
}

extension KeyState: CustomStringConvertible {
    var description: String {
        var text = Self.words(entry)
        if isThrough, kept != entry { text += "; a kill leaves \(Self.words(kept))" }
        if let lease {
            text += "; lease \(lease.token.map(String.init) ?? "without an answer")"
            if lease.lingersUntil != nil { text += " lost" }
            if !lease.outdated.isEmpty { text += " outdated for [\(lease.outdated.names.joined(separator: " "))]" }
        }
        if failure != nil { text += "; the source failed" }
        return text + "; versions up to \(newest)"
    }

    private static func words(_ entry: Entry?) -> String {
        guard let entry else { return "nothing" }
        var text = "\(entry.value) of version \(entry.version.map(String.init) ?? "above \(entry.above)")"
        if !entry.tags.isEmpty { text += " [\(entry.tags.names.joined(separator: " "))]" }
        return text + (entry.staleAt != nil ? ", stale" : entry.staysStale ? " with a stale TTL" : "")
    }
}
