import Dispatch
import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// Ends many entries at once, or makes them stale: by key, by tag, by prefix, or all of a namespace.
///
/// Tags and whole namespaces get a mark, by which each entry is judged when it is met. A prefix takes a walk over the namespace's entries,
/// in memory and below, in small steps off the event loops.
final class Invalidations: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let writes: EntryWrites
    private let housekeeping: Housekeeping
    private let background: WorkerPool
    /// Invalidations by prefix that are under way.
    let prefixes = PrefixQueue()
    /// Removals of prefixes in which the lower tier has failed so far.
    private let removals = HeldRemovals()
    let walks = WorkerPool("walks")

    init(
        _ tiers: Tiers,
        _ catalogue: Catalogue,
        _ writes: EntryWrites,
        _ housekeeping: Housekeeping,
        background: WorkerPool
    ) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.writes = writes
        self.housekeeping = housekeeping
        self.background = background
    }

    /// Why a prefix could not be removed from the lower tier so far; `nil` while all is well.
    var fault: TierFault? { removals.fault }

    /// Ends entries, or makes them stale. Fails with `storage_…`, and with `overloaded` where too many prefixes are under way.
    func invalidate(
        _ namespace: Namespace,
        _ what: Invalidation,
        mode: InvalidationMode,
        completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        countInvalidation(namespace)
        switch what {
        case .keys(let addresses):
            let isOne = addresses.count == 1
            let countdown = Countdown(addresses.count) { result in
                completion(result.map { Invalidated(count: $0) }.mapError { isOne ? $0 : $0.ofSome })
            }
            for address in addresses { invalidate(namespace, address, mode) { countdown.count($0) } }
        case .tags(let tags):
            invalidate(namespace, tags: tags, mode, completion)
        case .all:
            flush(namespace, mode, completion)
        case .prefix(let prefix):
            invalidate(namespace, prefix: prefix, mode, completion)
        }
    }

    /// Ends one entry, or makes it stale; answers whether there was one.
    private func invalidate(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ mode: InvalidationMode,
        before: Version = .max,
        completion: @escaping @Sendable (Result<Bool, Problem>) -> Void
    ) {
        writes.write(InvalidateStep(mode: mode, before: before), namespace, address) {
            completion($0.map(\.wasThere))
        }
    }

    private func newMark(_ mode: InvalidationMode) -> Watermark? {
        guard let version = tiers.versions.allocate() else { return nil }
        switch mode {
        case .gone: return Watermark(goneBefore: version)
        case .stale: return Watermark(staleMarks: [StaleMark(before: version, since: tiers.clock.now())])
        }
    }

    private func invalidate(
        _ namespace: Namespace,
        tags: [EntryTag],
        _ mode: InvalidationMode,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        // Marks of namespaces that are never on disk end with the process, as their entries do.
        let durability = namespace.policy.durability
        var tickets: [WriteTicket] = []
        let isMarked = namespace.marks.mark(tags: tags) {
            newMark(mode)
        } queue: { tag, mark in
            guard let lower = tiers.lower, namespace.usesLower else { return }
            tickets.append(lower.enqueue(.tag(namespace.id, tag: tag, mark), durability))
        }
        guard isMarked else { return completion(.failure(.noVersion)) }
        housekeeping.askForSlowSweep()
        tiers.settle(tickets, durability, Invalidated(tags: tags.count), completion)
    }

    private func flush(
        _ namespace: Namespace,
        _ mode: InvalidationMode,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        let durability = namespace.policy.durability
        let flushed: (generation: UInt64, mark: Version, ticket: WriteTicket?)? = catalogue.ordered { _ in
            var mark: Version = 0
            let flushed = namespace.flush {
                let new = newMark(mode)
                mark = new?.newest ?? 0
                return new
            }
            guard let record = flushed else { return nil }
            return (record.generation, mark, tiers.lower?.enqueue(.namespace(record), durability))
        }
        guard let (generation, mark, ticket) = flushed else { return completion(.failure(.noVersion)) }
        // The fills of these leases would be refused. Whoever waits for them need not wait for that.
        background.async { [self] in tiers.endLeases(of: namespace.id, .removed(.invalidated)) { $0.since < mark } }
        housekeeping.askForSweep()
        tiers.settle(ticket.map { [$0] } ?? [], durability, Invalidated(generation: generation), completion)
    }

    private func countInvalidation(_ namespace: Namespace) {
        tiers.shards.withShard(0) { shard in
            if !namespace.isDropped { shard.tally[namespace.slot].invalidations &+= 1 }
        }
    }

    // MARK: Prefixes

    /// Removes a prefix from the lower tier, and ends what `Marks.begin(prefix:before:)` began. Where the lower tier cannot remove all of
    /// it, the mark stays and hides the entries, and the removal is tried again until it succeeds.
    private func removeFromLower(
        _ namespace: Namespace,
        _ prefix: [UInt8],
        before version: Version,
        _ completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) {
        guard let lower = tiers.lower else {
            namespace.marks.end(prefix: prefix, before: version)
            return completion(.success(0))
        }
        lower.removePrefix(
            namespace: namespace.id,
            prefix: prefix,
            before: version,
            durability: namespace.policy.durability
        ) { [self] result in
            if case .failure(let fault) = result, fault.cause != .closed, !namespace.isDropped {
                removals.hold(namespace.id, prefix, fault)
                completion(.failure(fault.with(.kept)))
                return background.async(afterMilliseconds: Self.removalRetryMilliseconds) { [weak self] in
                    self?.removeFromLower(namespace, prefix, before: version) { _ in }
                }
            }
            removals.end(namespace.id, prefix)
            // An entry that was read before the removal and arrives after this must not be used.
            tiers.outdateReads(of: namespace, prefix: prefix)
            namespace.marks.end(prefix: prefix, before: version)
            completion(result)
        }
    }

    private static let removalRetryMilliseconds = 1000

    /// Tries once more the removals that are still under way, before the lower tier closes. Blocks.
    func removeWhatIsHeld() {
        guard let lower = tiers.lower else { return }
        let group = DispatchGroup()
        for namespace in catalogue.namespaces() {
            for removal in namespace.marks.removals(touching: [[]]) {
                group.enter()
                lower.removePrefix(
                    namespace: namespace.id,
                    prefix: removal.prefix,
                    before: removal.before,
                    durability: namespace.policy.durability
                ) { _ in group.leave() }
            }
        }
        group.wait()
    }

    /// Invalidates a prefix, and answers once the next walk over the namespace is over.
    private func invalidate(
        _ namespace: Namespace,
        prefix: [UInt8],
        _ mode: InvalidationMode,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        // From here on, no entry that this concerns gets from the lower tier into memory, and no lease that it concerns fills its key.
        let begun = namespace.marks.begin(prefix: prefix, hides: mode == .gone) { tiers.versions.allocate() }
        guard let version = begun else { return completion(.failure(.noVersion)) }
        let order = PrefixOrder(prefix: prefix, before: version, mode: mode, completion: completion)
        switch prefixes.add(order, to: namespace.id) {
        case .waits: break
        case .first: walks.async { [self] in beginWalk(namespace) }
        case .refused:
            namespace.marks.endFence(prefix: prefix, before: version)
            switch mode {
            case .gone: namespace.marks.end(prefix: prefix, before: version)
            case .stale: namespace.marks.endStale(prefix: prefix, before: version)
            }
            completion(.failure(.tooManyPrefixes))
        }
    }

    private func beginWalk(_ namespace: Namespace) {
        let orders = prefixes.next(namespace.id)
        if orders.isEmpty { return }
        goOn(PrefixWalk(namespace, orders))
    }

    /// Walks over the namespace's entries in memory. Those that are to go are removed under their shard's lock. Those that are to become
    /// stale are written, and the walk goes on once these writes are answered.
    private func goOn(_ walk: PrefixWalk) {
        var walk = walk
        let namespace = walk.namespace
        let now = tiers.clock.now()
        while walk.shard < tiers.shards.count {
            endLeases(&walk)
            var met: [(address: EntryAddress, number: Int)] = []
            var goesOn = false
            tiers.shards.withShard(number: walk.shard) { shard in
                // A slot may belong to another namespace once this one is dropped.
                if namespace.isDropped { return }
                goesOn = shard.walk(namespace.slot, &walk.position, limit: Self.walkStep) { view in
                    if let number = walk.gone.first(view.key, view.version) {
                        let freshness = namespace.marks.freshness(of: view, at: now)
                        if case .dead = freshness {} else { walk.tally.count(number) }
                        return .remove
                    }
                    if let number = walk.stale.first(view.key, view.version) {
                        let address = EntryAddress(namespace: namespace.id, key: Array(view.key), hash: view.hash)
                        met.append((address, number))
                    }
                    return .keep
                }
            }
            if !goesOn { walk.endShard() }
            if met.isEmpty { continue }
            let next = walk
            return makeStale(met, walk) { [self] in walks.async { [self] in goOn(next) } }
        }
        for order in walk.orders { namespace.marks.endFence(prefix: order.prefix, before: order.before) }
        guard namespace.usesLower else {
            for order in walk.orders where order.mode == .gone {
                namespace.marks.end(prefix: order.prefix, before: order.before)
            }
            return end(walk)
        }
        removeBelow(walk, walk.gone.distinct[...])
    }

    /// Ends the leases in a shard that a walk has just come to.
    private func endLeases(_ walk: inout PrefixWalk) {
        guard walk.beginsShard() else { return }
        tiers.endLeases(of: walk.namespace.id, inShard: walk.shard, .removed(.invalidated)) { [walk] lease in
            lease.address.key.withUnsafeBytes {
                walk.gone.first($0, lease.since) != nil || walk.stale.first($0, lease.since) != nil
            }
        }
    }

    /// Entries that one step looks at under its shard's lock.
    private static let walkStep = 1000

    /// Removes one prefix after the other from the lower tier.
    private func removeBelow(
        _ walk: PrefixWalk,
        _ left: ArraySlice<(prefix: [UInt8], numbers: [Int], before: Version)>
    ) {
        guard let (prefix, numbers, before) = left.first else {
            return makeStaleBelow(walk, walk.stale.uncovered[...], after: nil)
        }
        removeFromLower(walk.namespace, prefix, before: before) { [self] result in
            for number in numbers where walk.orders[number].before != before {
                walk.namespace.marks.end(prefix: prefix, before: walk.orders[number].before)
            }
            walk.tally.note(result.mapError { .storage($0) }, numbers)
            walks.async { [self] in removeBelow(walk, left.dropFirst()) }
        }
    }

    /// Makes the rows of one prefix after the other stale, page by page.
    private func makeStaleBelow(_ walk: PrefixWalk, _ left: ArraySlice<[UInt8]>, after: [UInt8]?) {
        guard let prefix = left.first, let lower = tiers.lower else { return end(walk) }
        let namespace = walk.namespace
        lower.list(namespace: namespace.id, prefix: prefix, after: after, limit: Self.walkStep) { [self] page in
            walks.async { [self] in
                let rows: [ListedEntry]
                switch page {
                case .failure(let fault):
                    walk.tally.fail(.storage(fault)) { walk.orders[$0].prefix.starts(with: prefix) }
                    return makeStaleBelow(walk, left.dropFirst(), after: nil)
                case .success(let page): rows = page
                }
                let met = rows.compactMap { row -> (address: EntryAddress, number: Int)? in
                    guard let number = row.key.withUnsafeBytes({ walk.stale.first($0, row.version) }) else {
                        return nil
                    }
                    return (tiers.address(namespace, row.key), number)
                }
                let isLast = rows.count < Self.walkStep || namespace.isDropped
                let last = rows.last?.key
                makeStale(met, walk) { [self] in
                    walks.async { [self] in
                        if isLast {
                            makeStaleBelow(walk, left.dropFirst(), after: nil)
                        } else {
                            makeStaleBelow(walk, left, after: last)
                        }
                    }
                }
            }
        }
    }

    private func makeStale(
        _ met: [(address: EntryAddress, number: Int)],
        _ walk: PrefixWalk,
        then: @escaping @Sendable () -> Void
    ) {
        let countdown = Countdown(met.count) { _ in then() }
        for (address, number) in met {
            invalidate(walk.namespace, address, .stale, before: walk.orders[number].before) { result in
                walk.tally.note(result, number)
                countdown.count(result)
            }
        }
    }

    private func end(_ walk: PrefixWalk) {
        prefixes.finish(walk.orders.count)
        for order in walk.orders where order.mode == .stale {
            walk.namespace.marks.endStale(prefix: order.prefix, before: order.before)
        }
        settleHidden(walk.namespace, walk.stale.uncovered) { problem in
            for (order, result) in zip(walk.orders, walk.tally.results) {
                switch (order.mode, problem, result) {
                case (.stale, let problem?, .success): order.completion(.failure(problem))
                // Each entry is written by itself, so that some may be stale although others are not.
                case (.stale, _, .failure(let problem)): order.completion(.failure(problem.ofSome))
                default: order.completion(result.map { Invalidated(count: $0) })
                }
            }
        }
        walks.async { [self] in beginWalk(walk.namespace) }
    }

    /// Waits until the invalidations are durable that hide entries from a walk. A walk that makes entries stale passes over those that are
    /// hidden already. Where its answer promises durability, what hides them has to be durable too, and its write may have failed so far:
    /// otherwise these entries could come back.
    private func settleHidden(
        _ namespace: Namespace,
        _ stale: [[UInt8]],
        _ completion: @escaping @Sendable (Problem?) -> Void
    ) {
        let durability = namespace.policy.durability
        guard !stale.isEmpty, let lower = tiers.lower, durability == .through, namespace.usesLower else {
            return completion(nil)
        }
        let removals = namespace.marks.removals(touching: stale)
        // One more answer is for the marks. They stay in the queue until they are written, so that they are committed with whatever is
        // committed after them.
        let countdown = Countdown(removals.count + 1) { result in
            if case .failure(let problem) = result { completion(problem) } else { completion(nil) }
        }
        for removal in removals {
            lower.removePrefix(
                namespace: namespace.id,
                prefix: removal.prefix,
                before: removal.before,
                durability: durability
            ) { countdown.count($0.map { _ in true }.mapError { .storage($0.with(.kept)) }) }
        }
        let ticket = catalogue.ordered { _ in
            lower.enqueue(.namespace(namespace.record), durability)
        }
        let isSettled = lower.settle(ticket, durability) { fault in
            countdown.count(fault.map { .failure(.storage($0)) } ?? .success(true))
        }
        if isSettled { countdown.count(.success(true)) }
    }
}

/// A walk for several orders, and how far it has come.
private struct PrefixWalk: Sendable {
    let namespace: Namespace
    let orders: [PrefixOrder]
    let gone: PrefixSet
    let stale: PrefixSet
    let tally: PrefixTally
    private(set) var shard = 0
    private var shardsBegun = 0
    var position = WalkPosition()

    init(_ namespace: Namespace, _ orders: [PrefixOrder]) {
        self.namespace = namespace
        self.orders = orders
        func set(_ mode: InvalidationMode) -> PrefixSet {
            PrefixSet(
                orders.enumerated().filter { $0.element.mode == mode }
                    .map { ($0.offset, $0.element.prefix, $0.element.before) }
            )
        }
        gone = set(.gone)
        stale = set(.stale)
        tally = PrefixTally(orders.count)
    }

    /// Returns whether the walk has just come to its present shard; `true` once for each.
    mutating func beginsShard() -> Bool {
        guard shardsBegun == shard else { return false }
        shardsBegun += 1
        return true
    }

    mutating func endShard() {
        shard += 1
        position = WalkPosition()
    }
}

/// The result of each order of a walk so far. An entry counts for the first order that concerns it.
private final class PrefixTally: Sendable {
    private let state: Mutex<[Result<Int, Problem>]>

    init(_ count: Int) { state = Mutex(Array(repeating: .success(0), count: count)) }

    var results: [Result<Int, Problem>] { state.withLock { $0 } }

    func count(_ number: Int) { note(.success(true), number) }

    func note(_ result: Result<Bool, Problem>, _ number: Int) {
        state.withLock { results in
            guard case .success(let count) = results[number] else { return }
            results[number] = result.map { count + ($0 ? 1 : 0) }
        }
    }

    /// Adds the number of entries that were removed from the lower tier for the orders of one prefix, less those that were already counted
    /// in memory: most entries are in both.
    func note(_ result: Result<Int, Problem>, _ numbers: [Int]) {
        guard let first = numbers.first else { return }
        switch result {
        case .failure(let problem): fail(problem) { numbers.contains($0) }
        case .success(let removed):
            state.withLock { results in
                let inMemory = numbers.reduce(0) { $0 + ((try? results[$1].get()) ?? 0) }
                results[first] = results[first].map { $0 + max(0, removed - inMemory) }
            }
        }
    }

    func fail(_ problem: Problem, _ concerns: (Int) -> Bool) {
        state.withLock { results in
            for number in results.indices where concerns(number) { results[number] = .failure(problem) }
        }
    }
}

extension Problem {
    fileprivate static let tooManyPrefixes = Problem(
        .overloaded,
        "There are \(PrefixQueue.limit) invalidations by prefix under way, which is the most; try again later."
    )
}
