/// One change of what a lower tier keeps. Changes of one entry are given in the order of their versions.
package enum Mutation: Sendable {
    case put(EntryAddress, Entry, PutOptions)
    /// An entry's head was changed, and its value was not. Where the tier does not have the entry with one of the touch's bases, it keeps
    /// nothing of it, and tells the delegate.
    case touch(EntryAddress, Touch)
    /// The version is the delete's own: larger than that of the entry it removes.
    case delete(EntryAddress, version: Version)
    /// A namespace was made, or its policy, generation or watermark changed.
    case namespace(NamespaceRecord)
    /// A tag was invalidated.
    case tag(NamespaceID, tag: EntryTag, Watermark)
    /// No entry is left that invalidations of tags below this version could still judge, but for those of some tags: they can be forgotten.
    case forgetTags(NamespaceID, before: Version, except: Set<EntryTag>)
    /// A namespace is gone with everything in it; its rows are swept in the background.
    case dropNamespace(NamespaceID)
    /// A token was made or changed: this is all of it.
    case token(TokenRecord)
    /// A token was revoked.
    case removeToken(TokenID)
}

/// What a put needs of its namespace's policy.
package struct PutOptions: Hashable, Sendable {
    package var compressionThreshold: Int64
    package var compressionLevel: Int

    package init(compressionThreshold: Int64, compressionLevel: Int) {
        self.compressionThreshold = compressionThreshold
        self.compressionLevel = compressionLevel
    }
}

/// The place of a change in a lower tier's queue; later changes have larger tickets.
package typealias WriteTicket = UInt64

/// Why a lower tier could not do what it was asked.
package struct TierFault: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Cause: String, Sendable {
        /// No room is left on the device.
        case full
        /// Reading or writing failed, or the device went away.
        case unavailable
        /// What was read is not what was written.
        case corrupt
        /// The tier is closing down.
        case closed
    }

    /// What has become of the change that could not be made durable.
    package enum Outcome: Sendable {
        /// Nothing of it is left, not after a crash either.
        case takenBack
        /// Nobody sees it any more; but a crash can bring it back as long as nothing else has been written.
        case uncertain
        /// It holds, and is tried again until it is durable.
        case kept
    }

    package var cause: Cause
    /// The library's own message, for the log; never for the wire.
    package var description: String
    package var outcome = Outcome.takenBack

    package init(_ cause: Cause, _ description: String) {
        self.cause = cause
        self.description = description
    }

    /// The same fault with another outcome.
    package func with(_ outcome: Outcome) -> TierFault {
        var fault = self
        fault.outcome = outcome
        return fault
    }
}

/// One row of a listing.
package struct ListedEntry: Hashable, Sendable {
    package var key: [UInt8]
    package var version: Version
    package var expiresAt: Timestamp
    package var staleTTL: Int64
    package var tags: [EntryTag]
    /// Bytes of the value as its writer sent it.
    package var size: Int64
    /// Whether it is a negative entry.
    package var isAbsent: Bool

    package init(
        key: [UInt8],
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64,
        tags: [EntryTag],
        size: Int64,
        isAbsent: Bool = false
    ) {
        self.key = key
        self.version = version
        self.expiresAt = expiresAt
        self.staleTTL = staleTTL
        self.tags = tags
        self.size = size
        self.isAbsent = isAbsent
    }
}

/// What a lower tier remembers of the previous run.
package struct PersistedState: Sendable {
    package var namespaces: [NamespaceRecord] = []
    package var tags: [(namespace: NamespaceID, tag: EntryTag, watermark: Watermark)] = []
    /// Every version that was ever given is smaller.
    package var versionCeiling: Version = 1
    /// Every namespace number that was ever given is smaller.
    package var nextNamespaceID: NamespaceID = 1
    package var hashSeed: UInt64 = 0
    package var clockAnchor: ClockAnchor?
    package var tokens: [TokenRecord] = []

    package init() {}
}

/// Why an entry left a lower tier without anyone asking for it.
package enum DepartureCause: Sendable {
    case expired, evicted, invalidated
}

/// What a lower tier asks back of the store. Called on the tier's own threads.
package protocol LowerTierDelegate: AnyObject, Sendable {
    /// The moment at which an entry ends by a flush, by a tag, or because its namespace has left the tier; `nil` if by none of these. A moment
    /// in the past says that it has ended already. For a namespace that is not known it returns `nil`: the tier knows itself which were
    /// dropped.
    func invalidAt(namespace: NamespaceID, version: Version, staleTTL: Int64, tags: [EntryTag]) -> Timestamp?
    /// Tells that the tier did not have an entry that was touched. Called once that is committed.
    func isMissing(_ address: EntryAddress, touched version: Version)
    /// Tells that an entry has left the tier by itself.
    func departed(_ address: EntryAddress, cause: DepartureCause)
    /// The bytes that a namespace may hold in this tier; `nil` = as the whole tier.
    func maxDisk(of namespace: NamespaceID) -> Int64?
    /// When an entry that is in memory was last used, in microseconds of the clock's monotonic time; `nil` if it is not there.
    /// Complexity: O(1).
    func lastUse(of address: EntryAddress) -> UInt64?
}

/// Whether a value of so many bytes may be read. Called on the tier's threads, under a lock of the store's at most: it calls nothing that
/// waits.
package typealias ReadAdmission = @Sendable (Int64) -> Bool

/// The result of a read that takes only values of an admitted size.
package enum LowerRead: Sendable {
    /// `nil` if there is none.
    case entry(Entry?)
    /// There is an entry with a value of so many bytes, which was not read.
    case larger(Int64)
}

/// A tier below memory: SQLite on this machine, or a Redis Cluster shared with others.
///
/// No call blocks its caller on I/O but `open`, `flush` and `close`. Completions are called exactly once: either before the call
/// returns, on the caller's thread, or later on one of the tier's own threads; the caller sees to it that it gets back
/// where it belongs.
package protocol LowerTier: AnyObject, Sendable {
    /// The tier that its hits are counted for.
    var tier: Tier { get }

    /// Begins background work. Called once, before any other call but `persistedState`.
    func start(delegate: any LowerTierDelegate, clock: any Clock)

    /// What the previous run left. Blocks.
    func persistedState() throws(TierFault) -> PersistedState

    /// The entry at `address`, changes still in the queue included; `nil` if there is none. Dead entries are returned as
    /// they stand: the store judges time and watermarks.
    func read(_ address: EntryAddress, completion: @escaping @Sendable (Result<Entry?, TierFault>) -> Void)

    /// The head of the entry at `address`; the value is not read, so that a damaged one is not noticed.
    func readHead(_ address: EntryAddress, completion: @escaping @Sendable (Result<EntryHead?, TierFault>) -> Void)

    /// The same for callers who cannot take values of any size.
    ///
    /// - Parameter admits: asked before a value is read, once its size is known; after `false` the answer is `larger`.
    func read(
        _ address: EntryAddress,
        admits: @escaping ReadAdmission,
        completion: @escaping @Sendable (Result<LowerRead, TierFault>) -> Void
    )

    /// Takes a change into the queue. Never blocks and never fails; see `settle`. Complexity: O(1).
    ///
    /// - Parameter durability: what `settle` will be called with. With `through` the caller has to call it exactly once. The tier has to know this
    ///   beforehand, or it might commit the change without a sync before `settle` is called.
    func enqueue(_ mutation: consuming Mutation, _ durability: Durability) -> WriteTicket

    /// Whether a crash may bring back a write that was answered as failed (`TierFault.Outcome.uncertain`), since nothing was written after it. As
    /// long as that is so, a removal has to be made durable even where nothing is there. Complexity: O(1).
    var mayBringBack: Bool { get }

    /// Waits until a change is as durable as it is to be.
    ///
    /// - `behind`: until the queue is within its bound, which it nearly always is already.
    /// - `through`: until the change is committed and synced, or has failed.
    ///
    /// - Returns: `true` if that is so already: `completion` is then not called.
    func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool

    /// Waits until everything that came so far is committed and synced, or has failed to be, which takes nothing back. Calls its
    /// completion as `settle` does.
    func settleAll(completion: @escaping @Sendable (TierFault?) -> Void) -> Bool

    /// Whether `settle` would surely have nothing to wait for and nothing to tell. Asked first by callers who would rather not make a
    /// completion; `false` = `settle` has to be called.
    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool

    /// Entries of a namespace whose keys begin with `prefix` and come after `after` in byte order, queue included; ordered
    /// by key, at most `limit`.
    func list(
        namespace: NamespaceID,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<[ListedEntry], TierFault>) -> Void
    )

    /// Removes entries whose keys begin with `prefix` and whose versions are below `before`, queue included, in small steps. With `through` the
    /// completion comes once all of it is synced.
    /// The delegate is told of each as `invalidated`; the completion gets the number of those that could
    /// still be seen: that had neither expired nor been invalidated before.
    func removePrefix(
        namespace: NamespaceID,
        prefix: [UInt8],
        before: Version,
        durability: Durability,
        completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    )

    /// Goes over all entries once, in small steps in the background, and removes those that have ended as the delegate says. Entries that will
    /// end later are removed then. The completion comes when all have been looked at.
    func sweepInvalidated(completion: @escaping @Sendable (TierFault?) -> Void)

    /// Sees to it that versions below `ceiling` are never given by a later run. The completion comes after the sync.
    func reserveVersions(below ceiling: Version, completion: @escaping @Sendable (TierFault?) -> Void)

    /// An entry with this hash has left memory to make room there; it was last used at that moment of the clock's monotonic time, in
    /// microseconds. The tier may keep it longer than what was not used since. Complexity: O(1).
    func noteLastUse(_ hash: UInt64, at moment: UInt64)

    /// Remembers the hashes of the entries that are hottest in memory for the next start, hottest first.
    func saveHotSet(_ hashes: [UInt64])

    /// Reads the remembered entries again, in the order in which they were saved, in batches; ends when `body` returns `false`,
    /// there are no more, or they cannot be read, and then calls `completion`.
    func loadHotSet(
        _ body: @escaping @Sendable ([(EntryAddress, Entry)]) -> Bool,
        completion: @escaping @Sendable () -> Void
    )

    /// Entries and bytes of a namespace in this tier. Complexity: O(1).
    func usage(of namespace: NamespaceID) -> TierUsage

    /// Figures for metrics, statistics and readiness.
    func health() -> TierHealth

    /// Commits the queue and syncs. Blocks.
    func flush() throws(TierFault)

    /// Flushes, ends the threads, closes the files. Blocks.
    func close()
}

extension LowerTier {
    /// Takes in a change whose sync nobody will wait for.
    package func enqueue(_ mutation: consuming Mutation) -> WriteTicket { enqueue(mutation, .behind) }
}

/// How much of a tier a namespace uses.
package struct TierUsage: Hashable, Sendable {
    package var entries: Int64
    package var bytes: Int64

    package init(entries: Int64 = 0, bytes: Int64 = 0) {
        self.entries = entries
        self.bytes = bytes
    }
}

/// What a lower tier reports about itself.
package struct TierHealth: Sendable {
    /// Why the tier cannot read or write; `nil` while it can.
    package var fault: TierFault?
    /// Changes that wait for the next commit, their bytes, and the age of the oldest in milliseconds.
    package var queueEntries: Int64 = 0
    package var queueBytes: Int64 = 0
    package var queueAgeMilliseconds: Int64 = 0
    /// Bytes of values given to the deflater, and what came out (values stored plain count the same on both sides).
    package var compressionInBytes: UInt64 = 0
    package var compressionOutBytes: UInt64 = 0
    /// Bytes of the database file and of its write-ahead log.
    package var fileBytes: Int64 = 0
    package var walBytes: Int64 = 0
    /// Entries that left to make room, that left because they expired, that could not be read back, and changes lost
    /// because they could not be written.
    package var evictions: UInt64 = 0
    package var expirations: UInt64 = 0
    package var corruptions: UInt64 = 0
    package var lostWrites: UInt64 = 0
    package var readFaults: UInt64 = 0
    package var commits: UInt64 = 0
    package var committedChanges: UInt64 = 0

    package init() {}
}

extension LowerTier {
    /// For a tier that has its values in memory: their sizes are asked about once they are read.
    package func read(
        _ address: EntryAddress,
        admits: @escaping ReadAdmission,
        completion: @escaping @Sendable (Result<LowerRead, TierFault>) -> Void
    ) {
        read(address) { result in completion(result.map { LowerRead($0, admits: admits) }) }
    }
}

extension LowerRead {
    /// An entry, if its size is admitted.
    package init(_ entry: Entry?, admits: ReadAdmission) {
        if let entry, case let size = Int64(entry.value.count), !admits(size) {
            self = .larger(size)
        } else {
            self = .entry(entry)
        }
    }
}
