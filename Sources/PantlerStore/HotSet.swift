import PantlerMemory
import PantlerModel
import Synchronization

/// How far saving and loading the hot set have come.
private struct HotSetState {
    /// The tick from which on the hot set is saved again.
    var dueAt: UInt64 = 50
    /// A digest of what was saved last.
    var savedDigest = 0
    /// Whether the previous run's hot set is coming back. Until it has, memory does not know the whole of it.
    var isComingBack = false
}

/// The hottest entries, in the order of their last use. They are saved now and then and at the end, and brought back at the start.
///
/// A crash loses what was used since the last save. The more entries there are to save, the longer is the pause between two saves, so that
/// saving costs no more than some 32 KiB/s: up to 20,000 entries are saved every 5 seconds, and as many as are saved while the service runs
/// about once a minute.
final class HotSet: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let reads: LowerReads
    private let room: MemoryRoom
    private let state = Mutex(HotSetState())

    init(_ tiers: Tiers, _ catalogue: Catalogue, _ reads: LowerReads, _ room: MemoryRoom) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.reads = reads
        self.room = room
    }

    /// The most entries that are saved while the service runs, and at its end.
    private static let mostWhileRunning = 1 << 18
    private static let mostAtEnd = 1 << 22
    private static let leastPauseTicks = 50
    /// Hashes, of 8 bytes each, that saving may write for each tick.
    private static let hashesATick = 400

    func saveIfDue(at ticks: UInt64) {
        guard state.withLock({ $0.dueAt <= ticks }) else { return }
        let count = save(limit: Self.mostWhileRunning)
        let pause = max(Self.leastPauseTicks, count / Self.hashesATick)
        state.withLock { $0.dueAt = ticks + UInt64(pause) }
    }

    /// Saves as much of the hot set as may be saved at the end.
    func saveWhole() { _ = save(limit: Self.mostAtEnd) }

    /// Saves the hottest entries, the hottest first, unless they are the same as the last time. Returns how many there are.
    private func save(limit: Int) -> Int {
        guard let lower = tiers.lower, !state.withLock({ $0.isComingBack }) else { return 0 }
        let bySlot = catalogue.bySlot
        let hashes = tiers.shards.hotHashes(limit: limit) { bySlot[$0]?.usesLower == true }
        let digest = hashes.hashValue
        let isNew = state.withLock { state in
            defer { state.savedDigest = digest }
            return state.savedDigest != digest
        }
        if isNew { lower.saveHotSet(hashes) }
        return hashes.count
    }

    /// Brings back in the background what was hot when the previous run ended. The hottest entry comes first, and each stands behind those
    /// before it and behind all that is used meanwhile. This ends when memory is as full as it may get.
    func load() {
        guard let lower = tiers.lower else { return }
        tiers.shards.withEachShard { _, shard in shard.loads.beginBulkLoad() }
        state.withLock { $0.isComingBack = true }
        // Each entry gets a smaller stamp than the one before, so that entries of different shards and namespaces stand in one order, too.
        let stamps = Mutex(tiers.clock.monotonicMicroseconds())
        lower.loadHotSet { [weak self] batch in
            self?.take(batch, stamps) ?? false
        } completion: { [weak self] in
            guard let self else { return }
            tiers.shards.withEachShard { _, shard in shard.loads.endBulkLoad() }
            state.withLock { $0.isComingBack = false }
        }
    }

    /// Returns whether there may be room for more.
    private func take(_ batch: [(EntryAddress, Entry)], _ stamps: borrowing Mutex<UInt64>) -> Bool {
        for (address, entry) in batch {
            guard let namespace = catalogue.namespace(address.namespace), namespace.usesLower else { continue }
            switch tiers.memory.roomBehind(namespace.slot, bytes: address.key.count + entry.value.count) {
            case .enough: break
            case .noneInNamespace: continue
            case .none: return false
            }
            let moment = tiers.moment()
            let lastUse = stamps.withLock { stamp in
                stamp = stamp > 0 ? stamp - 1 : 0
                return stamp
            }
            let large = LargeValue.copy(of: entry.value)
            var filled = false
            tiers.shards.withShard(address.hash) { shard in
                // An entry that was read before it was written, or before it was invalidated and swept, would come back to life.
                if shard.loads.wasChangedDuringBulkLoad(address)
                    || namespace.isVoid(address.key, version: entry.version)
                {
                    return
                }
                filled = reads.fill(&shard, namespace, address, entry, large, moment, lastUse: lastUse)
            }
            if filled { room.make(in: namespace.slot) }
        }
        return true
    }
}
