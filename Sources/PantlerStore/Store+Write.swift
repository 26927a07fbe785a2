import PantlerInsight
import PantlerMemory
package import PantlerModel

// The way of every change: under the shard's lock a step sees what stands at the address, decides, and stores; out of the
// lock the change is waited for as its durability asks, and answered.

/// What stands at an address when a write comes to it.
///
/// An entry that is stale shows the moment since when, as its expiry: what a change keeps of it stays as stale as it was, although the
/// change gives it a version that no mark concerns.
enum Standing {
    /// Nobody has looked: it makes no difference.
    case unknown
    /// Nothing that may be seen.
    case none(MissReason)
    case memory(EntryRef, EntryView)
    case lower(Entry)
    /// The same where nobody has asked for the value.
    case head(EntryHead)

    /// Whether there is an entry that may be seen.
    var isPresent: Bool {
        switch self {
        case .memory, .lower, .head: true
        case .unknown, .none: false
        }
    }

    var version: Version? {
        switch self {
        case .memory(_, let view): view.version
        case .lower(let entry): entry.version
        case .head(let head): head.version
        case .unknown, .none: nil
        }
    }

    /// Bytes of the value that stands there; 0 where there is none.
    var valueCount: Int {
        switch self {
        case .memory(_, let view): view.value.count
        case .lower(let entry): entry.value.count
        case .head, .unknown, .none: 0
        }
    }

    /// The whole entry. Complexity: O(size) for one in memory.
    var entry: Entry? {
        switch self {
        case .memory(_, let view): Entry(view)
        case .lower(let entry): entry
        case .head, .unknown, .none: nil
        }
    }

    /// All but the value. Complexity: O(tags).
    var head: EntryHead? {
        switch self {
        case .memory(_, let view):
            EntryHead(
                version: view.version,
                expiresAt: view.expiresAt,
                staleTTL: view.staleTTL,
                tags: view.encodedTags.isEmpty ? [] : view.tags()
            )
        case .lower(let entry): EntryHead(entry)
        case .head(let head): head
        case .unknown, .none: nil
        }
    }
}

/// What a step has done: the answer, and what has to be waited for before it is given.
struct Step<Answer: Sendable>: Sendable {
    var answer: Answer
    /// What is answered instead where a caller is told that there was nothing to change, and something was written all the same.
    var refusal: Problem?
    /// The change's place in the lower tier's queue; `nil` where it does not go there.
    var ticket: WriteTicket?
    /// The version that was stored, to be taken back if the change cannot be made durable.
    var stored: Version?
    /// That of the policy by which the change was made.
    var durability: Durability?

    var result: Result<Answer, Problem> { refusal.map { .failure($0) } ?? .success(answer) }
}

/// Who is told of a write that takes longer than its call.
package struct LateAnswer<Answer: Sendable>: Sendable {
    /// The change is made and everybody sees it; what is left to wait for is that it is committed and synced. Called at most once, and
    /// before `completion`. Not called for a change that waits for room in the lower tier's queue: its writer is to wait too.
    package var made: (@Sendable () -> Void)?
    /// Called exactly once, as any completion of the store's.
    package var completion: @Sendable (Result<Answer, Problem>) -> Void

    package init(
        made: (@Sendable () -> Void)? = nil,
        completion: @escaping @Sendable (Result<Answer, Problem>) -> Void
    ) {
        self.made = made
        self.completion = completion
    }
}

extension Store {
    /// Runs a step on what stands in memory.
    ///
    /// - Parameters:
    ///   - needsStanding: `false` lets the step run on `.unknown` where memory does not have the entry.
    ///   - isHolder: whether the caller has the key's writes to itself.
    /// - Returns: what it did or threw; `nil` = it did not run, because the lower tier must be asked, or another writer has the key to
    ///   itself.
    func attempt<Answer>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment,
        needsStanding: Bool,
        isHolder: Bool = false,
        _ step: (inout Shard, Standing) throws(Problem) -> Step<Answer>
    ) -> Result<Step<Answer>, Problem>? {
        var done: Result<Step<Answer>, Problem>?
        shards.withShard(address.hash) { shard in
            if !isHolder, shard.loads.isHeld(address.hash) { return }
            var standing = stands(&shard, namespace, address, moment)
            if standing == nil, !needsStanding { standing = .unknown }
            if let standing { done = run(&shard, namespace, standing, step) }
        }
        return done
    }

    /// Runs a step on what stands at an address, and answers with what it did or threw.
    ///
    /// - Parameters:
    ///   - isConditional: what stands there decides whether the step goes on; where the lower tier cannot tell, it does not. Otherwise a
    ///     fault counts as nothing there.
    ///   - needsValue: whether the step looks at the value that stands there.
    ///   - isHolder: whether the caller has the key's writes to itself.
    func write<Answer: Sendable>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ policy: Policy,
        isConditional: Bool = true,
        needsValue: Bool = true,
        isHolder: Bool = false,
        _ late: LateAnswer<Answer>,
        step: @escaping @Sendable (inout Shard, Standing, Moment) throws(Problem) -> Step<Answer>
    ) {
        let moment = moment()
        let done = attempt(namespace, address, moment, needsStanding: true, isHolder: isHolder) {
            shard,
            standing throws(Problem) in
            try step(&shard, standing, moment)
        }
        guard let done else {
            if !needsValue {
                return writeAfterHead(
                    namespace,
                    address,
                    policy,
                    isConditional: isConditional,
                    isHolder: isHolder,
                    late,
                    step: step
                )
            }
            return writeAfterLoad(
                namespace,
                address,
                policy,
                isConditional: isConditional,
                isHolder: isHolder,
                late,
                step: step
            )
        }
        if let answer = finish(namespace, address, policy, done, { late }) { late.completion(answer) }
    }

    /// The same where memory cannot tell what stands there: asks the lower tier, and runs the step on that. Where another writer has
    /// the key to itself, it waits for that one's end first.
    func writeAfterLoad<Answer: Sendable>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ policy: Policy,
        isConditional: Bool,
        isHolder: Bool = false,
        _ late: LateAnswer<Answer>,
        step: @escaping @Sendable (inout Shard, Standing, Moment) throws(Problem) -> Step<Answer>
    ) {
        let again: @Sendable () -> Void = { [self] in
            write(
                namespace,
                address,
                policy,
                isConditional: isConditional,
                isHolder: isHolder,
                late,
                step: step
            )
        }
        if !isHolder, waitsForHolder(address, again) { return }
        awaitLoad(namespace, address, fillsMemory: false) { [self] shard, loaded in
            let moment = self.moment()
            let standing: Standing
            // A get that waited for the same read may have taken the entry into memory.
            if let found = stands(&shard, namespace, address, moment) {
                standing = found
            } else {
                switch loaded {
                case .outdated, .larger: return again
                case .fault(let fault):
                    shard.tally[namespace.slot].tierFaults &+= 1
                    if isConditional { return { late.completion(.failure(.unreadable(fault))) } }
                    standing = .none(.absent)
                case .missing: standing = .none(shard.missMemory.reason(for: address.hash) ?? .absent)
                case .found(let entry, _): standing = judge(entry, namespace, moment, Standing.lower)
                }
            }
            let done = run(&shard, namespace, standing) { shard, standing throws(Problem) in
                try step(&shard, standing, moment)
            }
            return { [self] in
                if let answer = finish(namespace, address, policy, done, { late }) { late.completion(answer) }
            }
        }
    }

    /// Whether another writer has the key to itself: `again` runs at its end then.
    func waitsForHolder(_ address: EntryAddress, _ again: @escaping @Sendable () -> Void) -> Bool {
        var waits = false
        shards.withShard(address.hash) { shard in
            waits = shard.loads.isHeld(address.hash)
            if waits { shard.loads.wait(for: address.hash, again) }
        }
        return waits
    }

    /// What stands there as the lower tier has told it.
    ///
    /// - Parameter standing: what an item is that may be seen.
    func judge<Item: Headed>(
        _ item: Item,
        _ namespace: Namespace,
        _ moment: Moment,
        _ standing: (Item) -> Standing
    ) -> Standing {
        switch namespace.freshness(of: item, at: moment.now) {
        case .fresh: return standing(item)
        case .stale(let since):
            var item = item
            item.expiresAt = since
            return standing(item)
        case .dead(let reason): return .none(reason)
        }
    }

    /// What stands at an address as far as memory knows; `nil` where the lower tier must be asked.
    func stands(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment
    ) -> Standing? {
        // `run` refuses it; the lower tier need not be asked.
        if namespace.isDropped { return .unknown }
        guard let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }) else {
            if namespace.usesLower { return nil }
            return .some(.none(shard.missMemory.reason(for: address.hash) ?? .absent))
        }
        let view = shard.memory.view(ref)
        // A walk that removes a prefix has not come to it yet: a change of it would carry what has ended past the walk.
        let isEnding = namespace.isBeingRemoved(address.key, version: view.version)
        let reason: MissReason
        switch namespace.freshness(of: view, at: moment.now) {
        case .fresh:
            if !isEnding { return .memory(ref, view) }
            reason = .invalidated
        case .stale(let since):
            if !isEnding { return .memory(ref, view.expiring(at: since)) }
            reason = .invalidated
        case .dead(let why): reason = why
        }
        shard.bury(ref, address.hash, namespace.slot, reason)
        return .some(.none(reason))
    }

    func run<Answer>(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ standing: Standing,
        _ step: (inout Shard, Standing) throws(Problem) -> Step<Answer>
    ) -> Result<Step<Answer>, Problem> {
        if namespace.isDropped { return .failure(.namespaceNotFound(namespace.name.description)) }
        do throws(Problem) {
            return .success(try step(&shard, standing))
        } catch {
            return .failure(error)
        }
    }

    /// What a step is answered with, once the change is as durable as its namespace asks.
    ///
    /// - Parameter later: asked for if that takes longer, and before the answer can come.
    /// - Returns: the answer; `nil` = it comes later.
    func finish<Answer: Sendable>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ policy: Policy,
        _ done: Result<Step<Answer>, Problem>,
        _ later: () -> LateAnswer<Answer>
    ) -> Result<Answer, Problem>? {
        let step: Step<Answer>
        switch done {
        case .failure(let problem): return .failure(problem)
        case .success(let done): step = done
        }
        if step.stored != nil { makeRoom(namespace) }
        let durability = step.durability ?? policy.durability
        guard let lower, let ticket = step.ticket, !lower.isSettled(ticket, durability) else {
            return step.result
        }
        let late = later()
        let completion = late.completion
        if durability == .through { late.made?() }
        let isSettled = lower.settle(ticket, durability) { [self] fault in
            guard let fault else { return completion(step.result) }
            if let version = step.stored, fault.outcome != .kept { takeBack(namespace, address, version) }
            completion(.failure(.storage(fault)))
        }
        if isSettled { completion(step.result) }
        return nil
    }

    /// A write was answered as failed: nobody is to see it, unless another has replaced it by now.
    private func takeBack(_ namespace: Namespace, _ address: EntryAddress, _ version: Version) {
        shards.withShard(address.hash) { shard in
            shard.loads.invalidate(address.hash)
            guard let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }),
                shard.memory.view(ref).version == version
            else { return }
            shard.memory.remove(ref)
        }
    }

    // MARK: Within a step

    func nextVersion() throws(Problem) -> Version {
        guard let version = versions.allocate() else { throw .noVersion }
        return version
    }

    /// Puts an entry into memory and into the lower tier's queue.
    ///
    /// - Parameter large: a copy of a large value that was made before the lock was taken; `nil` has it made under the lock.
    func store(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ entry: Entry,
        _ large: LargeValue?,
        _ policy: Policy,
        _ moment: Moment
    ) -> WriteTicket? {
        shard.loads.invalidate(address.hash)
        let outcome = address.key.withUnsafeBytes { key in
            entry.withContent(large) { shard.memory.insert(address.hash, namespace.slot, key, $0, now: moment.access) }
        }
        switch outcome {
        case .stored: shard.missMemory.forget(address.hash)
        case .rejected: shard.missMemory.record(address.hash, .rejected)
        }
        guard let lower, policy.durability != .memory else { return nil }
        return lower.enqueue(.put(address, entry, PutOptions(policy)), policy.durability)
    }

    /// Removes an entry from memory and, by the lower tier's queue, from there.
    func remove(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ version: Version,
        _ reason: MissReason,
        _ policy: Policy
    ) -> WriteTicket? {
        shard.loads.invalidate(address.hash)
        if case .memory(let ref, _) = standing { shard.memory.remove(ref) }
        shard.missMemory.record(address.hash, reason)
        guard let lower, namespace.usesLower else { return nil }
        return lower.enqueue(.delete(address, version: version), policy.durability)
    }

    /// Removes what the lower tier may have at an address where nothing is seen: a caller is told that nothing is there, and nothing must
    /// come back, neither should an invalidation that hides it be lost, which may not be durable yet, nor what failed to be written.
    ///
    /// - Returns: the removal's ticket; `nil` where nothing can come back.
    func removeHidden(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ reason: MissReason,
        _ policy: Policy
    ) throws(Problem) -> WriteTicket? {
        guard let lower, namespace.usesLower,
            reason == .invalidated || lower.mayBringBack || namespace.isBeingRemoved(address.key, version: 0)
        else { return nil }
        return remove(&shard, namespace, address, .none(reason), try nextVersion(), reason, policy)
    }
}

extension Problem {
    /// The reserved block of versions is used up, and the lower tier cannot reserve another.
    static let noVersion = Problem(
        .storageUnavailable,
        "The disk tier does not answer: no more versions can be given, and nothing was changed."
    )

    /// A condition cannot be judged, because the lower tier cannot be read.
    static func unreadable(_ fault: TierFault) -> Problem {
        Problem(
            .storageUnavailable,
            "The disk tier does not answer: what is there now is not known, and nothing was changed."
        )
    }
}
