import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

// Reads of the lower tier. What is read arrives under the shard's lock, where it meets whatever was written meanwhile.
extension Store {
    /// Reads an entry from the lower tier and hands it to `waiter`, together with all others who wait for it.
    ///
    /// - Parameters:
    ///   - fillsMemory: whether an entry that may be seen is taken into memory.
    ///   - admits: the sizes that `waiter` takes a value of: it is told of a larger one instead of getting it. `nil` = any.
    func awaitLoad(
        _ namespace: Namespace,
        _ address: EntryAddress,
        fillsMemory: Bool,
        admits: ReadAdmission? = nil,
        _ waiter: @escaping LoadWaiter
    ) {
        var joined = PendingLoads.Joined.joined
        shards.withShard(address.hash) {
            joined = $0.loads.join(address, fillsMemory: fillsMemory, admits: admits, waiter)
        }
        switch joined {
        case .joined: return
        case .first: beginLoad(namespace, address, isLimited: admits != nil)
        case .collision:
            // Two keys of 64 equal bits, both being read: so rare that a millisecond's wait is no matter.
            background.async(afterMilliseconds: 1) { [self] in
                awaitLoad(namespace, address, fillsMemory: fillsMemory, admits: admits, waiter)
            }
        }
    }

    private func beginLoad(_ namespace: Namespace, _ address: EntryAddress, isLimited: Bool) {
        guard let lower else { return finishLoad(namespace, address, .success(nil)) }
        guard isLimited else {
            lower.read(address) { [self] in finishLoad(namespace, address, $0) }
            return
        }
        lower.read(address) { [self] size in
            var isAdmitted = false
            shards.withShard(address.hash) { isAdmitted = $0.loads.admits(address.hash, size) }
            return isAdmitted
        } completion: { [self] result in
            switch result {
            case .success(.entry(let entry)): finishLoad(namespace, address, .success(entry))
            case .success(.larger(let size)): refuseLoad(namespace, address, size)
            case .failure(let fault): finishLoad(namespace, address, .failure(fault))
            }
        }
    }

    /// Ends the wait of all to whom a value is too large; for others, who have come meanwhile, it is read.
    private func refuseLoad(_ namespace: Namespace, _ address: EntryAddress, _ size: Int64) {
        var actions: [@Sendable () -> Void] = []
        var isAwaited = false
        shards.withShard(address.hash) { shard in
            for waiter in shard.loads.takeRefusing(address.hash, size) {
                if let action = waiter(&shard, .larger(size)) { actions.append(action) }
            }
            isAwaited = shard.loads.isAwaited(address.hash)
            if !isAwaited { shard.loads.end(address.hash) }
        }
        if isAwaited { beginLoad(namespace, address, isLimited: true) }
        for action in actions { action() }
    }

    private func finishLoad(_ namespace: Namespace, _ address: EntryAddress, _ read: Result<Entry?, TierFault>) {
        var actions: [@Sendable () -> Void] = []
        var filled = false
        let moment = moment()
        var large: LargeValue?
        if case .success(let entry?) = read { large = LargeValue.copy(of: entry.value) }
        shards.withShard(address.hash) { shard in
            let loaded = loaded(namespace, address, read, large)
            if case .found(let entry, _) = loaded {
                // Whom it is too large is to find room before it is given to them.
                let size = Int64(entry.value.count)
                for waiter in shard.loads.takeRefusing(address.hash, size) {
                    if let action = waiter(&shard, .larger(size)) { actions.append(action) }
                }
            }
            if case .found(let entry, _) = loaded, shard.loads.fillsMemory(address.hash),
                !shard.loads.isOutdated(address.hash)
            {
                filled = fill(&shard, namespace, address, entry, large, moment)
            }
            for waiter in shard.loads.waiters(address.hash) {
                // One of those before may have written: what was read is old then.
                let current = shard.loads.isOutdated(address.hash) ? .outdated : loaded
                if let action = waiter(&shard, current) { actions.append(action) }
            }
            shard.loads.end(address.hash)
        }
        if filled { makeRoom(namespace) }
        for action in actions { action() }
    }

    private func loaded(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ read: Result<Entry?, TierFault>,
        _ large: LargeValue?
    ) -> LoadedEntry {
        switch read {
        case .failure(let fault): return .fault(fault)
        case .success(nil): return .missing
        case .success(let entry?):
            return namespace.isVoid(address.key, version: entry.version) ? .missing : .found(entry, large)
        }
    }

    /// Takes an entry of the lower tier into memory, unless it is there already or may not be seen. Returns whether it did.
    ///
    /// - Parameter lastUse: when it was last used, if it is to stand behind all others; `nil` = it is used now.
    func fill(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ entry: Entry,
        _ large: LargeValue?,
        _ moment: Moment,
        lastUse: UInt64? = nil
    ) -> Bool {
        if namespace.isDropped { return false }
        if case .dead = namespace.freshness(of: entry, at: moment.now) { return false }
        namespace.keepMarks(of: entry, at: moment.now)
        return address.key.withUnsafeBytes { key in
            guard shard.memory.find(address.hash, namespace.slot, key) == nil else { return false }
            let outcome = entry.withContent(large) {
                if let lastUse {
                    return shard.memory.insertOldest(address.hash, namespace.slot, key, $0, stamp: lastUse)
                }
                return shard.memory.insert(address.hash, namespace.slot, key, $0, now: moment.access)
            }
            if outcome == .stored { shard.missMemory.forget(address.hash) }
            return outcome == .stored
        }
    }

    func makeRoom(_ namespace: Namespace) {
        makeRoom(namespace.slot)
    }

    /// Evicts until the bounds hold again. The lower tier is told of those that leave, so that there what memory kept hitting does not
    /// seem to have been used by nobody.
    func makeRoom(_ slot: NamespaceSlot) {
        let now = clock.now()
        shards.makeRoom(
            slot,
            evicted: { [self] entry in
                guard let lower, slots.withLock({ $0[entry.slot] })?.usesLower == true else { return }
                lower.noteLastUse(entry.hash, at: entry.lastUse)
            },
            reason: { [self] view, slot in reasonToLeave(view, slot, now) }
        )
    }

    /// Why an entry leaves whose turn it is to make room: it may be dead already. Under its shard's lock.
    func reasonToLeave(_ view: EntryView, _ slot: NamespaceSlot, _ now: Timestamp) -> MissReason {
        guard let namespace = slots.withLock({ $0[slot] }),
            case .dead(let reason) = namespace.freshness(of: view, at: now)
        else { return .evicted }
        return reason
    }
}
