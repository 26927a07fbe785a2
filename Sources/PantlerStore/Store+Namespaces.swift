import PantlerInsight
import PantlerMemory
package import PantlerModel
import Synchronization

extension Store {
    /// The namespace of a name, which need not be in form. Complexity: O(1), one lock.
    package func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? {
        namespace(String(decoding: name, as: UTF8.self))
    }

    package func namespace(_ name: String) -> Namespace? { registry.withLock { $0.byName[name] } }

    func namespace(_ id: NamespaceID) -> Namespace? { registry.withLock { $0.byID[id] } }

    /// In the order of their names.
    package func namespaces() -> [Namespace] {
        registry.withLock { Array($0.byName.values) }.sorted { $0.name.description < $1.name.description }
    }

    package var namespaceCount: Int { registry.withLock { $0.byName.count } }

    package var defaultPolicy: Policy { registry.withLock { $0.defaultPolicy } }

    /// Settings that may change while the store runs. `maxNamespaces` counts up to what the store was made with.
    package func reconfigure(autoCreate: Bool, maxNamespaces: Int, defaultPolicy: Policy) {
        registry.withLock {
            $0.autoCreate = autoCreate
            $0.maxNamespaces = maxNamespaces
            $0.defaultPolicy = defaultPolicy
        }
    }

    /// The namespace that a write goes to; made with the default policy where there is none.
    ///
    /// - Parameter check: asked before one is made, with the policy that it would have: what it throws is thrown, and none is made. A write
    ///   that is bound to be refused leaves nothing behind.
    /// - Throws: `namespace_invalid`, `too_many_namespaces`, `namespace_not_found` where writes make none, or `storage_unavailable`.
    package func namespaceForWriting(
        _ name: UnsafeRawBufferPointer,
        check: (Policy) throws(Problem) -> Void
    ) throws(Problem) -> Namespace {
        let text = String(decoding: name, as: UTF8.self)
        if let found = namespace(text) { return found }
        let name = try NamespaceName(text)
        let (policy, autoCreate) = registry.withLock { ($0.defaultPolicy, $0.autoCreate) }
        guard autoCreate else { throw .namespaceNotFound(text) }
        try check(policy)
        if !versions.hasNext, versions.allocate() == nil { throw .noVersion }
        let made: Result<Namespace, Problem> = registry.withLock { registry in
            if let found = registry.byName[text] { return .success(found) }
            return make(name, policy, .behind, &registry).map(\.namespace)
        }
        return try made.get()
    }

    /// Counts gets of a namespace that is not there: misses, like any other get of what is not there.
    ///
    /// - Parameter name: need not be in form; it is then that of no namespace to come.
    package func countUnmet(_ name: UnsafeRawBufferPointer, gets: Int = 1) {
        countUnmet(String(decoding: name, as: UTF8.self), gets: gets)
    }

    package func countUnmet(_ name: String, gets: Int = 1) {
        let isLate = registry.withLock { registry -> Namespace? in
            if let found = registry.byName[name] { return found }
            registry.unmet.count(name, UInt64(gets))
            return nil
        }
        guard let namespace = isLate else { return }
        // It was made since the caller looked.
        countAbsent(namespace, UInt64(gets))
    }

    private func countAbsent(_ namespace: Namespace, _ gets: UInt64) {
        shards.withShard(0) { shard in
            if namespace.isDropped {
                lostGets.wrappingAdd(gets, ordering: .relaxed)
            } else {
                shard.tally[namespace.slot].missAbsent &+= gets
            }
        }
    }

    /// Sets a namespace's whole policy; makes the namespace where there is none. Fails with `too_many_namespaces` or `storage_…`.
    package func setPolicy(
        _ name: NamespaceName,
        _ policy: Policy,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        let done: Result<(PolicySet, PolicyTurn), Problem> = registry.withLock { registry in
            if let found = registry.byName[name.description] {
                return .success((PolicySet(namespace: found, isNew: false), apply(policy, to: found)))
            }
            return make(name, policy, .through, &registry).map {
                (PolicySet(namespace: $0.namespace, isNew: true), PolicyTurn(ticket: $0.ticket))
            }
        }
        settle(done, completion)
    }

    /// Changes a namespace's policy. Fails with `namespace_not_found`, what `change` throws, or `storage_…`.
    package func changePolicy(
        _ name: NamespaceName,
        _ change: (inout Policy) throws(Problem) -> Void,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        let done: Result<(PolicySet, PolicyTurn), Problem> = registry.withLock { registry in
            guard let found = registry.byName[name.description] else {
                return .failure(.namespaceNotFound(name.description))
            }
            var policy = found.policy
            do throws(Problem) {
                try change(&policy)
            } catch {
                return .failure(error)
            }
            return .success((PolicySet(namespace: found, isNew: false), apply(policy, to: found)))
        }
        settle(done, completion)
    }

    /// Removes a namespace with everything in it; answers whether there was one.
    package func dropNamespace(
        _ name: NamespaceName,
        completion: @escaping @Sendable (Result<Bool, Problem>) -> Void
    ) {
        let done: (Namespace, WriteTicket?)? = registry.withLock { registry in
            guard let found = registry.byName[name.description] else { return nil }
            registry.remove(found)
            found.drop()
            return (found, lower?.enqueue(.dropNamespace(found.id), .through))
        }
        guard let (namespace, ticket) = done else { return completion(.success(false)) }
        background.async { [self] in
            // Whoever counts does so under a shard's lock and looks for the drop first: what is there now is the whole.
            let tally = tally(of: namespace)
            let evictions = memory.usage(namespace.slot).evictions
            registry.withLock {
                $0.retired.tally += tally
                $0.retired.memoryEvictions += evictions
                $0.leaving.removeAll { $0 === namespace }
            }
            slots.withLock { $0[namespace.slot] = nil }
            shards.detach(namespace.slot)
            // Only now: whoever is answered may make another namespace at once, which needs the slot where all are taken.
            settle(.success((true, ticket)), completion)
        }
    }

    /// A namespace of the previous run.
    func adopt(_ record: NamespaceRecord) {
        var record = record
        // An earlier version took any number here.
        record.policy.maxValueSize = min(record.policy.maxValueSize, Limits.valueBytes)
        // It has nothing in the lower tier, whatever was left there.
        if record.policy.durability == .memory { record.lowerFrom = max(record.lowerFrom, versions.latest + 1) }
        guard let slot = attach(record) else { return }
        let namespace = Namespace(record: record, slot: slot)
        slots.withLock { $0[slot] = namespace }
        registry.withLock { $0.add(namespace) }
    }

    /// - Parameter durability: `through` where the caller waits for the record to be synced.
    private func make(
        _ name: NamespaceName,
        _ policy: Policy,
        _ durability: Durability,
        _ registry: inout Registry
    ) -> Result<(namespace: Namespace, ticket: WriteTicket?), Problem> {
        let limit = registry.maxNamespaces
        let tooMany = Problem(
            .tooManyNamespaces,
            "There are \(registry.byName.count) namespaces already, of at most \(limit): delete one, or raise `namespaces.max_namespaces`."
        )
        guard registry.byName.count < limit else { return .failure(tooMany) }
        let record = NamespaceRecord(id: registry.nextID, name: name, policy: policy, createdAt: clock.now())
        guard let slot = attach(record) else { return .failure(tooMany) }
        registry.nextID += 1
        let namespace = Namespace(record: record, slot: slot)
        slots.withLock { $0[slot] = namespace }
        // Whoever sums up finds these gets either here or there: both are looked at under the registry's lock.
        let gets = registry.unmet.take(name.description)
        if gets > 0 { countAbsent(namespace, gets) }
        registry.add(namespace)
        return .success((namespace, lower?.enqueue(.namespace(record), durability)))
    }

    private func attach(_ record: NamespaceRecord) -> NamespaceSlot? {
        shards.attach(maxBytes: record.policy.maxMemory, maxEntries: record.policy.maxEntries)
    }

    /// Answers once a change is as durable as a change of a namespace is to be: synced.
    func settle<Answer: Sendable>(
        _ done: Result<(Answer, WriteTicket?), Problem>,
        _ completion: @escaping @Sendable (Result<Answer, Problem>) -> Void
    ) {
        switch done {
        case .failure(let problem): completion(.failure(problem))
        case .success((let answer, let ticket)):
            guard let lower, let ticket else { return completion(.success(answer)) }
            let isSettled = lower.settle(ticket, .through) { fault in
                completion(fault.map { .failure(.storage($0)) } ?? .success(answer))
            }
            if isSettled { completion(.success(answer)) }
        }
    }
}
