import PantlerInsight
import PantlerMemory
package import PantlerModel

// Making, replacing and removing entries.
extension Store {
    /// Makes or replaces an entry.
    ///
    /// Fails with `value_too_large`, `version_mismatch`, `namespace_not_found` (it was dropped), or `storage_…`.
    package func put(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ put: Put,
        completion: @escaping @Sendable (Result<Written, Problem>) -> Void
    ) {
        let answer = self.put(namespace, address, put, at: moment()) { LateAnswer(completion: completion) }
        if let answer { completion(answer) }
    }

    /// The same for one who can take the answer at once, which costs no allocation but for what the tiers keep.
    ///
    /// - Parameter later: asked for if there is no answer yet, and before one can come.
    /// - Returns: the answer; `nil` = it comes later.
    package func put(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ put: Put,
        at moment: Moment,
        later: () -> LateAnswer<Written>
    ) -> Result<Written, Problem>? {
        let policy = namespace.policy
        do throws(Problem) {
            // Once more under the lock: this is for what need not be copied.
            try put.check(policy)
        } catch {
            return .failure(error)
        }
        let large = LargeValue.copy(of: put.value)
        let needsStanding = put.wantsOutcome || !put.condition.isEmpty
        let done = attempt(namespace, address, moment, needsStanding: needsStanding) {
            [self] shard, standing throws(Problem) in
            try make(&shard, standing, moment, namespace, address, put, large)
        }
        if let done { return finish(namespace, address, policy, done, later) }
        // A closure of its own: it outlives this call, and is made only where there is a need.
        writeAfterHead(namespace, address, policy, isConditional: !put.condition.isEmpty, later()) {
            [self] shard, standing, moment throws(Problem) in
            try make(&shard, standing, moment, namespace, address, put, large)
        }
        return nil
    }

    /// The step of a put. Its policy is that of the moment at which it holds the shard's lock, as that of every change: see
    /// `Store.apply`.
    private func make(
        _ shard: inout Shard,
        _ standing: Standing,
        _ moment: Moment,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ put: Put,
        _ large: LargeValue?
    ) throws(Problem) -> Step<Written> {
        let policy = namespace.policy
        try put.check(policy)
        try put.condition.check(standing.version)
        let entry = Entry(
            value: put.value,
            kind: put.kind,
            version: try nextVersion(),
            expiresAt: policy.expiry(put.lifetime, at: moment),
            staleTTL: put.staleTTL ?? policy.staleTTL,
            tags: put.tags
        )
        shard.tally[namespace.slot].puts &+= 1
        let ticket = store(&shard, namespace, address, entry, large, policy, moment)
        let expiresAt = entry.expiresAt.wallTime(aheadBy: moment.wallOffset)
        let written = Written(version: entry.version, expiresAt: expiresAt, isNew: !standing.isPresent)
        return Step(answer: written, ticket: ticket, stored: entry.version, durability: policy.durability)
    }

    /// Removes an entry. Fails with `entry_not_found`, `version_mismatch`, or `storage_…`.
    package func delete(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ condition: Condition,
        completion: @escaping @Sendable (Result<Version, Problem>) -> Void
    ) {
        write(namespace, address, namespace.policy, needsValue: false, LateAnswer(completion: completion)) {
            [self] shard, standing, _ throws(Problem) in
            let policy = namespace.policy
            try condition.check(standing.version)
            if case .none(let reason) = standing {
                let ticket = try removeHidden(&shard, namespace, address, reason, policy)
                return Step(answer: 0, refusal: .notFound(reason), ticket: ticket, durability: policy.durability)
            }
            let version = try nextVersion()
            shard.tally[namespace.slot].deletes &+= 1
            let ticket = remove(&shard, namespace, address, standing, version, .deleted, policy)
            return Step(answer: version, ticket: ticket, durability: policy.durability)
        }
    }
}
