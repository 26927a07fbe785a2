import PantlerInsight
import PantlerMemory
package import PantlerModel

/// The completions of a write that takes longer than its call.
package struct LateAnswer<Answer: Sendable>: Sendable {
    /// Called when the change is made and everybody sees it, and only its commit and sync are left to wait for. It is called at most once,
    /// and before `completion`. It is not called for a change that waits for room in the lower tier's queue, because then its caller is to
    /// wait too.
    package var made: (@Sendable () -> Void)?
    /// Called exactly once, like any completion of the store.
    package var completion: @Sendable (Result<Answer, Problem>) -> Void

    package init(
        made: (@Sendable () -> Void)? = nil,
        completion: @escaping @Sendable (Result<Answer, Problem>) -> Void
    ) {
        self.made = made
        self.completion = completion
    }
}

/// Makes the changes of entries that callers ask for.
///
/// Under the shard's lock a step sees what stands at the address and turns it into a change. `commit` makes the change, in memory and in
/// the lower tier's queue, so that versions, memory and queue agree about the order. Outside of the lock, the call waits until the change
/// is as durable as its namespace asks, and is answered.
final class EntryWrites: Sendable {
    private let tiers: Tiers
    private let reads: LowerReads
    private let room: MemoryRoom

    init(_ tiers: Tiers, _ reads: LowerReads, _ room: MemoryRoom) {
        self.tiers = tiers
        self.reads = reads
        self.room = room
    }

    /// Runs a step on what stands at an address, and answers once what it changed is as durable as the namespace asks.
    ///
    /// - Parameter isHolder: whether the caller holds the key; see `hold`.
    func write<Step: EntryStep>(
        _ step: Step,
        _ namespace: Namespace,
        _ address: EntryAddress,
        isHolder: Bool = false,
        completion: @escaping @Sendable (Result<Step.Answer, Problem>) -> Void
    ) {
        write(step, namespace, address, isHolder: isHolder, LateAnswer(completion: completion))
    }

    private func write<Step: EntryStep>(
        _ step: Step,
        _ namespace: Namespace,
        _ address: EntryAddress,
        isHolder: Bool,
        _ late: LateAnswer<Step.Answer>
    ) {
        let answer = write(step, namespace, address, at: tiers.moment(), isHolder: isHolder) { late }
        if let answer { late.completion(answer) }
    }

    /// Runs a step like the `write` above, but returns the answer where it is there at once. That allocates nothing but what the tiers
    /// keep.
    ///
    /// - Parameter later: called if there is no answer yet, and before one can come.
    /// - Returns: the answer; `nil` = it comes later.
    func write<Step: EntryStep>(
        _ step: Step,
        _ namespace: Namespace,
        _ address: EntryAddress,
        at moment: Moment,
        isHolder: Bool = false,
        later: () -> LateAnswer<Step.Answer>
    ) -> Result<Step.Answer, Problem>? {
        var done: Result<Committed<Step.Answer>, Problem>?
        var wakeups = LeaseWakeups()
        tiers.shards.withShard(address.hash) { shard in
            if !isHolder, shard.loads.isHeld(address.hash) { return }
            var standing = stands(&shard, namespace, address, moment)
            if standing == nil, !step.needsStanding { standing = .unknown }
            if let standing { done = run(step, &shard, namespace, address, standing, moment, &wakeups) }
        }
        wakeups.tell()
        if let done { return finish(namespace, address, done, later) }
        writeAfterRead(step, namespace, address, isHolder: isHolder, later())
        return nil
    }

    // MARK: What stands there

    /// What stands at an address as far as memory knows; `nil` where the lower tier must be asked.
    private func stands(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment
    ) -> Standing? {
        // `run` refuses the write, so that the lower tier need not be asked.
        if namespace.isDropped { return .unknown }
        guard let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }) else {
            if namespace.usesLower { return nil }
            return .some(.none(shard.missMemory.reason(for: address.hash) ?? .absent))
        }
        let view = shard.memory.view(ref)
        let large = view.isLarge ? shard.memory.largeValue(ref) : nil
        // The entry has ended if a walk that removes a prefix has still to come to it. A change of the entry would give it a new version,
        // and so carry it past the walk.
        let isEnding = namespace.marks.isBeingRemoved(address.key, version: view.version)
        let reason: MissReason
        switch namespace.marks.freshness(of: view, at: moment.now) {
        case .fresh:
            if !isEnding { return .memory(ref, view, large) }
            reason = .invalidated
        case .stale(let since):
            if !isEnding { return .memory(ref, view.expiring(at: since), large) }
            reason = .invalidated
        case .dead(let why): reason = why
        }
        shard.bury(ref, address.hash, namespace.slot, reason)
        return .some(.none(reason))
    }

    /// Asks the lower tier what stands there, and runs the step on that. Where another writer holds the key, this one waits first until the
    /// key is released.
    private func writeAfterRead<Step: EntryStep>(
        _ step: Step,
        _ namespace: Namespace,
        _ address: EntryAddress,
        isHolder: Bool,
        _ late: LateAnswer<Step.Answer>
    ) {
        let again: @Sendable () -> Void = { [self] in write(step, namespace, address, isHolder: isHolder, late) }
        if !isHolder, waitsForHolder(address, again) { return }
        let goOn: @Sendable (inout Shard, ToldByLower) -> (@Sendable () -> Void)? = { [self] shard, told in
            let moment = tiers.moment()
            let standing: Standing
            // A get that waited for the same read may have taken the entry into memory.
            if let found = stands(&shard, namespace, address, moment) {
                standing = found
            } else {
                switch told {
                case .outdated: return again
                case .fault(let fault):
                    shard.tally[namespace.slot].tierFaults &+= 1
                    if step.failsUnseen { return { late.completion(.failure(.unreadable(fault))) } }
                    standing = .none(.absent)
                case .missing: standing = .none(shard.missMemory.reason(for: address.hash) ?? .absent)
                case .entry(let entry): standing = judge(entry, namespace, address, moment, Standing.lower)
                case .head(let head): standing = judge(head, namespace, address, moment, Standing.head)
                }
            }
            var wakeups = LeaseWakeups()
            let done = run(step, &shard, namespace, address, standing, moment, &wakeups)
            return { [self, wakeups] in
                wakeups.tell()
                if let answer = finish(namespace, address, done, { late }) { late.completion(answer) }
            }
        }
        if Step.looksAtValue {
            reads.awaitEntry(namespace, address, fillsMemory: false) { goOn(&$0, ToldByLower($1)) }
        } else {
            reads.awaitHead(namespace, address) { goOn(&$0, ToldByLower($1)) }
        }
    }

    /// What stands there, by what the lower tier has told.
    ///
    /// - Parameter standing: makes a standing of an item that may be seen.
    private func judge<Item: Headed>(
        _ item: Item,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment,
        _ standing: (Item) -> Standing
    ) -> Standing {
        if namespace.isVoid(address.key, version: item.version) { return .none(.invalidated) }
        switch namespace.marks.freshness(of: item, at: moment.now) {
        case .fresh: return standing(item)
        case .stale(let since):
            var item = item
            item.expiresAt = since
            return standing(item)
        case .dead(let reason): return .none(reason)
        }
    }

    // MARK: Keys that one writer has to itself

    /// Whether another writer holds the key. If so, `again` runs when the key is released.
    private func waitsForHolder(_ address: EntryAddress, _ again: @escaping @Sendable () -> Void) -> Bool {
        var waits = false
        tiers.shards.withShard(address.hash) { shard in
            waits = shard.loads.isHeld(address.hash)
            if waits { shard.loads.wait(for: address.hash, again) }
        }
        return waits
    }

    /// Gives the caller all writes of a key, until `release`. Where another writer holds the key, `again` runs when the key is released.
    ///
    /// - Returns: whether the caller holds the key now.
    func hold(_ address: EntryAddress, _ again: @escaping @Sendable () -> Void) -> Bool {
        var isHeld = false
        tiers.shards.withShard(address.hash) { shard in
            isHeld = shard.loads.hold(address.hash)
            if !isHeld { shard.loads.wait(for: address.hash, again) }
        }
        return isHeld
    }

    /// Releases a key. After `answer`, the writers that have waited for the key go on, in the order in which they came.
    func release(_ address: EntryAddress, _ answer: () -> Void) {
        var waiting: [@Sendable () -> Void] = []
        tiers.shards.withShard(address.hash) { waiting = $0.loads.release(address.hash) }
        answer()
        for action in waiting { action() }
    }

    // MARK: Deciding

    /// Runs a step, and makes the change that it decides on. Called under the shard's lock.
    private func run<Step: EntryStep>(
        _ step: Step,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> Result<Committed<Step.Answer>, Problem> {
        if namespace.isDropped { return .failure(.namespaceNotFound(namespace.name.description)) }
        // The policy is read while the lock is held, as for every change: see `PolicyChanges`.
        let policy = namespace.policy
        do throws(Problem) {
            let lease = try step.lease.map { token throws(Problem) in
                try self.lease(token, &shard, namespace, address, moment, &wakeups)
            }
            try step.condition.check(standing.version)
            switch try step.decide(standing, policy, moment) {
            case .nothing(let answer):
                return .success(Committed(result: .success(answer), durability: policy.durability))
            case .absent(let reason, let result):
                let ticket = try removeHidden(&shard, namespace, address, reason, policy)
                endLease(&shard, address, .removed(reason), moment, &wakeups)
                return .success(Committed(result: result, ticket: ticket, durability: policy.durability))
            case .change(let change, var answer):
                answer.version = try tiers.nextVersion()
                if standing.isPresent {
                    // An invalidation may have had its version since the step looked, and before the change had one: then the change would
                    // carry the entry past it, or tell of an entry that was there no more. A later one has a greater version, and ends the
                    // changed entry like any other.
                    let now = standsNow(standing, &shard, namespace, address)
                    if !Step.isInvalidation, let version = now.version,
                        namespace.marks.isBeingMadeStale(address.key, version: version)
                    {
                        // What a walk is to do is done before the change, which it would pass over.
                        let stale = try makeStale(&shard, namespace, address, now, moment, &wakeups)
                        return run(step, &shard, namespace, address, stale, tiers.moment(), &wakeups)
                    }
                    if !now.isSame(as: standing) {
                        // With another version: what is seen by now may have a greater one than this, by which it would end the changed
                        // entry, too.
                        return run(step, &shard, namespace, address, now, tiers.moment(), &wakeups)
                    }
                }
                if let lease { try fill(lease, change, &shard, namespace, address, moment, &wakeups) }
                shard.tally[namespace.slot].count(change.kind)
                var stored: Version? = answer.version
                if case .remove = change.effect { stored = nil }
                let ticket = commit(
                    change,
                    as: answer.version,
                    &shard,
                    namespace,
                    address,
                    standing,
                    policy,
                    moment,
                    &wakeups
                )
                return .success(
                    Committed(result: .success(answer), ticket: ticket, stored: stored, durability: policy.durability)
                )
            }
        } catch {
            return .failure(error)
        }
    }

    /// What stands there, judged once more by all marks whose versions were given before this call.
    private func standsNow(
        _ standing: Standing,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress
    ) -> Standing {
        namespace.marks.settle()
        let moment = tiers.moment()
        switch standing {
        case .unknown, .none: return standing
        case .memory: return stands(&shard, namespace, address, moment) ?? .none(.absent)
        case .lower(let entry): return judge(entry, namespace, address, moment, Standing.lower)
        case .head(let head): return judge(head, namespace, address, moment, Standing.head)
        }
    }

    /// Makes an entry stale that a walk has still to come to. Returns what stands there after that.
    private func makeStale(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) throws(Problem) -> Standing {
        let step = InvalidateStep(mode: .stale, before: .max)
        // Whoever asked for the walk waits for all that was queued before its end, so that nobody has to wait for this change's ticket.
        let ended = try run(step, &shard, namespace, address, standing, moment, &wakeups).get().result.get()
        switch standing {
        case .unknown, .none: return standing
        case .memory: return stands(&shard, namespace, address, moment) ?? .none(.invalidated)
        case .lower(var entry):
            (entry.version, entry.expiresAt) = (ended.version, min(entry.expiresAt, moment.now))
            return entry.staleTTL == 0 ? .none(.invalidated) : .lower(entry)
        case .head(var head):
            (head.version, head.expiresAt) = (ended.version, min(head.expiresAt, moment.now))
            return head.staleTTL == 0 ? .none(.invalidated) : .head(head)
        }
    }

    // MARK: Committing

    /// Makes a change that a step has decided on, in memory and in the lower tier's queue. Called under the shard's lock under which the
    /// change was decided, so that its base holds.
    ///
    /// A tier that several nodes share would have the last word itself. The change would be handed to it here, and the call would go on
    /// with what has become of it.
    private func commit(
        _ change: EntryChange,
        as version: Version,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ policy: Policy,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> WriteTicket? {
        assert(change.base.holds(of: standing))
        // What is being read from the lower tier is out of date from here on.
        shard.loads.invalidate(address.hash)
        var end = LeaseTable.End.written
        if case .remove(let reason) = change.effect { end = .removed(reason) }
        endLease(&shard, address, end, moment, &wakeups)
        switch change.effect {
        case .put(var entry, let large):
            entry.version = version
            return put(&shard, namespace, address, entry, large, policy, moment)
        case .touch(var head):
            head.version = version
            return touch(&shard, namespace, address, standing, head, policy, moment)
        case .remove(let reason):
            return remove(&shard, namespace, address, standing, version, reason, policy)
        }
    }

    private func put(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ entry: Entry,
        _ large: LargeValue?,
        _ policy: Policy,
        _ moment: Moment
    ) -> WriteTicket? {
        let outcome = address.key.withUnsafeBytes { key in
            entry.withContent(large) { shard.memory.insert(address.hash, namespace.slot, key, $0, now: moment.access) }
        }
        switch outcome {
        case .stored: shard.missMemory.forget(address.hash)
        case .rejected: shard.missMemory.record(address.hash, .rejected)
        }
        guard let lower = tiers.lower, policy.durability != .memory else { return nil }
        return lower.enqueue(.put(address, entry, PutOptions(policy)), policy.durability)
    }

    /// Removes an entry from memory, and by the queue from the lower tier where the namespace uses it.
    private func remove(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ version: Version,
        _ reason: MissReason,
        _ policy: Policy
    ) -> WriteTicket? {
        if case .memory(let ref, _, _) = standing { shard.memory.remove(ref) }
        shard.missMemory.record(address.hash, reason)
        guard let lower = tiers.lower, namespace.usesLower else { return nil }
        return lower.enqueue(.delete(address, version: version), policy.durability)
    }

    /// Removes what the lower tier may have at an address where nothing is seen. A caller is told that nothing is there, so that nothing
    /// may come back: neither an entry whose invalidation is not durable yet and could be lost, nor a write that was answered as failed and
    /// that a crash could bring back.
    ///
    /// - Returns: the removal's ticket; `nil` where nothing can come back.
    private func removeHidden(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ reason: MissReason,
        _ policy: Policy
    ) throws(Problem) -> WriteTicket? {
        guard let lower = tiers.lower, namespace.usesLower,
            reason == .invalidated || lower.mayBringBack || namespace.marks.isBeingRemoved(address.key, version: 0)
        else { return nil }
        let version = try tiers.nextVersion()
        shard.loads.invalidate(address.hash)
        return remove(&shard, namespace, address, .none(reason), version, reason, policy)
    }

    private func touch(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ standing: Standing,
        _ head: EntryHead,
        _ policy: Policy,
        _ moment: Moment
    ) -> WriteTicket? {
        guard let base = standing.version else { return nil }
        // While the namespace's entries are on their way into the lower tier, this one may not be there yet. So the whole entry is queued.
        let whole = namespace.isEntering ? standing.entry : nil
        if case .memory(let ref, let view, let large) = standing {
            touch(&shard, namespace, address, ref, view, large, head, moment)
        }
        guard let lower = tiers.lower, policy.durability != .memory else { return nil }
        if var entry = whole {
            entry.version = head.version
            entry.expiresAt = head.expiresAt
            entry.staleTTL = head.staleTTL
            entry.tags = head.tags
            return lower.enqueue(.put(address, entry, PutOptions(policy)), policy.durability)
        }
        return lower.enqueue(.touch(address, Touch(bases: [base], head: head)), policy.durability)
    }

    private func touch(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ref: EntryRef,
        _ view: EntryView,
        _ large: LargeValue?,
        _ head: EntryHead,
        _ moment: Moment
    ) {
        let tags = view.encodedTags.isEmpty ? [] : view.tags()
        if tags == head.tags {
            shard.memory.setLife(ref, version: head.version, expiresAt: head.expiresAt, staleTTL: head.staleTTL)
            if let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }) {
                shard.memory.promote(ref, now: moment.access)
            }
            return
        }
        // Tags lie in one block with a small value, which is written again with them. A large value is taken over as it is.
        let content = EntryContent(
            value: view.value,
            isJSON: view.isJSON,
            mediaType: view.mediaType,
            tags: head.tags,
            version: head.version,
            expiresAt: head.expiresAt,
            staleTTL: head.staleTTL,
            largeValue: large
        )
        let outcome = address.key.withUnsafeBytes { key in
            shard.memory.insert(address.hash, namespace.slot, key, content, now: moment.access)
        }
        if outcome == .rejected { shard.missMemory.record(address.hash, .rejected) }
    }

    // MARK: Leases

    /// Since which version the lease is held that a token stands for. Throws `lease_lost`.
    private func lease(
        _ token: LeaseToken,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) throws(Problem) -> Version {
        if let lease = shard.leases.lease(address, token, tiers.versions.latest, moment, &wakeups) { return lease }
        shard.tally[namespace.slot].leasesLost &+= 1
        throw .leaseLost
    }

    /// Ends a lease, which is held since the version `lease`, with its fill. To be called once the fill has its version: see `Marks.fences`.
    ///
    /// - Throws: `lease_lost` where what was loaded may be out of date.
    private func fill(
        _ lease: Version,
        _ change: EntryChange,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) throws(Problem) {
        guard namespace.marks.fences(address.key, change.effect.tags, since: lease) else {
            return shard.leases.fill(address.hash, moment, &wakeups)
        }
        endLease(&shard, address, .removed(.invalidated), moment, &wakeups)
        shard.tally[namespace.slot].leasesLost &+= 1
        throw .leaseLost
    }

    private func endLease(
        _ shard: inout Shard,
        _ address: EntryAddress,
        _ why: LeaseTable.End,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) {
        if shard.leases.isEmpty { return }
        shard.leases.end(address.hash, why, tiers.versions.latest, moment, &wakeups)
    }

    // MARK: Answering

    /// The answer to a step, once the change is as durable as its namespace asks.
    ///
    /// - Parameter later: called if the answer takes longer, and before it can come.
    /// - Returns: the answer; `nil` = it comes later.
    private func finish<Answer: Sendable>(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ done: Result<Committed<Answer>, Problem>,
        _ later: () -> LateAnswer<Answer>
    ) -> Result<Answer, Problem>? {
        let committed: Committed<Answer>
        switch done {
        case .failure(let problem): return .failure(problem)
        case .success(let done): committed = done
        }
        if committed.stored != nil { room.make(in: namespace.slot) }
        guard let lower = tiers.lower, let ticket = committed.ticket,
            !lower.isSettled(ticket, committed.durability)
        else { return committed.result }
        let late = later()
        let completion = late.completion
        if committed.durability == .through { late.made?() }
        let isSettled = lower.settle(ticket, committed.durability) { [self] fault in
            guard let fault else { return completion(committed.result) }
            if let version = committed.stored, fault.outcome != .kept { takeBack(namespace, address, version) }
            completion(.failure(.storage(fault)))
        }
        if isSettled { completion(committed.result) }
        return nil
    }

    /// Removes from memory the entry of a write that is answered as failed, unless another write has replaced it by now.
    private func takeBack(_ namespace: Namespace, _ address: EntryAddress, _ version: Version) {
        tiers.shards.withShard(address.hash) { shard in
            shard.loads.invalidate(address.hash)
            guard let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }),
                shard.memory.view(ref).version == version
            else { return }
            shard.memory.remove(ref)
        }
    }
}

/// The outcome of a step under the shard's lock: the answer, and what has to be waited for before it is given.
private struct Committed<Answer: Sendable>: Sendable {
    var result: Result<Answer, Problem>
    /// The change's place in the lower tier's queue; `nil` where it does not go there.
    var ticket: WriteTicket?
    /// The version that was stored, to be taken back if the change cannot be made durable.
    var stored: Version?
    /// The durability of the policy by which the change was made.
    var durability: Durability
}

/// What the lower tier says of an address.
private enum ToldByLower {
    case entry(Entry)
    case head(EntryHead)
    case missing
    /// The key was written meanwhile: memory and the lower tier have to be looked at again.
    case outdated
    case fault(TierFault)

    init(_ entry: LoadedEntry) {
        switch entry {
        case .found(let entry, _): self = .entry(entry)
        case .missing: self = .missing
        case .outdated, .larger: self = .outdated
        case .fault(let fault): self = .fault(fault)
        }
    }

    init(_ head: LoadedHead) {
        switch head {
        case .found(let head): self = .head(head)
        case .missing: self = .missing
        case .outdated: self = .outdated
        case .fault(let fault): self = .fault(fault)
        }
    }
}

extension PutOptions {
    init(_ policy: Policy) {
        self.init(compressionThreshold: policy.compressionThreshold, compressionLevel: policy.compressionLevel)
    }
}

extension Problem {
    /// The problem of a call that has to know what stands there, where the lower tier cannot be read.
    static func unreadable(_ fault: TierFault) -> Problem {
        Problem(
            .storageUnavailable,
            "The disk tier does not answer: what is there now is not known, and nothing was changed."
        )
    }
}
