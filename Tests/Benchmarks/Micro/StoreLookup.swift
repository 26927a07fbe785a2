internal import PantlerMemory
internal import PantlerModel
internal import PantlerStore
internal import Synchronization

extension BenchmarkGroup {
    private static let entries = 100_000

    /// The store over memory alone: hash, lock, freshness, counting.
    static func store() throws -> BenchmarkGroup {
        var options = StoreOptions()
        options.maxMemory = 256 << 20
        let clock = ServiceClock(readings: .system(), resuming: nil)
        let store = Store(options, clock: clock, lower: nil, state: PersistedState())
        try store.start()
        let made = Mutex<Namespace?>(nil)
        store.setPolicy(try NamespaceName("bench"), Policy()) { result in
            made.withLock { $0 = try? result.get().namespace }
        }
        guard let namespace = made.withLock({ $0 }) else { throw Failure("the store makes no namespace") }
        let keys = Samples.shuffled(entries).map(Samples.key)
        let strangers = (entries..<2 * entries).map(Samples.key)
        let put = Put(value: Samples.value(1), kind: .json, wantsOutcome: false)
        let stored = Atomic(0)
        let writeAll = {
            for key in keys {
                store.put(namespace, store.address(namespace, key), put) { result in
                    if case .success = result { stored.wrappingAdd(1, ordering: .relaxed) }
                }
            }
            return stored.load(ordering: .relaxed)
        }
        guard writeAll() == entries else { throw Failure("the store does not take its entries") }
        let moment = store.moment()
        let lookUp = { (keys: [[UInt8]], isThere: Bool) throws -> Int in
            var bytes = 0
            for key in keys {
                key.withUnsafeBytes { key in
                    let hash = store.hash(namespace, key)
                    _ = store.lookup(namespace, hash, key, moment, counts: true) { bytes &+= $0.entry.value.count }
                }
            }
            guard isThere == (bytes > 0) else { throw Failure("a lookup did not find what it should") }
            return bytes
        }
        return BenchmarkGroup([
            Benchmark("store: lookup, hit", operations: entries) { try lookUp(keys, true) },
            Benchmark("store: lookup, miss", operations: entries) { try lookUp(strangers, false) },
            Benchmark("store: put, memory alone", operations: entries) { writeAll() },
        ]) {
            store.close()
        }
    }
}
