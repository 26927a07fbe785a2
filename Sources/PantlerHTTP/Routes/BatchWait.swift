import PantlerModel
import PantlerStore
internal import Synchronization

/// The wait of a batch for the keys that others fill. It ends with the first lease that the batch is given, or when there is nothing left to
/// wait for.
final class BatchWait: Sendable {
    private struct State {
        /// `nil` once the wait has ended.
        var found: FoundBatch?
        var calls: [LeaseCall] = []
        var underWay: Int
    }

    private let state: Mutex<State>
    private let places: [(place: Int, index: Int)]
    private let keys: KeyBatch
    private let store: Store
    private let namespace: Namespace
    private let ttl: Int64
    private let deadline: Timestamp
    private let completion: @Sendable (FoundBatch) -> Void

    /// - Parameters:
    ///   - ttl: of a lease that the batch is given, in milliseconds.
    ///   - completion: gets what was found, once, on any thread.
    init(
        _ begun: consuming FoundBatch,
        _ keys: KeyBatch,
        _ store: Store,
        _ namespace: Namespace,
        ttl: Int64,
        until deadline: Timestamp,
        completion: @escaping @Sendable (FoundBatch) -> Void
    ) {
        var found = begun
        places = found.filling
        for (place, _) in places { found.reopen(place) }
        state = Mutex(State(found: found, underWay: places.count))
        self.keys = keys
        self.store = store
        self.namespace = namespace
        self.ttl = ttl
        self.deadline = deadline
        self.completion = completion
    }

    func begin() {
        for (place, index) in places {
            let address = store.address(namespace, keys[index])
            let ask = LeaseAsk(ttl: ttl, wait: max(0, deadline.milliseconds(since: store.moment().now)))
            let call = store.lease(namespace, address, ask) { size in
                // Others have to be asked for once more, when there is room for them.
                size <= Int64(Flight.free)
            } wants: { [self] hit in
                state.withLock { $0.found?.takes(place, hit, address) ?? false }
            } completion: { [self] answer in
                settle(place, answer, address)
            }
            let isOver = state.withLock { state in
                if state.found != nil { state.calls.append(call) }
                return state.found == nil
            }
            if isOver { return call.cancel() }
        }
    }

    private func settle(_ place: Int, _ answer: LeaseAnswer, _ address: EntryAddress) {
        var isOver = false
        let isLate = state.withLock { state in
            guard state.found != nil else { return true }
            if case .larger = answer {
                state.found?.omit(place)
            } else {
                state.found?.settle(place, BatchResult(answer), address)
            }
            state.underWay -= 1
            isOver = state.underWay == 0 || state.found?.leases.isEmpty == false
            return false
        }
        if isOver { end() }
        guard isLate else { return }
        // The batch is answered, so that nobody is left to use the lease, which may be lost already.
        if case .given(let lease, _) = answer { try? store.release(namespace, address, lease.token, pause: nil) }
        if case .refresh(let lease, _) = answer { try? store.release(namespace, address, lease.token, pause: nil) }
    }

    /// Ends the wait with what is there.
    func end() {
        let (found, calls) = state.withLock { state in
            defer { state.calls = [] }
            return (state.found.take(), state.calls)
        }
        guard let found else { return }
        for call in calls { call.cancel() }
        // These keys are still being filled by others.
        store.countRefusals(namespace, found.below.map { store.address(namespace, keys[$0.index]) })
        completion(found)
    }
}
