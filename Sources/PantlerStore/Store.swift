import Dispatch
import PantlerMemory
package import PantlerModel
import Synchronization

/// What a store is made with.
package struct StoreOptions: Sendable {
    /// Bytes of the memory tier; 0 = off.
    package var maxMemory = 256 << 20
    package var shards = 16
    package var maxNamespaces = 1000
    /// Whether the first write into a namespace makes it.
    package var autoCreate = true
    package var defaultPolicy = Policy()

    package init() {}
}

/// The cache itself: namespaces of entries, in memory over at most one lower tier.
///
/// Every call may come from any thread and none blocks. Who calls with a completion gets it exactly once: before the
/// call returns where memory had all that was needed, else on one of the lower tier's threads.
///
/// The store is the door; each kind of call has a type behind it that owns what it needs. What belongs to one entry happens under its
/// shard's lock: there it is judged, changed, given its version, and its change queued for the lower tier, so that versions, memory and
/// queue agree about the order. Locks are taken in the order registry, shard, slots, namespace, lower tier's queue.
package final class Store: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let room: MemoryRoom
    private let lookups: Lookups
    private let writes: EntryWrites
    let merges: Merges
    private let policies: PolicyChanges
    let invalidations: Invalidations
    private let listings: Listings
    private let accounts: Accounts
    private let hotSet: HotSet
    let housekeeping: Housekeeping
    /// The lower tier does not keep it.
    let listener: TierListener
    /// What takes longer than an event loop may be held and nobody waits for but its own caller: namespaces that are dropped, bounds that
    /// became smaller, what is tried again.
    let background = WorkerPool("background")

    /// - Parameters:
    ///   - state: what the lower tier remembers of the previous run.
    ///   - lower: not started yet; `nil` = memory alone.
    package init(_ options: StoreOptions, clock: any Clock, lower: (any LowerTier)?, state: PersistedState) {
        let memory = MemoryTier(
            maxBytes: options.maxMemory,
            shardCount: options.shards,
            // What exists is adopted, however few may be made.
            maxNamespaces: max(options.maxNamespaces, state.namespaces.count)
        )
        tiers = Tiers(ShardTable(memory), lower: lower, clock: clock, state: state)
        catalogue = Catalogue(options, tiers, background: background, state: state)
        room = MemoryRoom(tiers, catalogue)
        accounts = Accounts(tiers, catalogue)
        listener = TierListener(tiers, catalogue)
        listings = Listings(tiers)
        let reads = LowerReads(tiers, room, background: background)
        lookups = Lookups(tiers, catalogue, reads)
        writes = EntryWrites(tiers, reads, room)
        merges = Merges(writes)
        hotSet = HotSet(tiers, catalogue, reads, room)
        housekeeping = Housekeeping(tiers, catalogue, accounts, hotSet)
        policies = PolicyChanges(tiers, catalogue, room, housekeeping, background: background)
        invalidations = Invalidations(tiers, catalogue, writes, housekeeping, background: background)
    }

    // MARK: Life

    /// How often the first versions are asked for: a call that fails once is no reason to be away. The tier pauses in between.
    private static let startAttempts = 5

    /// Reserves the first versions and begins background work. Blocks until the reservation is synced.
    ///
    /// On a full device the service starts all the same: from memory, and over what the lower tier can still read.
    ///
    /// - Throws: the lower tier's fault where nothing can be written for another reason: without a reservation no write could be given a
    ///   version that no crash can make it give again.
    package func start() throws(TierFault) {
        if let lower = tiers.lower {
            lower.start(delegate: listener, clock: tiers.clock)
            var fault = reserveFirst()
            for _ in 1..<Self.startAttempts where fault != nil { fault = reserveFirst() }
            if let fault {
                guard fault.cause == .full else { throw fault }
                tiers.versions.beginUnreserved()
            }
        }
        housekeeping.start()
        hotSet.load()
    }

    private func reserveFirst() -> TierFault? {
        let reserved = DispatchSemaphore(value: 0)
        let outcome = Mutex<TierFault?>(nil)
        tiers.versions.reserveFirst { fault in
            outcome.withLock { $0 = fault }
            reserved.signal()
        }
        reserved.wait()
        return outcome.withLock { $0 }
    }

    /// Ends background work and closes the lower tier, with its queue written. Blocks. No call may be under way or come after.
    package func close() {
        housekeeping.stop()
        invalidations.removeWhatIsHeld()
        hotSet.saveWhole()
        tiers.lower?.close()
    }

    /// A tenth of a second's background work, which the store does by itself once it is started. One thread at a time.
    package func tick() { housekeeping.tick() }

    /// Takes effect with the next inserts.
    package func setMaxMemory(_ bytes: Int) {
        tiers.memory.setMaxBytes(bytes)
        background.async { [self] in room.make(in: 0) }
    }

    // MARK: Time and place

    package func moment() -> Moment { tiers.moment() }

    /// Milliseconds that the wall clock is ahead of the service's time line.
    package var wallOffset: Int64 { tiers.clock.wallOffset }

    /// A moment of the service's time line as callers are told it.
    package func wallTime(_ moment: Timestamp) -> WallTime { tiers.wallTime(moment) }

    package func hash(_ namespace: Namespace, _ key: UnsafeRawBufferPointer) -> UInt64 { tiers.hash(namespace, key) }

    package func address(_ namespace: Namespace, _ key: [UInt8]) -> EntryAddress { tiers.address(namespace, key) }

    // MARK: Namespaces

    /// The namespace of a name, which need not be in form. Complexity: O(1), one lock.
    package func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? { catalogue.namespace(name) }

    package func namespace(_ name: String) -> Namespace? { catalogue.namespace(name) }

    /// In the order of their names.
    package func namespaces() -> [Namespace] { catalogue.namespaces() }

    package var namespaceCount: Int { catalogue.count }

    package var defaultPolicy: Policy { catalogue.defaultPolicy }

    /// Settings that may change while the store runs. `maxNamespaces` counts up to what the store was made with.
    package func reconfigure(autoCreate: Bool, maxNamespaces: Int, defaultPolicy: Policy) {
        catalogue.reconfigure(autoCreate: autoCreate, maxNamespaces: maxNamespaces, defaultPolicy: defaultPolicy)
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
        try catalogue.forWriting(name, check: check)
    }

    /// Counts gets of a namespace that is not there: misses, like any other get of what is not there.
    ///
    /// - Parameter name: need not be in form; it is then that of no namespace to come.
    package func countUnmet(_ name: UnsafeRawBufferPointer, gets: Int = 1) { catalogue.countUnmet(name, gets: gets) }

    package func countUnmet(_ name: String, gets: Int = 1) { catalogue.countUnmet(name, gets: gets) }

    /// Sets a namespace's whole policy; makes the namespace where there is none. Fails with `too_many_namespaces` or `storage_…`.
    package func setPolicy(
        _ name: NamespaceName,
        _ policy: Policy,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        policies.set(name, policy, completion: completion)
    }

    /// Changes a namespace's policy. Fails with `namespace_not_found`, what `change` throws, or `storage_…`.
    package func changePolicy(
        _ name: NamespaceName,
        _ change: (inout Policy) throws(Problem) -> Void,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        policies.change(name, change, completion: completion)
    }

    /// Removes a namespace with everything in it; answers whether there was one.
    package func dropNamespace(
        _ name: NamespaceName,
        completion: @escaping @Sendable (Result<Bool, Problem>) -> Void
    ) {
        catalogue.drop(name, completion: completion)
    }

    // MARK: Gets

    /// Looks for a key in memory, and shows the entry to `body` if it is there and may be seen.
    ///
    /// The way of a hit: one lock, no allocation. `body` runs under the shard's lock: it copies what it wants and calls nothing.
    ///
    /// - Parameter counts: `false` for a peek: nothing is counted, and the entry keeps its place in the order of eviction.
    /// - Complexity: O(1).
    package func lookup(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        _ body: (Found) -> Void
    ) -> Lookup {
        lookups.lookup(namespace, hash, key, moment, counts: counts, body)
    }

    /// The same for one who may find that they do not want what is there: then it is shown to nobody, and neither counted nor
    /// used.
    ///
    /// - Parameter wants: asked about an entry that may be seen, as `body` is shown one.
    /// - Returns: `nil` where `wants` said no.
    package func lookup(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        wants: (EntryView) -> Bool,
        _ body: (Found) -> Void
    ) -> Lookup? {
        lookups.lookup(namespace, hash, key, moment, counts: counts, wants: wants, body)
    }

    /// Looks for many keys in memory, in their order: shows each entry that is there to `hit` as `lookup` does, and tells
    /// `other` what is said of a key that is not, with its place in the order. All are counted but those that are omitted.
    ///
    /// - Parameters:
    ///   - keys: where in `text` each key stands.
    ///   - fits: whether an entry that may be seen is wanted. Asked under the shard's lock, before `hit`.
    /// - Complexity: O(keys). Each is looked for under a lock of its own.
    package func lookup(
        _ namespace: Namespace,
        _ text: UnsafeRawBufferPointer,
        _ keys: [Range<Int>],
        _ moment: Moment,
        fits: (Found) -> Bool,
        hit: (Found) -> Void,
        other: (Int, BatchLookup) -> Void
    ) {
        lookups.lookup(namespace, text, keys, moment, fits: fits, hit: hit, other: other)
    }

    /// Answers a get that memory could not, by the lower tier, and takes what is found into memory.
    ///
    /// A fault of the tier is a miss, and counted as a fault too. Many that ask for one key at a time cause one read.
    ///
    /// - Parameters:
    ///   - admits: whether a value of so many bytes may be read. Asked on the tier's threads, before it is. `nil` = any.
    ///   - wants: asked about an entry that is found; where it says no, nothing is counted. `nil` = whatever it is.
    package func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        admits: ReadAdmission? = nil,
        wants: (@Sendable (LoadedHit) -> Bool)? = nil,
        completion: @escaping @Sendable (LoadResult) -> Void
    ) {
        lookups.load(namespace, address, counts: counts, admits: admits, wants: wants, completion: completion)
    }

    /// One page of a namespace's keys in byte order: entries that may be seen now, beginning with `prefix`, after `after`.
    ///
    /// Blocks no writer: it holds a lock for a thousand records at most, or reads a snapshot of the lower tier. An entry that is
    /// there the whole time is listed; one that comes or goes meanwhile may be. Fails with `storage_…`.
    ///
    /// Complexity: O(page) where the lower tier has everything. O(the namespace's entries in memory) for one that is only there, and
    /// for one of which the lower tier had to let entries go.
    package func list(
        _ namespace: Namespace,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<Listing, Problem>) -> Void
    ) {
        listings.list(namespace, prefix: prefix, after: after, limit: limit, completion: completion)
    }

    // MARK: Writes

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
        do throws(Problem) {
            // The step looks once more: this is for what need not be copied.
            try put.check(namespace.policy)
        } catch {
            return .failure(error)
        }
        return writes.write(PutStep(put), namespace, address, at: moment, later: later)
    }

    /// Removes an entry. Fails with `entry_not_found`, `version_mismatch`, or `storage_…`.
    package func delete(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ condition: Condition,
        completion: @escaping @Sendable (Result<Version, Problem>) -> Void
    ) {
        writes.write(DeleteStep(condition: condition), namespace, address) { completion($0.map(\.version)) }
    }

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
        if let value = patch.value { return merges.merge(namespace, address, value, patch, completion) }
        writes.write(TouchStep(patch: patch), namespace, address, completion: completion)
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
        writes.write(CountStep(counter: counter), namespace, address, completion: completion)
    }

    /// Ends many entries at once, or makes them stale.
    ///
    /// Tags and `all` take constant time: a mark is set, and each entry is judged by it when it is met. Keys take their number;
    /// a prefix takes a walk over the namespace, in small steps in the background. Fails with `storage_…`, and with `overloaded` where
    /// too many prefixes are under way.
    package func invalidate(
        _ namespace: Namespace,
        _ what: Invalidation,
        mode: InvalidationMode,
        completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        invalidations.invalidate(namespace, what, mode: mode, completion: completion)
    }

    // MARK: Figures

    /// Complexity: O(shards).
    package func statistics(_ namespace: Namespace) -> NamespaceStatistics { accounts.statistics(namespace) }

    /// Complexity: O(shards x namespaces).
    package func statistics() -> StoreStatistics { accounts.statistics() }

    package var uptimeMilliseconds: Int64 { accounts.uptimeMilliseconds }

    /// What is wrong with the lower tier; `nil` while all is well.
    package func readiness() -> TierFault? { tiers.lower?.health().fault ?? invalidations.fault }
}
