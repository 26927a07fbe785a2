import PantlerMemory
import PantlerModel
import PantlerStore
import Support
import Synchronization

/// A store with a clock that a test moves, and calls that wait for their answers.
struct StoreDriver: Sendable {
    let store: Store
    let tier: FakeTier?
    let clock: ManualClock

    init(
        tier: FakeTier? = FakeTier(),
        clock: ManualClock = ManualClock(),
        _ change: (inout StoreOptions) -> Void = { _ in }
    ) throws {
        var options = StoreOptions()
        options.maxMemory = 16 << 20
        change(&options)
        self.tier = tier
        self.clock = clock
        store = Store(options, clock: clock, lower: tier, state: tier?.persistedState() ?? PersistedState())
        try store.start()
    }

    /// The next run on the same lower tier.
    func restarted() throws -> StoreDriver {
        store.close()
        return try StoreDriver(tier: tier?.reopened(), clock: clock)
    }

    func namespace(_ name: String = "ns", _ change: (inout Policy) -> Void = { _ in }) throws -> Namespace {
        var policy = Policy()
        change(&policy)
        let answer = Answer<PolicySet>()
        store.setPolicy(try NamespaceName(name), policy, completion: answer.give)
        return try answer.get().namespace
    }

    @discardableResult
    func put(
        _ ns: Namespace,
        _ key: String,
        _ value: String = "1",
        ttl: Int64? = nil,
        staleTTL: Int64? = nil,
        tags: [EntryTag] = [],
        condition: Condition = .none
    ) throws -> Written {
        let answer = Answer<Written>()
        let put = Put(
            value: Array(value.utf8),
            kind: .json,
            lifetime: ttl.map { .milliseconds($0) } ?? .byPolicy,
            staleTTL: staleTTL,
            tags: tags,
            condition: condition
        )
        store.put(ns, address(ns, key), put, completion: answer.give)
        return try answer.get()
    }

    /// Puts a negative entry.
    @discardableResult
    func putAbsent(
        _ ns: Namespace,
        _ key: String,
        _ lifetime: Lifetime = .byPolicy,
        tags: [EntryTag] = [],
        condition: Condition = .none
    ) throws -> Written {
        let answer = Answer<Written>()
        let put = Put(value: [], kind: .absent, lifetime: lifetime, tags: tags, condition: condition)
        store.put(ns, address(ns, key), put, completion: answer.give)
        return try answer.get()
    }

    @discardableResult
    func delete(_ ns: Namespace, _ key: String, _ condition: Condition = .none) throws -> Version {
        let answer = Answer<Version>()
        store.delete(ns, address(ns, key), condition, completion: answer.give)
        return try answer.get()
    }

    func count(_ ns: Namespace, _ key: String, _ counter: CounterAdd = CounterAdd()) throws -> Counted {
        let answer = Answer<Counted>()
        store.count(ns, address(ns, key), counter, completion: answer.give)
        return try answer.get()
    }

    func patch(_ ns: Namespace, _ key: String, _ patch: Patch) throws -> Written {
        let answer = Answer<Written>()
        store.patch(ns, address(ns, key), patch, completion: answer.give)
        return try answer.get()
    }

    @discardableResult
    func invalidate(_ ns: Namespace, _ what: Invalidation, _ mode: InvalidationMode = .gone) throws -> Invalidated {
        let answer = Answer<Invalidated>()
        store.invalidate(ns, what, mode: mode, completion: answer.give)
        return try answer.get()
    }

    func list(_ ns: Namespace, prefix: String = "", after: [UInt8]? = nil, limit: Int = 1000) throws -> Listing {
        let answer = Answer<Listing>()
        store.list(ns, prefix: Array(prefix.utf8), after: after, limit: limit, completion: answer.give)
        return try answer.get()
    }

    func address(_ ns: Namespace, _ key: String) -> EntryAddress { store.address(ns, Array(key.utf8)) }

    /// What a get says: the value with its tier or `stale`, or the reason of the miss; of a negative entry, that and its tier.
    func get(_ ns: Namespace, _ key: String, counts: Bool = true) throws -> String {
        let address = address(ns, key)
        var seen = ""
        let result = address.key.withUnsafeBytes { key in
            store.lookup(ns, address.hash, key, store.moment(), counts: counts) { found in
                let value = found.entry.isAbsent ? "negative" : String(decoding: found.entry.value, as: UTF8.self)
                seen = describe(value, found.tier, found.staleSince)
            }
        }
        switch result {
        case .hit, .absent: return seen
        case .missing(let reason): return reason.name
        case .below, .omitted:
            let answer = Answer<String>()
            store.load(ns, address, counts: counts) { answer.give(.success(describe($0))) }
            return try answer.get()
        }
    }
}

func describe(_ result: LoadResult) -> String {
    switch result {
    case .missing(let reason): return reason.name
    case .larger(let size): return "larger: \(size)"
    case .absent(let hit): return describe("negative", hit.tier, hit.staleSince)
    case .hit(let hit):
        var value: [UInt8] = []
        // Whose it is does not show in the value.
        hit.withFound(EntryAddress(namespace: 0, key: [], hash: 0)) { value = Array($0.entry.value) }
        return describe(String(decoding: value, as: UTF8.self), hit.tier, hit.staleSince)
    }
}

private func describe(_ value: String, _ tier: Tier, _ staleSince: Timestamp?) -> String {
    "\(value) \(staleSince == nil ? tier.rawValue : "stale")"
}

/// An answer that is waited for.
final class Answer<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, Problem>?>(nil)

    func give(_ answer: Result<Value, Problem>) { result.withLock { $0 = answer } }

    var isThere: Bool { result.withLock { $0 != nil } }

    func get() throws -> Value {
        let answer: Result<Value, Problem> = try eventually("an answer comes") { self.result.withLock { $0 } }
        return try answer.get()
    }
}
