import PantlerInsight
import PantlerJSON
import PantlerMemory
import PantlerModel

/// Makes or replaces an entry.
struct PutStep: EntryStep {
    static let looksAtValue = false

    let put: Put
    /// A copy of a large value, made before any lock is taken.
    let large: LargeValue?

    init(_ put: Put) {
        self.put = put
        large = LargeValue.copy(of: put.value)
    }

    var condition: Condition { put.condition }
    var lease: LeaseToken? { put.lease }
    var needsStanding: Bool { put.wantsOutcome || !put.condition.isEmpty }
    var failsUnseen: Bool { !put.condition.isEmpty }

    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Written> {
        // This is checked again: the policy may have changed since `Store.put` checked it to spare the copy.
        try put.check(policy)
        let isAbsent = put.kind == .absent
        let entry = Entry(
            value: put.value,
            kind: put.kind,
            version: 0,
            expiresAt: isAbsent
                ? policy.negativeExpiry(put.lifetime, at: moment) : policy.expiry(put.lifetime, at: moment),
            // That a source had nothing is of no use once it may have something.
            staleTTL: isAbsent ? 0 : put.staleTTL ?? policy.staleTTL,
            tags: put.tags
        )
        let base = put.condition.isEmpty ? .any : EntryChange.Base(standing)
        let written = Written(entry.expiresAt, at: moment, isNew: !standing.isPresent)
        return .change(EntryChange(.put, .put(entry, large), base: base), written)
    }
}

/// Removes an entry, or a negative one.
struct DeleteStep: EntryStep {
    static let looksAtValue = false

    let condition: Condition

    func decide(_ standing: Standing, _: Policy, _: Moment) -> Decision<Ended> {
        if case .none(let reason) = standing { return .absent(reason, .failure(.notFound(reason))) }
        let base = condition.isEmpty ? .any : EntryChange.Base(standing)
        return .change(EntryChange(.delete, .remove(.deleted), base: base), Ended(wasThere: true))
    }
}

/// Gives an entry another life or other tags. The step does not look at the value.
struct TouchStep: EntryStep {
    static let looksAtValue = false

    let patch: Patch

    var condition: Condition { patch.condition }

    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Written> {
        guard standing.isPresent, var head = standing.head else { throw .notFound(standing.reason) }
        patch.apply(to: &head, policy, moment)
        let written = Written(head.expiresAt, at: moment, isNew: false)
        return .change(EntryChange(.touch, .touch(head), base: .init(standing)), written)
    }
}

/// Adds to an integer, or makes one. The entry keeps its expiry, its stale TTL and its tags.
struct CountStep: EntryStep {
    static let looksAtValue = true
    /// The most bytes of a value that is taken for an integer. An integer has 17 characters at most; a longer value is not looked at,
    /// although it might be an integer with whitespace around it.
    private static let mostBytes = 4096
    private static let notAnInteger = Problem(
        .notAnInteger,
        "The value is not a JSON integer: it cannot be counted."
    )

    let counter: CounterAdd

    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Counted> {
        if standing.valueCount > Self.mostBytes { throw Self.notAnInteger }
        var entry: Entry
        let base: Int64
        if let present = standing.entry {
            entry = present
            base = try Self.integer(of: present)
        } else {
            guard let initial = counter.initial else { throw .notFound(standing.reason) }
            base = initial
            let expiresAt = policy.expiry(counter.lifetime, at: moment)
            entry = Entry(value: [], kind: .json, version: 0, expiresAt: expiresAt, staleTTL: policy.staleTTL)
        }
        let value = try CounterAdd.sum(base, counter.by)
        entry.value = try CounterAdd.value(value, policy)
        let counted = Counted(value: value, version: 0, isNew: !standing.isPresent)
        return .change(EntryChange(.counter, .put(entry, nil), base: .init(standing)), counted)
    }

    private static func integer(of entry: Entry) throws(Problem) -> Int64 {
        guard entry.kind == .json, let value = entry.value.withUnsafeBytes({ JSON.integer($0.slice(JSON.trimmed($0))) })
        else {
            throw notAnInteger
        }
        return value
    }
}

/// Ends one entry, or makes it stale. A negative entry ends, since it has no stale TTL.
struct InvalidateStep: EntryStep {
    static let looksAtValue = false
    static let isInvalidation = true

    let mode: InvalidationMode
    /// The step concerns entries with smaller versions.
    let before: Version

    func decide(_ standing: Standing, _: Policy, _ moment: Moment) -> Decision<Ended> {
        if case .none(let reason) = standing { return .absent(reason, .success(Ended(wasThere: false))) }
        guard var head = standing.head, head.version < before else { return .nothing(Ended(wasThere: false)) }
        let effect: EntryChange.Effect
        if mode == .gone || head.staleTTL == 0 {
            effect = .remove(.invalidated)
        } else {
            // An entry that is stale already stays stale since the same moment.
            head.expiresAt = min(head.expiresAt, moment.now)
            effect = .touch(head)
        }
        return .change(EntryChange(.invalidation, effect, base: .init(standing)), Ended(wasThere: true))
    }
}

extension Patch {
    /// Makes the patch's changes, except that of the value.
    func apply(to entry: inout some Headed, _ policy: Policy, _ moment: Moment) {
        if let lifetime { entry.expiresAt = policy.expiry(lifetime, at: moment) }
        switch staleTTL {
        case .keep: break
        case .byPolicy: entry.staleTTL = policy.staleTTL
        case .milliseconds(let milliseconds): entry.staleTTL = milliseconds
        }
        if let tags { entry.tags = tags }
    }
}

extension Written: ChangeAnswer {
    init(_ expiresAt: Timestamp, at moment: Moment, isNew: Bool) {
        self.init(version: 0, expiresAt: expiresAt.wallTime(aheadBy: moment.wallOffset), isNew: isNew)
    }
}

extension Counted: ChangeAnswer {}

/// The answer about an entry that was to be removed or made stale.
struct Ended: ChangeAnswer {
    var version: Version = 0
    var wasThere: Bool
}
