import PantlerInsight
import PantlerMemory
import PantlerModel

/// The result of reading a head.
enum LoadedHead {
    case found(EntryHead)
    case missing
    /// The key was written meanwhile: memory and the lower tier have to be looked at again.
    case outdated
    case fault(TierFault)
}

/// Reads entries from the lower tier. A result is handed over under the shard's lock, where it is known whether the key was written
/// meanwhile: see `PendingLoads`.
final class LowerReads: Sendable {
    private let tiers: Tiers
    private let room: MemoryRoom
    private let background: WorkerPool

    init(_ tiers: Tiers, _ room: MemoryRoom, background: WorkerPool) {
        self.tiers = tiers
        self.room = room
        self.background = background
    }

    // MARK: Whole entries

    /// Reads an entry from the lower tier and hands it to `waiter`. All who wait for one key at the same time share one read.
    ///
    /// - Parameters:
    ///   - fillsMemory: whether an entry that may be seen is taken into memory.
    ///   - admits: tells whether `waiter` takes a value of so many bytes. Where it does not, it is told the size instead of getting the
    ///     value. `nil` = any.
    func awaitEntry(
        _ namespace: Namespace,
        _ address: EntryAddress,
        fillsMemory: Bool,
        admits: ReadAdmission? = nil,
        _ waiter: @escaping LoadWaiter
    ) {
        var joined = PendingLoads.Joined.joined
        tiers.shards.withShard(address.hash) {
            joined = $0.loads.join(address, fillsMemory: fillsMemory, admits: admits, waiter)
        }
        switch joined {
        case .joined: return
        case .first: beginLoad(namespace, address, isLimited: admits != nil)
        case .collision:
            // Two keys with the same 64-bit hash are being read at once. That is so rare that a millisecond's wait does not matter.
            background.async(afterMilliseconds: 1) { [self] in
                awaitEntry(namespace, address, fillsMemory: fillsMemory, admits: admits, waiter)
            }
        }
    }

    private func beginLoad(_ namespace: Namespace, _ address: EntryAddress, isLimited: Bool) {
        guard let lower = tiers.lower else { return finishLoad(namespace, address, .success(nil)) }
        guard isLimited else {
            lower.read(address) { [self] in finishLoad(namespace, address, $0) }
            return
        }
        lower.read(address) { [self] size in
            var isAdmitted = false
            tiers.shards.withShard(address.hash) { isAdmitted = $0.loads.admits(address.hash, size) }
            return isAdmitted
        } completion: { [self] result in
            switch result {
            case .success(.entry(let entry)): finishLoad(namespace, address, .success(entry))
            case .success(.larger(let size)): refuseLoad(namespace, address, size)
            case .failure(let fault): finishLoad(namespace, address, .failure(fault))
            }
        }
    }

    /// Ends the wait of all for whom a value is too large. If others have come meanwhile that take it, it is read for them.
    private func refuseLoad(_ namespace: Namespace, _ address: EntryAddress, _ size: Int64) {
        var actions: [@Sendable () -> Void] = []
        var isAwaited = false
        tiers.shards.withShard(address.hash) { shard in
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
        let moment = tiers.moment()
        var large: LargeValue?
        if case .success(let entry?) = read { large = LargeValue.copy(of: entry.value) }
        tiers.shards.withShard(address.hash) { shard in
            let loaded = loaded(namespace, address, read, large)
            if case .found(let entry, _) = loaded {
                // Those for whom the value is too large are told its size, so that they can find room before they get it.
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
                // A waiter before this one may have written the key, and what was read is out of date then.
                let current = shard.loads.isOutdated(address.hash) ? .outdated : loaded
                if let action = waiter(&shard, current) { actions.append(action) }
            }
            shard.loads.end(address.hash)
        }
        if filled { room.make(in: namespace.slot) }
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

    /// Takes an entry of the lower tier into memory, unless it is there already or may not be seen. Returns whether it was taken.
    ///
    /// - Parameter lastUse: when the entry was last used, if it is to stand behind all others; `nil` = it is used now.
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
        if case .dead = namespace.marks.freshness(of: entry, at: moment.now) { return false }
        namespace.marks.keepMarks(of: entry, at: moment.now)
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

    // MARK: Heads

    /// Reads the head of an entry of the lower tier and hands it to `waiter`.
    func awaitHead(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ waiter: @escaping @Sendable (inout Shard, LoadedHead) -> (@Sendable () -> Void)?
    ) {
        var number: UInt64 = 0
        tiers.shards.withShard(address.hash) { number = $0.loads.heads.begin(address) }
        let begun = number
        let finish: @Sendable (Result<EntryHead?, TierFault>) -> Void = { [self] result in
            var action: (@Sendable () -> Void)?
            tiers.shards.withShard(address.hash) { shard in
                let isCurrent = shard.loads.heads.end(address, begun)
                action = waiter(&shard, isCurrent ? loaded(namespace, address, result) : .outdated)
            }
            action?()
        }
        guard let lower = tiers.lower else { return finish(.success(nil)) }
        lower.readHead(address, completion: finish)
    }

    private func loaded(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ result: Result<EntryHead?, TierFault>
    ) -> LoadedHead {
        switch result {
        case .failure(let fault): return .fault(fault)
        case .success(nil): return .missing
        case .success(let head?):
            return namespace.isVoid(address.key, version: head.version) ? .missing : .found(head)
        }
    }
}
