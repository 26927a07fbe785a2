import PantlerInsight
import PantlerMemory
import PantlerModel

/// All that is known of the keys whose hashes begin with the same bits: their entries in memory, and what else is counted and remembered of
/// them. One lock guards it.
///
/// Entries that leave memory of themselves are removed by this type, where the reason can be kept.
struct Shard: ~Copyable {
    var memory: MemoryShard
    /// The counters of each namespace in this shard, by slot. They are valid for slots that are attached.
    let tally: UnsafeMutablePointer<NamespaceTally>
    /// All slots below this number have a tally.
    private var tallied = 0
    /// Why keys are not in memory any more.
    var missMemory: MissMemory
    /// Reads of the lower tier that are under way.
    var loads = PendingLoads()
    var leases: LeaseTable

    /// - Parameters:
    ///   - number: below `MemoryTier.shardCount`, once for each.
    ///   - missMemoryBytes: see `MissMemory`.
    init(_ tier: MemoryTier, number: Int, missMemoryBytes: Int, _ leaseRoom: LeaseRoom) {
        memory = tier.makeShard(number)
        // A tally is initialised when its slot is opened. Until the first time, its memory is not touched.
        tally = .allocate(capacity: tier.slotCapacity)
        leases = LeaseTable(tally, leaseRoom)
        missMemory = MissMemory(bytes: missMemoryBytes)
        tier.holdForGood(MissMemory.allocatedBytes(for: missMemoryBytes))
    }

    deinit {
        tally.deallocate()
    }

    // MARK: Namespaces

    /// Gives a slot to a namespace that has nothing yet.
    ///
    /// - Returns: bytes of tallies that are used for the first time by this.
    mutating func open(_ slot: NamespaceSlot) -> Int {
        (tally + slot).initialize(to: NamespaceTally())
        memory.open(slot)
        let fresh = max(0, slot + 1 - tallied)
        tallied += fresh
        return fresh * MemoryLayout<NamespaceTally>.stride
    }

    /// Removes entries of a namespace into which nothing is put any more, at most `limit`.
    ///
    /// - Returns: whether none is left.
    mutating func empty(_ slot: NamespaceSlot, limit: Int) -> Bool {
        memory.close(slot)
        guard memory.removeAll(slot, limit: limit) < limit else { return false }
        memory.releaseIfEmpty()
        return true
    }

    // MARK: What leaves

    /// Removes an entry that time or an invalidation has ended.
    mutating func bury(_ ref: EntryRef, _ hash: UInt64, _ slot: NamespaceSlot, _ reason: MissReason) {
        memory.remove(ref)
        note(hash, slot, reason)
    }

    /// Notes why an entry has left memory without a caller's asking for it.
    private mutating func note(_ hash: UInt64, _ slot: NamespaceSlot, _ reason: MissReason) {
        if reason == .expired { tally[slot].expirations &+= 1 }
        missMemory.record(hash, reason)
    }

    /// Evicts the oldest entries that an order concerns.
    ///
    /// - Parameters:
    ///   - goesOn: tells whether one more entry has to leave. It is called before each.
    ///   - reason: tells why an entry leaves: it may be dead already when its turn comes.
    ///   - left: told of each entry that was evicted or found dead.
    mutating func evict(
        _ order: EvictionOrder,
        while goesOn: () -> Bool,
        _ reason: (EntryView, NamespaceSlot) -> MissReason,
        _ left: (OldestEntry) -> Void
    ) {
        while goesOn(), let oldest = memory.oldest(order) {
            let reason = reason(memory.view(oldest.ref), oldest.slot)
            memory.evict(oldest, isEviction: reason == .evicted)
            note(oldest.hash, oldest.slot, reason)
            left(oldest)
        }
        memory.endEviction(order)
    }

    /// A small step of background work; see `MemoryShard.sweep`.
    ///
    /// - Parameter death: tells why an entry is dead; `nil` if it is not.
    mutating func sweep(
        _ position: inout SweepPosition,
        limit: Int,
        _ death: (EntryView, NamespaceSlot) -> MissReason?
    ) {
        var dead: [(hash: UInt64, slot: NamespaceSlot, reason: MissReason)] = []
        memory.sweep(&position, limit: limit) { view, slot in
            guard let reason = death(view, slot) else { return false }
            dead.append((view.hash, slot, reason))
            return true
        }
        for (hash, slot, reason) in dead { note(hash, slot, reason) }
    }

    /// Shows a namespace's entries to `body`, and removes those that it says are invalidated; see `MemoryShard.walk`. Where one of these is
    /// being read from the lower tier, it is read again.
    ///
    /// - Returns: `false` at the end.
    mutating func walk(
        _ slot: NamespaceSlot,
        _ position: inout WalkPosition,
        limit: Int,
        _ body: (EntryView) -> WalkVerdict
    ) -> Bool {
        var removed: [UInt64] = []
        let goesOn = memory.walk(slot, &position, limit: limit) { view in
            let verdict = body(view)
            if case .remove = verdict { removed.append(view.hash) }
            return verdict
        }
        for hash in removed {
            loads.invalidate(hash)
            missMemory.record(hash, .invalidated)
        }
        return goesOn
    }
}

// All memory that a shard points at is its own, but for what its `memory` shares. A shard cannot be copied, so that whoever receives it has
// all of that memory.
extension Shard: @unchecked Sendable {}
