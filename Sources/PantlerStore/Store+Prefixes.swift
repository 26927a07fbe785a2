import PantlerMemory
import PantlerModel
import Synchronization

// Invalidations by prefix: walks over a namespace's entries, in memory and below, in small steps off the event loops.
extension Store {
    /// Answers once the next walk over the namespace is over.
    func invalidate(
        _ namespace: Namespace,
        prefix: [UInt8],
        _ mode: InvalidationMode,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        guard let version = versions.allocate() else { return completion(.failure(.noVersion)) }
        // From here on nothing that is read from the lower tier and concerned gets into memory.
        if mode == .gone { namespace.begin(prefix: prefix, before: version) }
        let order = PrefixOrder(prefix: prefix, before: version, mode: mode, completion: completion)
        switch prefixes.add(order, to: namespace.id) {
        case .waits: break
        case .first: walks.async { [self] in beginWalk(namespace) }
        case .refused:
            if mode == .gone { namespace.end(prefix: prefix, before: version) }
            completion(.failure(.tooManyPrefixes))
        }
    }

    private func beginWalk(_ namespace: Namespace) {
        let orders = prefixes.next(namespace.id)
        if orders.isEmpty { return }
        goOn(PrefixWalk(namespace, orders))
    }

    /// Goes over what is in memory. What is to go leaves under its shard's lock; what is to be stale is written, and waited for, before
    /// the next step.
    private func goOn(_ walk: PrefixWalk) {
        var walk = walk
        let namespace = walk.namespace
        let now = clock.now()
        while walk.shard < shards.count {
            var met: [(address: EntryAddress, number: Int)] = []
            var goesOn = false
            shards.withShard(number: walk.shard) { shard in
                // A slot may belong to another namespace once this one is dropped.
                if namespace.isDropped { return }
                goesOn = shard.walk(namespace.slot, &walk.position, limit: Self.walkStep) { view in
                    if let number = walk.gone.first(view.key, view.version) {
                        if case .dead = namespace.freshness(of: view, at: now) {} else { walk.tally.count(number) }
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
        guard namespace.usesLower else {
            for order in walk.orders where order.mode == .gone {
                namespace.end(prefix: order.prefix, before: order.before)
            }
            return end(walk)
        }
        removeBelow(walk, walk.gone.distinct[...])
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
                walk.namespace.end(prefix: prefix, before: walk.orders[number].before)
            }
            walk.tally.note(result.mapError { .storage($0) }, numbers)
            walks.async { [self] in removeBelow(walk, left.dropFirst()) }
        }
    }

    /// Goes over the rows of one prefix after the other, page by page.
    private func makeStaleBelow(_ walk: PrefixWalk, _ left: ArraySlice<[UInt8]>, after: [UInt8]?) {
        guard let prefix = left.first, let lower else { return end(walk) }
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
                    return (address(namespace, row.key), number)
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
        settleHidden(walk.namespace, walk.stale.uncovered) { problem in
            for (order, result) in zip(walk.orders, walk.tally.results) {
                switch (order.mode, problem, result) {
                case (.stale, let problem?, .success): order.completion(.failure(problem))
                // Each entry is written by itself.
                case (.stale, _, .failure(let problem)): order.completion(.failure(problem.ofSome))
                default: order.completion(result.map { Invalidated(count: $0) })
                }
            }
        }
        walks.async { [self] in beginWalk(walk.namespace) }
    }

    /// A walk that makes entries stale has passed over those that an invalidation hides already. Where the walk's answer is to be durable,
    /// that has to be, which may have failed to be so far: else those entries would come back.
    private func settleHidden(
        _ namespace: Namespace,
        _ stale: [[UInt8]],
        _ completion: @escaping @Sendable (Problem?) -> Void
    ) {
        let durability = namespace.policy.durability
        guard !stale.isEmpty, let lower, durability == .through, namespace.usesLower else { return completion(nil) }
        let removals = namespace.removals(touching: stale)
        // One more for the marks, which are in the queue until they are written: what is committed after them is committed with them.
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
        let ticket = registry.withLock { _ in
            lower.enqueue(.namespace(namespace.update { _ in }), durability)
        }
        let isSettled = lower.settle(ticket, durability) { fault in
            countdown.count(fault.map { .failure(.storage($0)) } ?? .success(true))
        }
        if isSettled { countdown.count(.success(true)) }
    }
}

/// One walk for several orders, and how far it is.
private struct PrefixWalk: Sendable {
    let namespace: Namespace
    let orders: [PrefixOrder]
    let gone: PrefixSet
    let stale: PrefixSet
    let tally: PrefixTally
    private(set) var shard = 0
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

    mutating func endShard() {
        shard += 1
        position = WalkPosition()
    }
}

/// What has come of each order of a walk so far. An entry counts for the first that concerns it.
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

    /// Takes what was removed from the lower tier for orders of one prefix. Most of it was in memory too.
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
