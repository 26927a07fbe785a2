import Dispatch
import PantlerInsight
import PantlerMemory
package import PantlerModel
import Synchronization

extension Store {
    /// Ends many entries at once, or makes them stale.
    ///
    /// Tags and `all` take constant time: a mark is set, and each entry is judged by it when it is met. Keys take their number;
    /// a prefix takes a walk over the namespace, in small steps in the background. Fails with `storage_…`, and with `overloaded` where
    /// too many prefixes are under way.
    package func invalidate(
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

    private func newMark(_ mode: InvalidationMode) -> Watermark? {
        guard let version = versions.allocate() else { return nil }
        switch mode {
        case .gone: return Watermark(goneBefore: version)
        case .stale: return Watermark(staleMarks: [StaleMark(before: version, since: clock.now())])
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
        let isMarked = namespace.mark(tags: tags) {
            newMark(mode)
        } queue: { tag, mark in
            guard let lower, namespace.usesLower else { return }
            tickets.append(lower.enqueue(.tag(namespace.id, tag: tag, mark), durability))
        }
        guard isMarked else { return completion(.failure(.noVersion)) }
        askForSlowSweep()
        settle(tickets, durability, Invalidated(tags: tags.count), completion)
    }

    private func flush(
        _ namespace: Namespace,
        _ mode: InvalidationMode,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        let durability = namespace.policy.durability
        // Under the registry's lock, so that records are queued in the order of their changes.
        let flushed: (generation: UInt64, ticket: WriteTicket?)? = registry.withLock { _ in
            var isMarked = false
            let record = namespace.update {
                guard let mark = newMark(mode) else { return }
                isMarked = true
                $0.generation += 1
                $0.watermark = $0.watermark.merged(mark)
            }
            return isMarked ? (record.generation, lower?.enqueue(.namespace(record), durability)) : nil
        }
        guard let (generation, ticket) = flushed else { return completion(.failure(.noVersion)) }
        askForSweep()
        settle(ticket.map { [$0] } ?? [], durability, Invalidated(generation: generation), completion)
    }

    /// Answers once all of some changes are as durable as they are to be.
    private func settle(
        _ tickets: [WriteTicket],
        _ durability: Durability,
        _ answer: Invalidated,
        _ completion: @escaping @Sendable (Result<Invalidated, Problem>) -> Void
    ) {
        guard let lower else { return completion(.success(answer)) }
        let countdown = Countdown(tickets.count) { completion($0.map { _ in answer }) }
        for ticket in tickets {
            let isSettled = lower.settle(ticket, durability) { fault in
                countdown.count(fault.map { .failure(.storage($0)) } ?? .success(true))
            }
            if isSettled { countdown.count(.success(true)) }
        }
    }

    private func countInvalidation(_ namespace: Namespace) {
        shards.withShard(0) { shard in
            if !namespace.isDropped { shard.tally[namespace.slot].invalidations &+= 1 }
        }
    }

    // MARK: Prefixes

    /// Ends what `Namespace.begin(prefix:before:)` began. Where the lower tier cannot remove it all, that goes on, the entries stay hidden, and
    /// it is tried again until it can.
    func removeFromLower(
        _ namespace: Namespace,
        _ prefix: [UInt8],
        before version: Version,
        _ completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) {
        guard let lower else {
            namespace.end(prefix: prefix, before: version)
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
            // What was read before the removal and arrives after this must not be believed.
            dropPendingLoads(namespace, prefix: prefix)
            namespace.end(prefix: prefix, before: version)
            completion(result)
        }
    }

    private static let removalRetryMilliseconds = 1000

    /// Tries the removals that have failed so far once more, before the lower tier closes. Blocks.
    func removeWhatIsHeld() {
        guard let lower else { return }
        let group = DispatchGroup()
        for namespace in namespaces() {
            for removal in namespace.removals(touching: [[]]) {
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

    /// Reads that are under way are done again.
    func dropPendingLoads(_ namespace: Namespace, prefix: [UInt8] = []) {
        shards.withEachShard { _, shard in shard.loads.invalidate(namespace.id, prefix: prefix) }
    }
}

/// Waits for answers of many, which may come on any thread, and gives the number of those that were yes, or the first problem.
final class Countdown: Sendable {
    private struct State {
        var open: Int
        var yes = 0
        var problem: Problem?
    }

    private let state: Mutex<State>
    private let completion: @Sendable (Result<Int, Problem>) -> Void

    /// Of none, it is over at once.
    init(_ count: Int, completion: @escaping @Sendable (Result<Int, Problem>) -> Void) {
        state = Mutex(State(open: count))
        self.completion = completion
        if count == 0 { completion(.success(0)) }
    }

    func count(_ answer: Result<Bool, Problem>) {
        let end: Result<Int, Problem>? = state.withLock { state in
            state.open -= 1
            switch answer {
            case .success(let yes): state.yes += yes ? 1 : 0
            case .failure(let problem): state.problem = state.problem ?? problem
            }
            guard state.open == 0 else { return nil }
            return state.problem.map { .failure($0) } ?? .success(state.yes)
        }
        if let end { completion(end) }
    }
}
