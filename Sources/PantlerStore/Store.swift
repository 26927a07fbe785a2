import Dispatch
import PantlerInsight
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
/// What belongs to one entry happens under its shard's lock: there it is judged, changed, given its version, and its
/// change queued for the lower tier, so that versions, memory and queue agree about the order. Locks are taken in the
/// order registry, shard, slots, namespace, lower tier's queue.
///
/// Where to read on: `Store+Get` answers a get, `Store+Write` is the way of every change, `Store+Load` asks the lower tier,
/// `Store+Maintenance` is the background.
package final class Store: Sendable {
    let shards: ShardTable
    let lower: (any LowerTier)?
    let clock: any Clock
    let versions: VersionAllocator
    let registry: Mutex<Registry>
    /// Whose slot is whose, for those who meet an entry under its shard's lock.
    let slots = Mutex<[NamespaceSlot: Namespace]>([:])
    let maintenance = Mutex(MaintenanceState())
    /// Gets that found their namespace dropped when they came to it. Relaxed: a figure that only grows.
    let lostGets = Atomic<UInt64>(0)
    /// Of all namespaces together, those that are gone included.
    let windows = Mutex(RateWindows())
    /// What takes longer than an event loop may be held. Nobody who asks for a page waits behind walks over many entries, and none of
    /// these behind a pass over everything.
    let listings = WorkerPool("listings", width: 2)
    let merges = WorkerPool("merges", width: 2)
    let walks = WorkerPool("walks")
    let sweeps = WorkerPool("sweeps")
    /// Namespaces that are dropped, and bounds that became smaller.
    let background = WorkerPool("background")
    /// Invalidations by prefix that are under way.
    let prefixes = PrefixQueue()
    /// Those of them that the lower tier has still to be told of.
    let removals = HeldRemovals()
    /// Where ticks run, one at a time, and after whatever somebody waits for (on Linux: nice 2).
    let ticker = DispatchQueue(label: "pantler.maintenance", qos: .utility)
    let startedAt: Timestamp
    private let entryHash: EntryHash
    private let startedMicroseconds: UInt64

    /// - Parameters:
    ///   - state: what the lower tier remembers of the previous run.
    ///   - lower: not started yet; `nil` = memory alone.
    package init(_ options: StoreOptions, clock: any Clock, lower: (any LowerTier)?, state: PersistedState) {
        shards = ShardTable(
            MemoryTier(
                maxBytes: options.maxMemory,
                shardCount: options.shards,
                // What exists is adopted, however few may be made.
                maxNamespaces: max(options.maxNamespaces, state.namespaces.count)
            )
        )
        self.lower = lower
        self.clock = clock
        entryHash = EntryHash(seed: state.hashSeed)
        versions = VersionAllocator(start: max(1, state.versionCeiling), lower: lower)
        startedAt = clock.now()
        startedMicroseconds = clock.monotonicMicroseconds()
        registry = Mutex(Registry(options, nextID: state.nextNamespaceID))
        for record in state.namespaces { adopt(record) }
        for (id, tag, mark) in state.tags { namespace(id)?.restore(tag, mark) }
    }

    /// How often the first versions are asked for: a call that fails once is no reason to be away. The tier pauses in between.
    private static let startAttempts = 5

    /// Reserves the first versions and begins background work. Blocks until the reservation is synced.
    ///
    /// On a full device the service starts all the same: from memory, and over what the lower tier can still read.
    ///
    /// - Throws: the lower tier's fault where nothing can be written for another reason: without a reservation no write could be given a
    ///   version that no crash can make it give again.
    package func start() throws(TierFault) {
        if let lower {
            lower.start(delegate: self, clock: clock)
            var fault = reserveFirst()
            for _ in 1..<Self.startAttempts where fault != nil { fault = reserveFirst() }
            if let fault {
                guard fault.cause == .full else { throw fault }
                versions.beginUnreserved()
            }
        }
        startMaintenance()
        loadHotSet()
    }

    private func reserveFirst() -> TierFault? {
        let reserved = DispatchSemaphore(value: 0)
        let outcome = Mutex<TierFault?>(nil)
        versions.reserveFirst { fault in
            outcome.withLock { $0 = fault }
            reserved.signal()
        }
        reserved.wait()
        return outcome.withLock { $0 }
    }

    /// Ends background work and closes the lower tier, with its queue written. Blocks. No call may be under way or come after.
    package func close() {
        stopMaintenance()
        removeWhatIsHeld()
        saveWholeHotSet()
        lower?.close()
    }

    var memory: MemoryTier { shards.memory }

    // MARK: Time and place

    package func moment() -> Moment {
        Moment(now: clock.now(), access: clock.monotonicMicroseconds(), wallOffset: clock.wallOffset)
    }

    /// Milliseconds that the wall clock is ahead of the service's time line.
    package var wallOffset: Int64 { clock.wallOffset }

    /// A moment of the service's time line as callers are told it.
    package func wallTime(_ moment: Timestamp) -> WallTime { moment.wallTime(aheadBy: clock.wallOffset) }

    package func hash(_ namespace: Namespace, _ key: UnsafeRawBufferPointer) -> UInt64 {
        entryHash.hash(namespace: namespace.id, key: key)
    }

    package func address(_ namespace: Namespace, _ key: [UInt8]) -> EntryAddress {
        EntryAddress(namespace: namespace.id, key: key, hash: entryHash.hash(namespace: namespace.id, key: key))
    }

    package var uptimeMilliseconds: Int64 { Int64((clock.monotonicMicroseconds() - startedMicroseconds) / 1000) }

    /// Takes effect with the next inserts.
    package func setMaxMemory(_ bytes: Int) {
        memory.setMaxBytes(bytes)
        background.async { [self] in
            makeRoom(0)
        }
    }
}

/// What time it is, read once for a burst of requests.
package struct Moment: Sendable {
    package var now: Timestamp
    /// Microseconds of the monotonic clock, for the order of accesses.
    package var access: UInt64
    /// Milliseconds that the wall clock is ahead of the service's time line.
    package var wallOffset: Int64

    package init(now: Timestamp, access: UInt64, wallOffset: Int64 = 0) {
        self.now = now
        self.access = access
        self.wallOffset = wallOffset
    }

    /// The same moment by the wall clock.
    package var wall: WallTime { now.wallTime(aheadBy: wallOffset) }
}
