internal import NIOCore
import PantlerModel
import PantlerStore
internal import Synchronization

/// What has come of asking for one key of a batch.
enum BatchResult: Sendable {
    case entry(LoadResult)
    case given(Lease)
    /// A lease, with the entry to show meanwhile.
    case refresh(Lease, LoadedHit)
    case refused(LeaseRefusal)
    /// The namespace is gone, or there are too many leases. The get is counted.
    case failed
}

/// Asks for one key of a batch.
///
/// - Parameters:
///   - admits: tells whether a value of so many bytes may be read.
///   - wants: tells whether an entry that is found is wanted; called under a shard's lock.
///   - completion: called once, on any thread.
typealias BatchRead =
    @Sendable (
        _ address: EntryAddress,
        _ admits: @escaping ReadAdmission,
        _ wants: @escaping @Sendable (LoadedHit) -> Bool,
        _ completion: @escaping @Sendable (BatchResult) -> Void
    ) -> Void

/// What one batch has to ask for key by key: entries of the lower tier, or leases. Small values are read some at a time. Then come the large ones, whose sizes are known by
/// then, one after the other, as long as they fit into the answer. So a batch never reads more than it can answer with, except for one
/// value.
///
/// Reads end on any thread, or before the call that begins them returns; one thread at a time begins others (`isBusy`).
final class BatchLoads: Sendable {
    private struct State {
        /// `nil` once all is read.
        var found: FoundBatch?
        /// The places and keys that are still to be asked for, in order.
        var small: ArraySlice<(place: Int, index: Int)>
        var large: [(place: Int, index: Int, size: Int64)] = []
        var underWay = 0
        var isBusy = true
    }

    private enum Step {
        case small(place: Int, index: Int)
        case large(place: Int, index: Int, size: Int64)
        case wait
        case end
    }

    /// Reads of small values at a time.
    private static let atOnce = 32

    private let state: Mutex<State>
    private let keys: KeyBatch
    private let store: Store
    private let namespace: Namespace
    private let flight: Flight
    private let read: BatchRead
    private let completion: @Sendable (FoundBatch) -> Void

    /// - Parameters:
    ///   - read: asks for one key.
    ///   - completion: gets what was found, with what the lower tier has of it; on any thread.
    init(
        _ found: FoundBatch,
        _ keys: KeyBatch,
        _ store: Store,
        _ namespace: Namespace,
        _ flight: Flight,
        read: @escaping BatchRead,
        completion: @escaping @Sendable (FoundBatch) -> Void
    ) {
        state = Mutex(State(found: found, small: found.below[...]))
        self.keys = keys
        self.store = store
        self.namespace = namespace
        self.flight = flight
        self.read = read
        self.completion = completion
    }

    /// Begins as many reads as may be under way. To be called by the thread that has made `isBusy` true, and first of all by the one that
    /// made this object.
    func go() {
        while true {
            switch state.withLock({ Self.next(&$0) }) {
            case .small(let place, let index):
                let flight = flight
                load(place, index, isLarge: false) { size in
                    size <= Int64(Flight.free) || size <= Int64(Flight.freeRead) && !flight.isShort
                }
            case .large(let place, let index, let size): load(place, index, isLarge: true) { $0 <= size }
            case .wait: return
            case .end:
                if let found = state.withLock({ $0.found.take() }) { completion(found) }
                return
            }
        }
    }

    private static func next(_ state: inout State) -> Step {
        if state.underWay < atOnce, let (place, index) = state.small.popFirst() {
            state.underWay += 1
            return .small(place: place, index: index)
        }
        guard state.underWay == 0 else {
            state.isBusy = false
            return .wait
        }
        while !state.large.isEmpty {
            let (place, index, size) = state.large.removeFirst()
            if state.found?.mayTake(size) == true {
                state.underWay += 1
                return .large(place: place, index: index, size: size)
            }
            state.found?.omit(place)
        }
        return .end
    }

    private func load(_ place: Int, _ index: Int, isLarge: Bool, admits: @escaping ReadAdmission) {
        let address = store.address(namespace, keys[index])
        read(address, admits) { [self] hit in
            state.withLock { $0.found?.takes(place, hit, address) ?? false }
        } _: { [self] result in
            let goesOn = state.withLock { state in
                switch result {
                // A value that has grown since its size was told is omitted.
                case .entry(.larger) where isLarge: state.found?.omit(place)
                case .entry(.larger(let size)): state.large.append((place, index, size))
                case .entry(.hit), .entry(.absent), .entry(.missing), .given, .refresh, .refused, .failed:
                    state.found?.settle(place, result, address)
                }
                state.underWay -= 1
                defer { state.isBusy = true }
                return !state.isBusy
            }
            if goesOn { go() }
        }
    }
}
