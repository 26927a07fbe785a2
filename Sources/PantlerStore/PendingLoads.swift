import PantlerMemory
import PantlerModel

/// The result of a read of the lower tier, for those who wait for it.
enum LoadedEntry: Sendable {
    /// The entry. A large value comes with a copy that all who wait can share.
    case found(Entry, LargeValue?)
    /// The value has so many bytes, more than the waiter takes.
    case larger(Int64)
    case missing
    /// The entry was written, deleted or invalidated meanwhile, so that what was read is out of date: the waiter has to look again.
    case outdated
    case fault(TierFault)
}

/// Takes the result of a load under the shard's lock; what it returns is run once the lock is released.
typealias LoadWaiter = @Sendable (inout Shard, LoadedEntry) -> (@Sendable () -> Void)?

/// The reads of the lower tier that are under way for keys of one shard. The shard's lock guards them.
///
/// They are remembered for two reasons. A key is read once however many ask for it. And what was read never overtakes a write: a put or a
/// delete may be answered between the read of an old row and its arrival in memory, and unless that marks the read as outdated, the old
/// value would come back to life.
struct PendingLoads {
    private struct Load {
        let address: EntryAddress
        var isOutdated = false
        var fillsMemory: Bool
        var waiters: [(admits: ReadAdmission?, take: LoadWaiter)]
    }

    enum Joined {
        /// The caller starts the read, hands its result to the `waiters`, and calls `end`.
        case first
        /// A read is under way. The waiter is called with the others.
        case joined
        /// A read of another key with the same 64-bit hash is under way. The waiter was not taken, and the caller has to try again later.
        case collision
    }

    /// What was written and invalidated since a load of many rows began, whose keys are not known beforehand.
    private struct BulkLoad {
        var written: Set<UInt64> = []
        var invalidated: [(namespace: NamespaceID, prefix: [UInt8])] = []

        /// After more invalidations than this, no row of the load is used any more.
        static let invalidations = 64

        func concerns(_ address: EntryAddress) -> Bool {
            written.contains(address.hash) || invalidated.count > Self.invalidations
                || invalidated.contains { $0.namespace == address.namespace && address.key.starts(with: $0.prefix) }
        }
    }

    private var loads: [UInt64: Load] = [:]
    var heads = PendingHeads()
    /// The keys that one writer holds, by their hashes, with what is to run when they are released.
    private var holds: [UInt64: [@Sendable () -> Void]] = [:]
    /// `nil` while no load of many rows is under way.
    private var bulkLoad: BulkLoad?

    init() {}

    var isEmpty: Bool { loads.isEmpty }

    /// - Parameter admits: tells whether the waiter takes a value of so many bytes; `nil` = any.
    mutating func join(
        _ address: EntryAddress,
        fillsMemory: Bool,
        admits: ReadAdmission? = nil,
        _ waiter: @escaping LoadWaiter
    ) -> Joined {
        guard let load = loads[address.hash] else {
            loads[address.hash] = Load(address: address, fillsMemory: fillsMemory, waiters: [(admits, waiter)])
            return .first
        }
        guard load.address == address else { return .collision }
        loads[address.hash]?.waiters.append((admits, waiter))
        if fillsMemory { loads[address.hash]?.fillsMemory = true }
        return .joined
    }

    /// To be called at each write, delete and invalidation of a key. Complexity: O(1), and next to nothing while no
    /// load is under way.
    mutating func invalidate(_ hash: UInt64) {
        if !loads.isEmpty { loads[hash]?.isOutdated = true }
        heads.invalidate(hash)
        bulkLoad?.written.insert(hash)
    }

    /// To be called when all keys of a namespace with a prefix are invalidated. Complexity: O(loads under way).
    mutating func invalidate(_ namespace: NamespaceID, prefix: [UInt8]) {
        heads.invalidate(namespace, prefix: prefix)
        for (hash, load) in loads where load.address.namespace == namespace && load.address.key.starts(with: prefix) {
            loads[hash]?.isOutdated = true
        }
        if let count = bulkLoad?.invalidated.count, count <= BulkLoad.invalidations {
            bulkLoad?.invalidated.append((namespace, prefix))
        }
    }

    /// Whether a load's result must not be used any more.
    func isOutdated(_ hash: UInt64) -> Bool { loads[hash]?.isOutdated ?? true }

    /// Whether one of those who wait wants the entry in memory.
    func fillsMemory(_ hash: UInt64) -> Bool { loads[hash]?.fillsMemory ?? false }

    /// The waiters of a load, in the order in which they came. The load stays until `end`, so that a write by one of them makes it outdated
    /// for the next.
    func waiters(_ hash: UInt64) -> [LoadWaiter] { loads[hash]?.waiters.map(\.take) ?? [] }

    /// Whether one of those who wait takes a value of so many bytes. Complexity: O(waiters).
    func admits(_ hash: UInt64, _ size: Int64) -> Bool {
        loads[hash]?.waiters.contains { $0.admits?(size) ?? true } ?? false
    }

    /// Removes and returns the waiters that do not take a value of so many bytes. The load goes on for the others.
    mutating func takeRefusing(_ hash: UInt64, _ size: Int64) -> [LoadWaiter] {
        guard let waiters = loads[hash]?.waiters else { return [] }
        loads[hash]?.waiters = []
        var refusing: [LoadWaiter] = []
        for waiter in waiters {
            if waiter.admits?(size) ?? true {
                loads[hash]?.waiters.append(waiter)
            } else {
                refusing.append(waiter.take)
            }
        }
        return refusing
    }

    func isAwaited(_ hash: UInt64) -> Bool { loads[hash]?.waiters.isEmpty == false }

    mutating func end(_ hash: UInt64) { loads[hash] = nil }

    // MARK: Holds

    /// Whether a writer holds a key. Complexity: O(1), and next to nothing while no key is held.
    func isHeld(_ hash: UInt64) -> Bool { !holds.isEmpty && holds[hash] != nil }

    /// Gives the caller all writes of a key, until `release`. Returns `false` if another writer holds the key.
    mutating func hold(_ hash: UInt64) -> Bool {
        if holds[hash] != nil { return false }
        holds[hash] = []
        return true
    }

    /// Has `action` run when a key that is held is released, after those that came before.
    mutating func wait(for hash: UInt64, _ action: @escaping @Sendable () -> Void) {
        holds[hash]?.append(action)
    }

    /// Releases a key. Returns the actions that are to run, in this order, once the shard's lock is released.
    mutating func release(_ hash: UInt64) -> [@Sendable () -> Void] { holds.removeValue(forKey: hash) ?? [] }

    /// Begins to remember what is written and invalidated, for a load of many rows whose keys are not known beforehand.
    mutating func beginBulkLoad() { bulkLoad = BulkLoad() }

    mutating func endBulkLoad() { bulkLoad = nil }

    /// Whether a row of a load of many rows must not be used any more. Complexity: O(prefixes that were invalidated since it began), at
    /// most 64.
    func wasChangedDuringBulkLoad(_ address: EntryAddress) -> Bool { bulkLoad?.concerns(address) ?? true }
}
