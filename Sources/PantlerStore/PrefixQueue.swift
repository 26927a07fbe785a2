import PantlerModel
import Synchronization

/// An invalidation by prefix that was asked for.
struct PrefixOrder: Sendable {
    let prefix: [UInt8]
    /// The invalidation concerns entries with smaller versions.
    let before: Version
    let mode: InvalidationMode
    let completion: @Sendable (Result<Invalidated, Problem>) -> Void
}

/// The invalidations by prefix that are under way, by namespace.
///
/// For each namespace one walk is under way at a time. What is asked for meanwhile is done by the next walk, all together: a hundred
/// prefixes cost two walks. The number of invalidations is bounded, since a caller may go away and ask again.
final class PrefixQueue: Sendable {
    enum Admission {
        /// The caller begins a walk, which takes the orders.
        case first
        /// A walk is under way; the next one takes the order.
        case waits
        /// There are too many already.
        case refused
    }

    private struct State {
        /// The orders for the next walk over each namespace. A namespace is here while a walk over it is under way.
        var waiting: [NamespaceID: [PrefixOrder]] = [:]
        /// Orders that are not answered yet.
        var open = 0
    }

    private let state = Mutex(State())
    /// The most orders that may be open. Each holds the memory of a key, and what its answer goes to.
    static let limit = 1000

    func add(_ order: PrefixOrder, to namespace: NamespaceID) -> Admission {
        state.withLock { state in
            guard state.open < Self.limit else { return .refused }
            state.open += 1
            let isFirst = state.waiting[namespace] == nil
            state.waiting[namespace, default: []].append(order)
            return isFirst ? .first : .waits
        }
    }

    /// The orders for the next walk over a namespace, in the order in which they came. Where there are none, no walk is under way any more.
    func next(_ namespace: NamespaceID) -> [PrefixOrder] {
        state.withLock { state in
            guard let orders = state.waiting[namespace], !orders.isEmpty else {
                state.waiting[namespace] = nil
                return []
            }
            state.waiting[namespace] = []
            return orders
        }
    }

    /// Notes that so many orders are answered.
    func finish(_ count: Int) { state.withLock { $0.open -= count } }

    /// Orders that are not answered yet.
    var open: Int { state.withLock { $0.open } }
}
