import PantlerInsight
import PantlerMemory
import PantlerModel

// Writes that need not know the value that stands there: whether there is an entry, its version and its life are told by its head, which
// is read without the value.

/// What a read of a head came to.
private enum LoadedHead {
    case found(EntryHead)
    case missing
    /// The key was written meanwhile: look again.
    case outdated
    case fault(TierFault)
}

extension Store {
    /// As `writeAfterLoad`, for a step that does not look at the value.
    func writeAfterHead<Answer: Sendable>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ policy: Policy,
        isConditional: Bool,
        isHolder: Bool = false,
        _ late: LateAnswer<Answer>,
        step: @escaping @Sendable (inout Shard, Standing, Moment) throws(Problem) -> Step<Answer>
    ) {
        let again: @Sendable () -> Void = { [self] in
            write(
                namespace,
                address,
                policy,
                isConditional: isConditional,
                needsValue: false,
                isHolder: isHolder,
                late,
                step: step
            )
        }
        if !isHolder, waitsForHolder(address, again) { return }
        awaitHead(namespace, address) { [self] shard, loaded in
            let moment = self.moment()
            let standing: Standing
            if let found = stands(&shard, namespace, address, moment) {
                standing = found
            } else {
                switch loaded {
                case .outdated: return again
                case .fault(let fault):
                    shard.tally[namespace.slot].tierFaults &+= 1
                    if isConditional { return { late.completion(.failure(.unreadable(fault))) } }
                    standing = .none(.absent)
                case .missing: standing = .none(shard.missMemory.reason(for: address.hash) ?? .absent)
                case .found(let head): standing = judge(head, namespace, moment, Standing.head)
                }
            }
            let done = run(&shard, namespace, standing) { shard, standing throws(Problem) in
                try step(&shard, standing, moment)
            }
            return { [self] in
                if let answer = finish(namespace, address, policy, done, { late }) { late.completion(answer) }
            }
        }
    }

    private func awaitHead(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ waiter: @escaping @Sendable (inout Shard, LoadedHead) -> (@Sendable () -> Void)?
    ) {
        var number: UInt64 = 0
        shards.withShard(address.hash) { number = $0.loads.heads.begin(address) }
        let begun = number
        let finish: @Sendable (Result<EntryHead?, TierFault>) -> Void = { [self] result in
            var action: (@Sendable () -> Void)?
            shards.withShard(address.hash) { shard in
                let isCurrent = shard.loads.heads.end(address, begun)
                action = waiter(&shard, isCurrent ? loaded(namespace, address, result) : .outdated)
            }
            action?()
        }
        guard let lower else { return finish(.success(nil)) }
        lower.readHead(address, completion: finish)
    }

    private func loaded(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ result: Result<EntryHead?, TierFault>
    ) -> LoadedHead {
        switch result {
        case .failure(let fault): return .fault(fault)
        case .success(nil): return .missing
        case .success(let head?):
            return namespace.isVoid(address.key, version: head.version) ? .missing : .found(head)
        }
    }

    // MARK: Touches

    /// Gives an entry another head, where it is: its value is neither copied nor read.
    func touch(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ head: EntryHead,
        _ policy: Policy,
        _ moment: Moment
    ) -> WriteTicket? {
        guard let base = standing.version else { return nil }
        shard.loads.invalidate(address.hash)
        // What is on its way into the lower tier may not be there yet.
        let whole = namespace.isEntering ? standing.entry : nil
        if case .memory(let ref, let view) = standing {
            touch(&shard, namespace, address, ref, view, head, moment)
        }
        guard let lower, policy.durability != .memory else { return nil }
        if var entry = whole {
            entry.version = head.version
            entry.expiresAt = head.expiresAt
            entry.staleTTL = head.staleTTL
            entry.tags = head.tags
            return lower.enqueue(.put(address, entry, PutOptions(policy)), policy.durability)
        }
        return lower.enqueue(.touch(address, Touch(bases: [base], head: head)), policy.durability)
    }

    private func touch(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ref: EntryRef,
        _ view: EntryView,
        _ head: EntryHead,
        _ moment: Moment
    ) {
        let tags = view.encodedTags.isEmpty ? [] : view.tags()
        if tags == head.tags {
            shard.memory.setLife(ref, version: head.version, expiresAt: head.expiresAt, staleTTL: head.staleTTL)
            if let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }) {
                shard.memory.promote(ref, now: moment.access)
            }
            return
        }
        // Tags stand in one block with a small value; a large one is taken over as it is.
        let content = EntryContent(
            value: view.value,
            isJSON: view.isJSON,
            mediaType: view.mediaType,
            tags: head.tags,
            version: head.version,
            expiresAt: head.expiresAt,
            staleTTL: head.staleTTL,
            largeValue: shard.memory.largeValue(ref)
        )
        let outcome = address.key.withUnsafeBytes { key in
            shard.memory.insert(address.hash, namespace.slot, key, content, now: moment.access)
        }
        if outcome == .rejected { shard.missMemory.record(address.hash, .rejected) }
    }
}
