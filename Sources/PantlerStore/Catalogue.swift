import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// The namespaces that there are: by name, by number, and by their slots in memory.
final class Catalogue: Sendable {
    private let tiers: Tiers
    private let background: WorkerPool
    private let registry: Mutex<Registry>
    /// The namespace of each slot, for code that meets an entry under its shard's lock.
    private let slots = Mutex<[NamespaceSlot: Namespace]>([:])
    /// Gets whose namespace was dropped before they reached it. Relaxed: the figure only grows.
    private let lostGets = Atomic<UInt64>(0)

    /// - Parameter state: what the lower tier remembers of the previous run: its namespaces are adopted.
    init(_ options: StoreOptions, _ tiers: Tiers, background: WorkerPool, state: PersistedState) {
        self.tiers = tiers
        self.background = background
        registry = Mutex(Registry(options, nextID: state.nextNamespaceID))
        for record in state.namespaces { adopt(record) }
        for (id, tag, mark) in state.tags { namespace(id)?.marks.restore(tag, mark) }
    }

    // MARK: Which there are

    /// The namespace of a name, which need not be a valid one. Complexity: O(1), one lock.
    func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? {
        namespace(String(decoding: name, as: UTF8.self))
    }

    func namespace(_ name: String) -> Namespace? { registry.withLock { $0.byName[name] } }

    func namespace(_ id: NamespaceID) -> Namespace? { registry.withLock { $0.byID[id] } }

    /// The namespace that a slot in memory belongs to.
    func namespace(at slot: NamespaceSlot) -> Namespace? { slots.withLock { $0[slot] } }

    var bySlot: [NamespaceSlot: Namespace] { slots.withLock { $0 } }

    /// All namespaces, in the order of their names.
    func namespaces() -> [Namespace] {
        registry.withLock { Array($0.byName.values) }.sorted { $0.name.description < $1.name.description }
    }

    var count: Int { registry.withLock { $0.byName.count } }

    var defaultPolicy: Policy { registry.withLock { $0.defaultPolicy } }

    /// Changes settings while the store runs. `maxNamespaces` counts only up to the number that the store was made with.
    func reconfigure(autoCreate: Bool, maxNamespaces: Int, defaultPolicy: Policy) {
        registry.withLock {
            $0.autoCreate = autoCreate
            $0.maxNamespaces = maxNamespaces
            $0.defaultPolicy = defaultPolicy
        }
    }

    // MARK: Making and dropping

    /// The namespace that a write goes to. Where there is none, it is made with the default policy.
    ///
    /// - Parameter check: called before a namespace is made, with the policy that it would have. What it throws is thrown, and no namespace
    ///   is made, so that a write that is bound to be refused leaves nothing behind.
    /// - Throws: `namespace_invalid`, `too_many_namespaces`, `namespace_not_found` where writes make no namespaces, `storage_unavailable`,
    ///   or what `check` throws.
    func forWriting(
        _ name: UnsafeRawBufferPointer,
        check: (Policy) throws(Problem) -> Void
    ) throws(Problem) -> Namespace {
        let text = String(decoding: name, as: UTF8.self)
        if let found = namespace(text) { return found }
        let name = try NamespaceName(text)
        let (policy, autoCreate) = registry.withLock { ($0.defaultPolicy, $0.autoCreate) }
        guard autoCreate else { throw .namespaceNotFound(text) }
        try check(policy)
        if !tiers.versions.hasNext, tiers.versions.allocate() == nil { throw .noVersion }
        let made: Result<Namespace, Problem> = registry.withLock { registry in
            if let found = registry.byName[text] { return .success(found) }
            return make(name, policy, .behind, &registry).map(\.namespace)
        }
        return try made.get()
    }

    /// Removes a namespace with everything in it; answers whether there was one.
    func drop(
        _ name: NamespaceName,
        completion: @escaping @Sendable (Result<Bool, Problem>) -> Void
    ) {
        let done: (Namespace, WriteTicket?)? = registry.withLock { registry in
            guard let found = registry.byName[name.description] else { return nil }
            registry.remove(found)
            found.drop()
            return (found, tiers.lower?.enqueue(.dropNamespace(found.id), .through))
        }
        guard let (namespace, ticket) = done else { return completion(.success(false)) }
        background.async { [self] in
            tiers.endLeases(of: namespace.id, .dropped)
            // Nothing is counted for the namespace any more: whoever counts holds a shard's lock, and looks first whether the namespace was
            // dropped. So this tally is final.
            let tally = tiers.shards.tally(of: namespace.slot)
            let evictions = tiers.memory.usage(namespace.slot).evictions
            registry.withLock {
                $0.retired.tally += tally
                $0.retired.memoryEvictions += evictions
                $0.leaving.removeAll { $0 === namespace }
            }
            slots.withLock { $0[namespace.slot] = nil }
            tiers.shards.detach(namespace.slot)
            // The call is answered only when the slot is free: its caller may make another namespace at once, which needs this slot where
            // all others are taken.
            tiers.settle(ticket.map { [$0] } ?? [], .through, true, completion)
        }
    }

    /// Takes over a namespace of the previous run.
    private func adopt(_ record: NamespaceRecord) {
        var record = record
        // An earlier version of Pantler took any number here.
        record.policy.maxValueSize = min(record.policy.maxValueSize, Limits.valueBytes)
        // Such a namespace has nothing in the lower tier: whatever was left there is void.
        if record.policy.durability == .memory { record.lowerFrom = max(record.lowerFrom, tiers.versions.latest + 1) }
        guard let slot = attach(record) else { return }
        let namespace = Namespace(record: record, slot: slot)
        slots.withLock { $0[slot] = namespace }
        registry.withLock { $0.add(namespace) }
    }

    /// Makes a namespace. To be called under the registry's lock.
    func make(
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
        let record = NamespaceRecord(id: registry.nextID, name: name, policy: policy, createdAt: tiers.clock.now())
        guard let slot = attach(record) else { return .failure(tooMany) }
        registry.nextID += 1
        let namespace = Namespace(record: record, slot: slot)
        slots.withLock { $0[slot] = namespace }
        // A sum has these gets exactly once, either from `unmet` or from the namespace: `counted` looks at both under the registry's lock.
        let gets = registry.unmet.take(name.description)
        if gets > 0 { countAbsent(namespace, gets) }
        registry.add(namespace)
        return .success((namespace, tiers.lower?.enqueue(.namespace(record), durability)))
    }

    private func attach(_ record: NamespaceRecord) -> NamespaceSlot? {
        tiers.shards.attach(maxBytes: record.policy.maxMemory, maxEntries: record.policy.maxEntries)
    }

    /// Runs `body` under the registry's lock. Records of namespaces are changed and queued for the lower tier under this lock, so that both
    /// happen in the same order.
    func ordered<Answer>(_ body: (inout Registry) -> Answer) -> Answer { registry.withLock { body(&$0) } }

    // MARK: What is counted besides

    /// Counts gets of a namespace that is not there. They are misses, like any other get of an entry that is not there.
    ///
    /// - Parameter name: need not be a valid name. No namespace can ever get an invalid one.
    func countUnmet(_ name: UnsafeRawBufferPointer, gets: Int = 1) {
        countUnmet(String(decoding: name, as: UTF8.self), gets: gets)
    }

    func countUnmet(_ name: String, gets: Int = 1) {
        let isLate = registry.withLock { registry -> Namespace? in
            if let found = registry.byName[name] { return found }
            registry.unmet.count(name, UInt64(gets))
            return nil
        }
        guard let namespace = isLate else { return }
        // The namespace was made after the caller had looked for it.
        countAbsent(namespace, UInt64(gets))
    }

    private func countAbsent(_ namespace: Namespace, _ gets: UInt64) {
        tiers.shards.withShard(0) { shard in
            if namespace.isDropped {
                countLost(gets)
            } else {
                shard.tally[namespace.slot].missAbsent &+= gets
            }
        }
    }

    /// Counts gets that came to a namespace after it was dropped.
    func countLost(_ gets: UInt64) { lostGets.wrappingAdd(gets, ordering: .relaxed) }

    /// The namespaces that there are, and the sums of what was counted elsewhere: in namespaces that were dropped, and under names that
    /// have no namespace.
    func counted() -> Sums {
        let (namespaces, retired, leaving, unmet) = registry.withLock {
            (Array($0.byName.values), $0.retired, $0.leaving, $0.unmet)
        }
        let lost = lostGets.load(ordering: .relaxed)
        var rest = retired.tally
        for namespace in leaving { rest += tiers.shards.tally(of: namespace.slot) }
        rest.missAbsent &+= unmet.total &+ lost
        return Sums(
            namespaces: namespaces,
            rest: rest,
            memoryEvictions: retired.memoryEvictions,
            unmet: unmet.byName,
            unnamedGets: unmet.unnamed + lost
        )
    }

    /// The parts of which a sum over everything consists; see `counted`.
    struct Sums {
        var namespaces: [Namespace]
        var rest: NamespaceTally
        var memoryEvictions: UInt64
        /// `unmet` has the gets of namespaces that are not there, by name. `unnamedGets` counts those whose names are not remembered.
        var unmet: [String: UInt64]
        var unnamedGets: UInt64
    }
}
