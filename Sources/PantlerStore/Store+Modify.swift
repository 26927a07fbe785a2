import PantlerInsight
import PantlerJSON
import PantlerMemory
package import PantlerModel

// Changes of what is there: touches, merges, counters, and making stale.
extension Store {
    /// Changes parts of an entry, which gets a new version.
    ///
    /// Fails with `entry_not_found`, `version_mismatch`, `not_json` (a merge into a value of bytes), `value_too_large`,
    /// `json_too_deep`, or `storage_…`.
    package func patch(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ patch: Patch,
        completion: @escaping @Sendable (Result<Written, Problem>) -> Void
    ) {
        if let value = patch.value { return merge(namespace, address, value, patch, completion) }
        let policy = namespace.policy
        write(namespace, address, policy, needsValue: false, LateAnswer(completion: completion)) {
            [self] shard, standing, moment throws(Problem) in
            let policy = namespace.policy
            try patch.condition.check(standing.version)
            guard var head = standing.head else { throw .notFound(standing.reason) }
            try change(&head, patch, policy, moment)
            shard.tally[namespace.slot].touches &+= 1
            let ticket = touch(&shard, namespace, address, standing, head, policy, moment)
            let expiresAt = head.expiresAt.wallTime(aheadBy: moment.wallOffset)
            let written = Written(version: head.version, expiresAt: expiresAt, isNew: false)
            return Step(answer: written, ticket: ticket, stored: head.version, durability: policy.durability)
        }
    }

    /// What a patch changes beside the value; the entry gets its new version.
    func change(_ entry: inout some Headed, _ patch: Patch, _ policy: Policy, _ moment: Moment) throws(Problem) {
        if let lifetime = patch.lifetime { entry.expiresAt = policy.expiry(lifetime, at: moment) }
        switch patch.staleTTL {
        case .keep: break
        case .byPolicy: entry.staleTTL = policy.staleTTL
        case .milliseconds(let milliseconds): entry.staleTTL = milliseconds
        }
        if let tags = patch.tags { entry.tags = tags }
        entry.version = try nextVersion()
    }

    /// Adds to an integer, or makes one. The entry keeps its expiry, its stale TTL and its tags.
    ///
    /// Fails with `entry_not_found` (nothing there and no initial value), `not_an_integer`, `counter_overflow`, or `storage_…`.
    package func count(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ counter: CounterAdd,
        completion: @escaping @Sendable (Result<Counted, Problem>) -> Void
    ) {
        let policy = namespace.policy
        write(namespace, address, policy, LateAnswer(completion: completion)) {
            [self] shard, standing, moment throws(Problem) in
            let policy = namespace.policy
            var entry: Entry
            let base: Int64
            if standing.valueCount > Self.counterBytes { throw Self.notAnInteger }
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
            entry.version = try nextVersion()
            shard.tally[namespace.slot].counters &+= 1
            let ticket = store(&shard, namespace, address, entry, nil, policy, moment)
            let counted = Counted(value: value, version: entry.version, isNew: !standing.isPresent)
            return Step(answer: counted, ticket: ticket, stored: entry.version, durability: policy.durability)
        }
    }

    private static func integer(of entry: Entry) throws(Problem) -> Int64 {
        guard entry.kind == .json, let value = entry.value.withUnsafeBytes({ JSON.integer($0.slice(JSON.trimmed($0))) })
        else {
            throw notAnInteger
        }
        return value
    }

    private static let notAnInteger = Problem(
        .notAnInteger,
        "The value is not a JSON integer: it cannot be counted."
    )

    /// An integer has 17 characters at most. A longer value is looked at no further, not even for whitespace around one.
    private static let counterBytes = 4096

    /// Ends one entry, or makes it stale; answers whether there was one.
    func invalidate(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ mode: InvalidationMode,
        before: Version = .max,
        completion: @escaping @Sendable (Result<Bool, Problem>) -> Void
    ) {
        let policy = namespace.policy
        write(namespace, address, policy, needsValue: false, LateAnswer(completion: completion)) {
            [self] shard, standing, moment throws(Problem) in
            let policy = namespace.policy
            if case .none(let reason) = standing {
                let ticket = try removeHidden(&shard, namespace, address, reason, policy)
                return Step(answer: false, ticket: ticket, durability: policy.durability)
            }
            guard var head = standing.head, head.version < before else { return Step(answer: false) }
            let version = try nextVersion()
            if mode == .gone || head.staleTTL == 0 {
                let ticket = remove(&shard, namespace, address, standing, version, .invalidated, policy)
                return Step(answer: true, ticket: ticket, durability: policy.durability)
            }
            // One that is stale already stays so since then.
            head.expiresAt = min(head.expiresAt, moment.now)
            head.version = version
            let ticket = touch(&shard, namespace, address, standing, head, policy, moment)
            return Step(answer: true, ticket: ticket, stored: version, durability: policy.durability)
        }
    }
}

extension Standing {
    var reason: MissReason {
        if case .none(let reason) = self { reason } else { .absent }
    }
}
