import PantlerMemory
import PantlerModel
import Synchronization

/// What is known of the hot set.
private struct HotSetState {
    /// The tick from which on it is saved again.
    var dueAt: UInt64 = 50
    /// A digest of what was saved last.
    var savedDigest = 0
    /// While the previous run's comes back, memory does not know the whole of it.
    var isComingBack = false
}

/// The hottest entries, in the order of their last use: saved now and then and at the end, and brought back at the start.
///
/// A crash loses what was used since the last save. The more there is to save, the rarer that is, so that it costs no more than some
/// 32 KiB/s: every 5 seconds up to 20,000 entries, once in a minute for as many as are saved while the service runs.
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

    /// Entries that are saved while the service runs, and at its end.
    private static let mostWhileRunning = 1 << 18
    private static let mostAtEnd = 1 << 22
    private static let leastPauseTicks = 50
    /// A tick's share of what saving may write, in hashes of 8 bytes.
    private static let hashesATick = 400

    func saveIfDue(at ticks: UInt64) {
        guard state.withLock({ $0.dueAt <= ticks }) else { return }
        let count = save(limit: Self.mostWhileRunning)
        let pause = max(Self.leastPauseTicks, count / Self.hashesATick)
        state.withLock { $0.dueAt = ticks + UInt64(pause) }
    }

    /// Saves all that memory can bring back.
    func saveWhole() { _ = save(limit: Self.mostAtEnd) }

    /// Saves the hottest first, unless they are as they were. Returns how many there are.
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

    /// Brings back what was hot when the previous run ended, in the background: the hottest first, each behind those before it and behind
    /// all that is used meanwhile, until memory is as full as it gets.
    func load() {
        guard let lower = tiers.lower else { return }
        tiers.shards.withEachShard { _, shard in shard.loads.beginBulkLoad() }
        state.withLock { $0.isComingBack = true }
        // Stamps go down from the start: so entries of different shards and namespaces stand in one order, too.
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
                // What was read before it was written, or invalidated and swept, would come back to life.
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
