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
    package var leases = LeaseLimits()
    /// Whether the first write into a namespace makes it.
    package var autoCreate = true
    package var defaultPolicy = Policy()

    package init() {}
}

/// The cache itself: namespaces of entries, in memory over at most one lower tier.
///
/// Calls may come from any thread, and only `start` and `close` block. A completion is called exactly once: before the call returns where
/// memory had all that was needed, else on a thread of the store's or of the lower tier's.
///
/// The store only passes calls on: behind it, each kind of call has a type that owns what it needs. What belongs to one entry happens under
/// its shard's lock: there the entry is judged and changed, the change gets its version and is queued for the lower tier, so that versions,
/// memory and queue agree about the order. Locks are taken in the order registry, shard, slots, namespace, lower tier's queue.
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
    let leases: Leases
    private let accounts: Accounts
    private let hotSet: HotSet
    let housekeeping: Housekeeping
    /// Who may call, where a listener asks for that.
    package let tokens: Tokens
    /// The store keeps the listener, because the lower tier has only a weak reference to it.
    let listener: TierListener
    /// Does work that would hold an event loop for too long, and that nobody but its caller waits for: it empties namespaces that were
    /// dropped, makes room where bounds became smaller, and tries again what has failed.
    let background = WorkerPool("background")

    /// - Parameters:
    ///   - state: what the lower tier remembers of the previous run.
    ///   - lower: not started yet; `nil` = memory alone.
    package init(_ options: StoreOptions, clock: any Clock, lower: (any LowerTier)?, state: PersistedState) {
        let memory = MemoryTier(
            maxBytes: options.maxMemory,
            shardCount: options.shards,
            // Namespaces that exist are adopted, even where fewer may be made.
            maxNamespaces: max(options.maxNamespaces, state.namespaces.count)
        )
        tiers = Tiers(ShardTable(memory, leases: options.leases), lower: lower, clock: clock, state: state)
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
        leases = Leases(tiers, catalogue, lookups, reads)
        tokens = Tokens(state.tokens, lower: lower)
        housekeeping = Housekeeping(tiers, catalogue, accounts, hotSet, leases, tokens)
        policies = PolicyChanges(tiers, catalogue, room, housekeeping, background: background)
        invalidations = Invalidations(tiers, catalogue, writes, housekeeping, background: background)
    }

    // MARK: Life

    /// How often the reservation of the first versions is tried: a call that fails once is no reason not to start. The lower tier pauses in
    /// between.
    private static let startAttempts = 5

    /// Reserves the first versions and begins background work. Blocks until the reservation is synced.
    ///
    /// On a full device the service starts all the same: from memory, and over what the lower tier can still read.
    ///
    /// - Throws: the lower tier's fault where nothing can be written for another reason. Without a reservation, versions could be given a
    ///   second time after a crash.
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
        tokens.saveUse(limit: .max)
        tiers.lower?.close()
    }

    /// Does a tenth of a second's background work. The store does this by itself once it is started. Called by one thread at a time.
    package func tick() { housekeeping.tick() }

    /// Sets the bound of the memory tier, in bytes. Entries are evicted until it holds, in the background.
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

    /// The namespace of a name, which need not be a valid one. Complexity: O(1), one lock.
    package func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? { catalogue.namespace(name) }

    package func namespace(_ name: String) -> Namespace? { catalogue.namespace(name) }

    /// All namespaces, in the order of their names.
    package func namespaces() -> [Namespace] { catalogue.namespaces() }

    package var namespaceCount: Int { catalogue.count }

    package var defaultPolicy: Policy { catalogue.defaultPolicy }

    /// Changes settings while the store runs. `maxNamespaces` counts only up to the number that the store was made with.
    package func reconfigure(autoCreate: Bool, maxNamespaces: Int, defaultPolicy: Policy) {
        catalogue.reconfigure(autoCreate: autoCreate, maxNamespaces: maxNamespaces, defaultPolicy: defaultPolicy)
    }

    /// The namespace that a write goes to. Where there is none, it is made with the default policy.
    ///
    /// - Parameter check: called before a namespace is made, with the policy that it would have. What it throws is thrown, and no namespace
    ///   is made, so that a write that is bound to be refused leaves nothing behind.
    /// - Throws: `namespace_invalid`, `too_many_namespaces`, `namespace_not_found` where writes make no namespaces, `storage_unavailable`,
    ///   or what `check` throws.
    package func namespaceForWriting(
        _ name: UnsafeRawBufferPointer,
        check: (Policy) throws(Problem) -> Void
    ) throws(Problem) -> Namespace {
        try catalogue.forWriting(name, check: check)
    }

    /// Counts gets of a namespace that is not there. They are misses, like any other get of an entry that is not there.
    ///
    /// - Parameter name: need not be a valid name. No namespace can ever get an invalid one.
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
    /// A hit takes one lock, and allocates nothing. `body` runs under the shard's lock: it copies what it wants and calls nothing.
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

    /// Looks for many keys in memory, in their order. Each entry that is there is shown to `hit`, as the other `lookup` shows one. For each
    /// other key `other` is told its place in the order and what memory says of it. All keys are counted except those whose entries are
    /// omitted.
    ///
    /// - Parameters:
    ///   - keys: where in `text` each key stands.
    ///   - countsMisses: whether keys without an entry are counted.
    ///   - fits: tells whether an entry that may be seen is wanted. It is called under the shard's lock, before `hit`.
    /// - Complexity: O(keys). The lock is taken for each key by itself.
    package func lookup(
        _ namespace: Namespace,
        _ text: UnsafeRawBufferPointer,
        _ keys: [Range<Int>],
        _ moment: Moment,
        countsMisses: Bool = true,
        fits: (Found) -> Bool,
        hit: (Found) -> Void,
        other: (Int, BatchLookup) -> Void
    ) {
        lookups.lookup(namespace, text, keys, moment, countsMisses: countsMisses, fits: fits, hit: hit, other: other)
    }

    /// Answers a get that memory could not answer, from the lower tier. If the get counts, what is found is taken into memory.
    ///
    /// A fault of the tier is a miss, and counted as a fault too. Calls that ask for one key at the same time share one read.
    ///
    /// - Parameters:
    ///   - admits: tells whether a value of so many bytes may be read; see `ReadAdmission`. `nil` = any value may.
    ///   - wants: tells whether an entry that is found is wanted. Where it is not, nothing is counted. It is called under the shard's lock.
    ///     `nil` = any entry is.
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
    /// The call blocks no writer: it holds a lock for a thousand records at most, or reads a snapshot of the lower tier. An entry that is
    /// there the whole time is listed; one that comes or goes meanwhile may be. The call fails with `storage_…`.
    ///
    /// Complexity: O(page) where the lower tier has everything. O(the namespace's entries in memory) for a namespace that is only in memory
    /// or on its way into the lower tier, and as soon as that has a fault, or has evicted or lost any entry.
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
    /// Fails with `value_too_large`, `version_mismatch`, `namespace_not_found` (the namespace was dropped), or `storage_…`.
    package func put(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ put: Put,
        completion: @escaping @Sendable (Result<Written, Problem>) -> Void
    ) {
        let answer = self.put(namespace, address, put, at: moment()) { LateAnswer(completion: completion) }
        if let answer { completion(answer) }
    }

    /// Makes or replaces an entry like the `put` above, but returns the answer where it is there at once. That allocates nothing but what
    /// the tiers keep.
    ///
    /// - Parameter later: called if there is no answer yet, and before one can come.
    /// - Returns: the answer; `nil` = it comes later.
    package func put(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ put: Put,
        at moment: Moment,
        later: () -> LateAnswer<Written>
    ) -> Result<Written, Problem>? {
        do throws(Problem) {
            // This check spares the copy of a value that is too large. The step checks again, under the lock.
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
    /// Fails with `entry_not_found` (nothing is there, and no initial value was given), `not_an_integer`, `counter_overflow`, or
    /// `storage_…`.
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
    /// Tags and `all` take constant time: a mark is set, and each entry is judged by it when it is met. Keys take time in proportion to
    /// their number; a prefix takes a walk over the namespace, in small steps in the background. The call fails with `storage_…`, and with
    /// `overloaded` where too many prefixes are under way.
    package func invalidate(
        _ namespace: Namespace,
        _ what: Invalidation,
        mode: InvalidationMode,
        completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        invalidations.invalidate(namespace, what, mode: mode, completion: completion)
    }

    // MARK: Leases

    /// Looks for a key in memory for a caller who would take its lease, like `lookup`. A stale entry counts as a hit while its lease is
    /// not to be had. Nothing is refreshed early by this.
    ///
    /// - Returns: whether there was a hit, and `body` was called. Where there was none nothing is counted: ask `lease`.
    /// - Complexity: O(1).
    package func hit(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        _ body: (Found) -> Void
    ) -> Bool {
        leases.hit(namespace, hash, key, moment, body)
    }

    /// The entry of a key, or else its lease; see `LeaseAnswer`. Where somebody else has the lease, the call waits for the fill as long as
    /// it is asked to.
    ///
    /// Of those who ask for a key without an entry, one is given the lease. So it is with a stale entry, but nobody waits then: the others
    /// have the stale entry at once. Where the namespace's policy says so (`early_refresh`), a caller may be given the lease of an entry
    /// that is about to expire.
    ///
    /// - Parameters:
    ///   - admits, wants: see `load`.
    ///   - wakes: runs what is to be done once a wait has ended. A fill may end thousands of waits at once, which it should not hold up.
    ///   - completion: called at most once; not after `cancel`, but for an answer that is on its way by then.
    /// - Returns: the call, to be cancelled if its caller is gone.
    @discardableResult
    package func lease(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ask: LeaseAsk,
        admits: ReadAdmission? = nil,
        wants: (@Sendable (LoadedHit) -> Bool)? = nil,
        wakes: @escaping LeaseCall.Runner = { $0() },
        completion: @escaping @Sendable (LeaseAnswer) -> Void
    ) -> LeaseCall {
        let call = LeaseCall(
            leases,
            namespace,
            address,
            ask,
            at: moment(),
            admits: admits,
            wants: wants,
            wakes: wakes,
            completion: completion
        )
        call.begin()
        return call
    }

    /// Counts refusals that were not counted (`LeaseAsk.countsRefusal`).
    package func countRefusals(_ namespace: Namespace, _ addresses: [EntryAddress]) {
        leases.countRefusals(namespace, addresses)
    }

    /// Lets a lease last for `ttl` milliseconds from now. Throws `lease_lost`.
    package func prolong(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ token: LeaseToken,
        ttl: Int64
    ) throws(Problem) -> Lease {
        try leases.prolong(namespace, address, token, ttl: ttl)
    }

    /// Gives a lease up. Throws `lease_lost`.
    ///
    /// - Parameter pause: where the load has failed, for how many milliseconds nobody is given the key's lease; twice as long as the last
    ///   time where it had failed before. `nil` = the next who waits is given it at once.
    package func release(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ token: LeaseToken,
        pause: Int64?
    ) throws(Problem) {
        try leases.release(namespace, address, token, pause: pause)
    }

    /// The leases of keys that begin with `prefix`, those that are held longest first, and how many the namespace has in all.
    ///
    /// Complexity: O(leases).
    package func leases(
        _ namespace: Namespace,
        prefix: [UInt8],
        limit: Int
    ) -> (leases: [ListedLease], count: Int) {
        leases.list(namespace, prefix: prefix, limit: limit)
    }

    /// Sets the bounds of what leases may take. What there is stays.
    package func setLeaseLimits(_ limits: LeaseLimits) { tiers.shards.leaseRoom.setLimits(limits) }

    /// Callers that wait for somebody else's fill.
    package var leaseWaiters: Int { tiers.shards.leaseRoom.waiters }

    // MARK: Figures

    /// Complexity: O(shards).
    package func statistics(_ namespace: Namespace) -> NamespaceStatistics { accounts.statistics(namespace) }

    /// Complexity: O(shards x namespaces).
    package func statistics() -> StoreStatistics { accounts.statistics() }

    package var uptimeMilliseconds: Int64 { accounts.uptimeMilliseconds }

    /// What is wrong with the lower tier; `nil` while all is well.
    package func readiness() -> TierFault? { tiers.lower?.health().fault ?? invalidations.fault }
}
