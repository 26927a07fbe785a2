import PantlerMemory
import PantlerModel
import Synchronization

/// What has to be waited for before a change of policy is answered.
private struct PolicyTurn: Sendable {
    /// The record's place in the lower tier's queue.
    var ticket: WriteTicket?
    /// Set where the namespace has come to the lower tier: entries with a smaller version were written before.
    var entersBelow: Version?
    /// Whether what was written by the former policy is to be as durable as what is written now.
    var coversAll = false
}

/// Changes of policies.
///
/// Each write follows one policy, which it reads under its shard's lock. A change of policy takes all these locks in turn after it has set
/// the policy, so that no write by the former policy is under way any more.
final class PolicyChanges: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let room: MemoryRoom
    private let housekeeping: Housekeeping
    private let background: WorkerPool

    init(
        _ tiers: Tiers,
        _ catalogue: Catalogue,
        _ room: MemoryRoom,
        _ housekeeping: Housekeeping,
        background: WorkerPool
    ) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.room = room
        self.housekeeping = housekeeping
        self.background = background
    }

    /// Sets a namespace's whole policy; makes the namespace where there is none. Fails with `too_many_namespaces` or `storage_…`.
    func set(
        _ name: NamespaceName,
        _ policy: Policy,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        let done: Result<(PolicySet, PolicyTurn), Problem> = catalogue.ordered { registry in
            if let found = registry.byName[name.description] {
                return .success((PolicySet(namespace: found, isNew: false), apply(policy, to: found)))
            }
            return catalogue.make(name, policy, .through, &registry).map {
                (PolicySet(namespace: $0.namespace, isNew: true), PolicyTurn(ticket: $0.ticket))
            }
        }
        settle(done, completion)
    }

    /// Changes a namespace's policy. Fails with `namespace_not_found`, what `change` throws, or `storage_…`.
    func change(
        _ name: NamespaceName,
        _ change: (inout Policy) throws(Problem) -> Void,
        completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        let done: Result<(PolicySet, PolicyTurn), Problem> = catalogue.ordered { registry in
            guard let found = registry.byName[name.description] else {
                return .failure(.namespaceNotFound(name.description))
            }
            var policy = found.policy
            do throws(Problem) {
                try change(&policy)
            } catch {
                return .failure(error)
            }
            return .success((PolicySet(namespace: found, isNew: false), apply(policy, to: found)))
        }
        settle(done, completion)
    }

    /// Gives a namespace a policy. To be called within `Catalogue.ordered`.
    private func apply(_ policy: Policy, to namespace: Namespace) -> PolicyTurn {
        let former = namespace.policy.durability
        _ = namespace.update { $0.policy = policy }
        tiers.memory.setQuota(namespace.slot, maxBytes: policy.maxMemory, maxEntries: policy.maxEntries)
        background.async { [self] in room.make(in: namespace.slot) }
        tiers.shards.withEachShard { _, _ in }
        // All writes by the former policy have their versions, and what they queued is in the queue.
        let next = tiers.versions.latest + 1
        let leaves = former != .memory && policy.durability == .memory
        let enters = former == .memory && policy.durability != .memory
        let record = namespace.update { if leaves { $0.lowerFrom = next } }
        guard let lower = tiers.lower else { return PolicyTurn() }
        if enters {
            // While the namespace was in memory alone, its marks of tags were, too.
            namespace.beginEntering()
            namespace.marks.withTags { tag, mark in _ = lower.enqueue(.tag(namespace.id, tag: tag, mark)) }
        }
        // Where the namespace enters the lower tier, the changes that are waited for come after this one, and it is synced with them.
        let ticket = lower.enqueue(.namespace(record), enters ? .behind : .through)
        let coversAll = former == .behind && policy.durability == .through
        if leaves {
            // What is being read from the lower tier is void by now.
            tiers.outdateReads(of: namespace)
            housekeeping.askForSweep()
        }
        return PolicyTurn(ticket: ticket, entersBelow: enters ? next : nil, coversAll: coversAll)
    }

    /// Answers once a change of policy is committed and synced. Where the namespace has come to the lower tier, all that it has in memory
    /// is synced too before that; where its writes were `behind` and are `through` now, all that was queued is.
    private func settle(
        _ done: Result<(PolicySet, PolicyTurn), Problem>,
        _ completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        switch done {
        case .failure(let problem): completion(.failure(problem))
        case .success((let set, let turn)):
            if let version = turn.entersBelow {
                return background.async { [self] in
                    enterLower(set.namespace, EntryWalk(before: version, ticket: turn.ticket)) { [self] in
                        settleAll(set, completion)
                    }
                }
            }
            tiers.settle(turn.ticket.map { [$0] } ?? [], .through, set) { [self] result in
                guard turn.coversAll, case .success = result else { return completion(result) }
                settleAll(set, completion)
            }
        }
    }

    /// Waits for the whole queue, because a change of an entry whose value is still being deflated is committed later than what came after
    /// it. Where that fails, the policy is not taken back, since it is in force.
    private func settleAll(
        _ set: PolicySet,
        _ completion: @escaping @Sendable (Result<PolicySet, Problem>) -> Void
    ) {
        guard let lower = tiers.lower else { return completion(.success(set)) }
        let isSettled = lower.settleAll { fault in
            completion(fault.map { .failure(.storage($0.with(.kept))) } ?? .success(set))
        }
        if isSettled { completion(.success(set)) }
    }

    // MARK: Into the lower tier

    /// Records that are looked at, and bytes that are copied, under one hold of a shard's lock.
    private static let walkKeys = 500
    private static let walkBytes = 256 << 10

    /// Queues all entries that a namespace has in memory for the lower tier, to which it has come: a few under one hold of a lock, and no
    /// faster than they are written. An entry that a call writes meanwhile is queued by that call. The two are in the right order, because
    /// both are queued under the shard's lock.
    ///
    /// - Parameter completion: called once all of them are in the queue.
    private func enterLower(_ namespace: Namespace, _ walk: EntryWalk, _ completion: @escaping @Sendable () -> Void) {
        guard let lower = tiers.lower else { return completion() }
        var walk = walk
        while walk.shard < tiers.shards.count, !namespace.isDropped, namespace.usesLower {
            tiers.shards.withShard(number: walk.shard) { shard in
                if walk.keys.isEmpty { find(&shard, namespace, &walk) } else { copy(&shard, lower, namespace, &walk) }
            }
            guard let ticket = walk.ticket, !lower.isSettled(ticket, .behind) else { continue }
            let rest = walk
            let hasRoom = lower.settle(ticket, .behind) { [self] _ in
                background.async { [self] in enterLower(namespace, rest, completion) }
            }
            if !hasRoom { return }
        }
        namespace.endEntering()
        completion()
    }

    private func find(_ shard: inout Shard, _ namespace: Namespace, _ walk: inout EntryWalk) {
        // A slot may belong to another namespace once this one is dropped.
        if namespace.isDropped { return }
        var found: [EntryWalk.Key] = []
        let next = shard.memory.visit(namespace.slot, from: walk.position ?? 0, limit: Self.walkKeys) { view in
            if view.version < walk.before { found.append(EntryWalk.Key(hash: view.hash, bytes: Array(view.key))) }
        }
        walk.keys = found
        walk.position = next
        if next == nil, found.isEmpty { walk.shard += 1 }
    }

    private func copy(
        _ shard: inout Shard,
        _ lower: any LowerTier,
        _ namespace: Namespace,
        _ walk: inout EntryWalk
    ) {
        let moment = tiers.moment()
        var bytes = 0
        while bytes < Self.walkBytes, let key = walk.keys.popLast() {
            let policy = namespace.policy
            guard !namespace.isDropped, policy.durability != .memory,
                let ref = key.bytes.withUnsafeBytes({ shard.memory.find(key.hash, namespace.slot, $0) })
            else { continue }
            let view = shard.memory.view(ref)
            // The entry is left out, because a walk that removes a prefix will come to it.
            if namespace.marks.isBeingRemoved(key.bytes, version: view.version) { continue }
            var entry: Entry
            switch namespace.marks.freshness(of: view, at: moment.now) {
            case .fresh: entry = Entry(view)
            case .stale(let since): entry = Entry(view.expiring(at: since))
            case .dead: continue
            }
            if entry.version < namespace.lowerFrom {
                // The tier takes an entry with this version for void, whether it has one or not. So the entry gets a new version.
                guard let version = tiers.versions.allocate() else { continue }
                entry.version = version
                shard.loads.invalidate(key.hash)
                shard.memory.setLife(ref, version: version, expiresAt: entry.expiresAt, staleTTL: entry.staleTTL)
            }
            let address = EntryAddress(namespace: namespace.id, key: key.bytes, hash: key.hash)
            walk.ticket = lower.enqueue(.put(address, entry, PutOptions(policy)))
            bytes += entry.value.count + 256
        }
        if walk.keys.isEmpty, walk.position == nil { walk.shard += 1 }
    }
}

/// How far a walk over a namespace's entries in memory has come.
private struct EntryWalk: Sendable {
    struct Key: Sendable {
        var hash: UInt64
        var bytes: [UInt8]
    }

    /// The walk is for entries with smaller versions.
    let before: Version
    /// The place of the last change in the lower tier's queue.
    var ticket: WriteTicket?
    var shard = 0
    /// Where the shard is looked through next; `nil` = from its beginning.
    var position: UInt32?
    /// Keys that were found, and whose entries were not copied yet.
    var keys: [Key] = []
}
