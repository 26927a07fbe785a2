import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// The namespaces that there are: by name, by number, and by their slots in memory.
final class Catalogue: Sendable {
    private let tiers: Tiers
    private let background: WorkerPool
    private let registry: Mutex<Registry>
    /// Whose slot is whose, for those who meet an entry under its shard's lock.
    private let slots = Mutex<[NamespaceSlot: Namespace]>([:])
    /// Gets that found their namespace dropped when they came to it. Relaxed: a figure that only grows.
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

    /// The namespace of a name, which need not be in form. Complexity: O(1), one lock.
    func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? {
        namespace(String(decoding: name, as: UTF8.self))
    }

    func namespace(_ name: String) -> Namespace? { registry.withLock { $0.byName[name] } }

    func namespace(_ id: NamespaceID) -> Namespace? { registry.withLock { $0.byID[id] } }

    /// That which a slot in memory belongs to.
    func namespace(at slot: NamespaceSlot) -> Namespace? { slots.withLock { $0[slot] } }

    var bySlot: [NamespaceSlot: Namespace] { slots.withLock { $0 } }

    /// In the order of their names.
    func namespaces() -> [Namespace] {
        registry.withLock { Array($0.byName.values) }.sorted { $0.name.description < $1.name.description }
    }

    var count: Int { registry.withLock { $0.byName.count } }

    var defaultPolicy: Policy { registry.withLock { $0.defaultPolicy } }

    /// Settings that may change while the store runs. `maxNamespaces` counts up to what the store was made with.
    func reconfigure(autoCreate: Bool, maxNamespaces: Int, defaultPolicy: Policy) {
        registry.withLock {
            $0.autoCreate = autoCreate
            $0.maxNamespaces = maxNamespaces
            $0.defaultPolicy = defaultPolicy
        }
    }

    // MARK: Making and dropping

    /// The namespace that a write goes to; made with the default policy where there is none.
    ///
    /// - Parameter check: asked before one is made, with the policy that it would have: what it throws is thrown, and none is made. A write
    ///   that is bound to be refused leaves nothing behind.
    /// - Throws: `namespace_invalid`, `too_many_namespaces`, `namespace_not_found` where writes make none, or `storage_unavailable`.
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
            // Whoever counts does so under a shard's lock and looks for the drop first: what is there now is the whole.
            let tally = tiers.shards.tally(of: namespace.slot)
            let evictions = tiers.memory.usage(namespace.slot).evictions
            registry.withLock {
                $0.retired.tally += tally
                $0.retired.memoryEvictions += evictions
                $0.leaving.removeAll { $0 === namespace }
            }
            slots.withLock { $0[namespace.slot] = nil }
            tiers.shards.detach(namespace.slot)
            // Only now: whoever is answered may make another namespace at once, which needs the slot where all are taken.
            tiers.settle(ticket.map { [$0] } ?? [], .through, true, completion)
        }
    }

    /// A namespace of the previous run.
    private func adopt(_ record: NamespaceRecord) {
        var record = record
        // An earlier version took any number here.
        record.policy.maxValueSize = min(record.policy.maxValueSize, Limits.valueBytes)
        // It has nothing in the lower tier, whatever was left there.
        if record.policy.durability == .memory { record.lowerFrom = max(record.lowerFrom, tiers.versions.latest + 1) }
        guard let slot = attach(record) else { return }
        let namespace = Namespace(record: record, slot: slot)
        slots.withLock { $0[slot] = namespace }
        registry.withLock { $0.add(namespace) }
    }

    /// Makes a namespace. Within `ordered`.
    ///
    /// - Parameter durability: `through` where the caller waits for the record to be synced.
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
        // Whoever sums up finds these gets either here or there: both are looked at under the registry's lock.
        let gets = registry.unmet.take(name.description)
        if gets > 0 { countAbsent(namespace, gets) }
        registry.add(namespace)
        return .success((namespace, tiers.lower?.enqueue(.namespace(record), durability)))
    }

    private func attach(_ record: NamespaceRecord) -> NamespaceSlot? {
        tiers.shards.attach(maxBytes: record.policy.maxMemory, maxEntries: record.policy.maxEntries)
    }

    /// Runs `body` under the lock under which records of namespaces change and are queued for the lower tier, so that both happen in one
    /// order.
    func ordered<Answer>(_ body: (inout Registry) -> Answer) -> Answer { registry.withLock { body(&$0) } }

    // MARK: What is counted besides

    /// Counts gets of a namespace that is not there: misses, like any other get of what is not there.
    ///
    /// - Parameter name: need not be in form; it is then that of no namespace to come.
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
        // It was made since the caller looked.
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

    /// The namespaces that count at present, and what is counted besides: of those that are gone or about to be, and of those that never were.
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

    /// What is counted over all namespaces, or over none.
    struct Sums {
        var namespaces: [Namespace]
        var rest: NamespaceTally
        var memoryEvictions: UInt64
        /// Gets of namespaces that are not there, by name; and of names that are not remembered.
        var unmet: [String: UInt64]
        var unnamedGets: UInt64
    }
}
