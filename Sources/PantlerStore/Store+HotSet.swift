import PantlerMemory
import PantlerModel
import Synchronization

/// What is known of the hot set. Lives under the store's `maintenance` lock.
struct HotSetState {
    /// The tick from which on it is saved again.
    var dueAt: UInt64 = 50
    /// A digest of what was saved last.
    var savedDigest = 0
    /// While the previous run's comes back, memory does not know the whole of it.
    var isComingBack = false
}

// The hottest entries, in the order of their last use: saved now and then and at the end, and brought back at the start.
//
// A crash loses what was used since the last save. The more there is to save, the rarer that is, so that it costs no more than some
// 32 KiB/s: every 5 seconds up to 20,000 entries, once in a minute for as many as are saved while the service runs.
extension Store {
    /// Entries that are saved while the service runs, and at its end.
    private static let mostWhileRunning = 1 << 18
    private static let mostAtEnd = 1 << 22
    private static let leastPauseTicks = 50
    /// A tick's share of what saving may write, in hashes of 8 bytes.
    private static let hashesATick = 400

    func saveHotSetIfDue(at ticks: UInt64) {
        guard maintenance.withLock({ $0.hotSet.dueAt <= ticks }) else { return }
        let count = saveHotSet(limit: Self.mostWhileRunning)
        let pause = max(Self.leastPauseTicks, count / Self.hashesATick)
        maintenance.withLock { $0.hotSet.dueAt = ticks + UInt64(pause) }
    }

    /// Saves all that memory can bring back.
    func saveWholeHotSet() { _ = saveHotSet(limit: Self.mostAtEnd) }

    /// Saves the hottest first, unless they are as they were. Returns how many there are.
    private func saveHotSet(limit: Int) -> Int {
        guard let lower, !maintenance.withLock({ $0.hotSet.isComingBack }) else { return 0 }
        let bySlot = slots.withLock { $0 }
        let hashes = shards.hotHashes(limit: limit) { bySlot[$0]?.usesLower == true }
        let digest = hashes.hashValue
        let isNew = maintenance.withLock { state in
            defer { state.hotSet.savedDigest = digest }
            return state.hotSet.savedDigest != digest
        }
        if isNew { lower.saveHotSet(hashes) }
        return hashes.count
    }

    /// Brings back what was hot when the previous run ended, in the background: the hottest first, each behind those before it and behind
    /// all that is used meanwhile, until memory is as full as it gets.
    func loadHotSet() {
        guard let lower else { return }
        shards.withEachShard { _, shard in shard.loads.beginBulkLoad() }
        maintenance.withLock { $0.hotSet.isComingBack = true }
        // Stamps go down from the start: so entries of different shards and namespaces stand in one order, too.
        let stamps = Mutex(clock.monotonicMicroseconds())
        lower.loadHotSet { [weak self] batch in
            self?.takeHot(batch, stamps) ?? false
        } completion: { [weak self] in
            guard let self else { return }
            shards.withEachShard { _, shard in shard.loads.endBulkLoad() }
            maintenance.withLock { $0.hotSet.isComingBack = false }
        }
    }

    /// Returns whether there may be room for more.
    private func takeHot(_ batch: [(EntryAddress, Entry)], _ stamps: borrowing Mutex<UInt64>) -> Bool {
        for (address, entry) in batch {
            guard let namespace = namespace(address.namespace), namespace.usesLower else { continue }
            switch memory.roomBehind(namespace.slot, bytes: address.key.count + entry.value.count) {
            case .enough: break
            case .noneInNamespace: continue
            case .none: return false
            }
            let moment = moment()
            let lastUse = stamps.withLock { stamp in
                stamp = stamp > 0 ? stamp - 1 : 0
                return stamp
            }
            let large = LargeValue.copy(of: entry.value)
            var filled = false
            shards.withShard(address.hash) { shard in
                // What was read before it was written, or invalidated and swept, would come back to life.
                if shard.loads.wasChangedDuringBulkLoad(address)
                    || namespace.isVoid(address.key, version: entry.version)
                {
                    return
                }
                filled = fill(&shard, namespace, address, entry, large, moment, lastUse: lastUse)
            }
            if filled { makeRoom(namespace) }
        }
        return true
    }
}
