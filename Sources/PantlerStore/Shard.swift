import PantlerInsight
import PantlerMemory
import PantlerModel

/// All that is known of the keys whose hashes begin alike, under one lock: their entries in memory, and what is no entry.
///
/// What takes entries out of memory is here, where the reason can be kept beside it.
struct Shard: ~Copyable {
    var memory: MemoryShard
    /// Counters of each namespace in this shard, by slot: `shard.tally[slot].hits += 1`. Valid for attached slots.
    let tally: UnsafeMutablePointer<NamespaceTally>
    /// Slots below it have a tally.
    private var tallied = 0
    /// Why keys are not in memory any more.
    var missMemory: MissMemory
    /// Reads of the lower tier that are under way.
    var loads = PendingLoads()

    /// - Parameters:
    ///   - number: below `MemoryTier.shardCount`, once for each.
    ///   - missMemoryBytes: see `MissMemory`.
    init(_ tier: MemoryTier, number: Int, missMemoryBytes: Int) {
        memory = tier.makeShard(number)
        // Each is initialised when its slot is opened for the first time: until then its pages are not touched.
        tally = .allocate(capacity: tier.slotCapacity)
        missMemory = MissMemory(bytes: missMemoryBytes)
        tier.holdForGood(MissMemory.allocatedBytes(for: missMemoryBytes))
    }

    deinit {
        tally.deallocate()
    }

    // MARK: Namespaces

    /// From now on a slot is a namespace's that has nothing yet.
    ///
    /// - Returns: bytes that its tally is the first to take.
    mutating func open(_ slot: NamespaceSlot) -> Int {
        (tally + slot).initialize(to: NamespaceTally())
        memory.open(slot)
        let fresh = max(0, slot + 1 - tallied)
        tallied += fresh
        return fresh * MemoryLayout<NamespaceTally>.stride
    }

    /// Removes entries of a namespace into which nothing is put from now on.
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

    /// An entry is not there any more, of itself.
    private mutating func note(_ hash: UInt64, _ slot: NamespaceSlot, _ reason: MissReason) {
        if reason == .expired { tally[slot].expirations &+= 1 }
        missMemory.record(hash, reason)
    }

    /// Evicts the oldest entries that an order concerns.
    ///
    /// - Parameters:
    ///   - goesOn: asked before each.
    ///   - reason: why one leaves: it may be dead already when its turn comes.
    ///   - left: told of each that was evicted or found dead.
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
    /// - Parameter death: why an entry is dead; `nil` if it is not.
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

    /// Shows a namespace's entries to `body`, and removes those that it says are invalidated; see `MemoryShard.walk`. A read of one of
    /// these that is under way is done again.
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

// All memory that a shard points at is its own: what may be sent along is the whole of it, and it cannot be copied.
extension Shard: @unchecked Sendable {}
