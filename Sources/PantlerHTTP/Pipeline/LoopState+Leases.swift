internal import NIOCore
import PantlerModel
import PantlerStore
import Synchronization

/// The answer to a lease request, which may have had to wait for room for a large value.
enum RoomyLease: Sendable {
    case stored(LeaseAnswer)
    /// There was no room for too long. Nothing was counted.
    case refused
}

// Requests for leases. All of this runs on the loop.
extension LoopState {
    /// Asks for an entry, or the lease of its key. A large value is read once there is room for it, and is counted until `completion`
    /// returns. Whatever holds it after that has to count it.
    ///
    /// - Parameters:
    ///   - began: told of each call that is begun, so that it can be cancelled.
    ///   - completion: runs on the loop; where the call has waited, after what else the loop has to do.
    func lease(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ask: LeaseAsk,
        began: @escaping @Sendable (LeaseCall) -> Void,
        _ completion: @escaping @Sendable (RoomyLease) -> Void
    ) {
        let deadline = store.moment().now.advanced(byMilliseconds: ask.wait)
        let flight = flight
        lease(namespace, address, ask, until: deadline, nil, began, completion) { size in
            size <= Int64(Flight.free) || size <= Int64(Flight.freeRead) && !flight.isShort
        }
    }

    private func lease(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ask: LeaseAsk,
        until deadline: Timestamp,
        _ claim: FlightClaim?,
        _ began: @escaping @Sendable (LeaseCall) -> Void,
        _ completion: @escaping @Sendable (RoomyLease) -> Void,
        admits: @escaping ReadAdmission
    ) {
        let state = NIOLoopBound(self, eventLoop: eventLoop)
        let call = store.lease(namespace, address, ask, admits: admits, wakes: wakes) { answer in
            state.eventLoop.perform {
                guard case .larger(let size) = answer else {
                    return withExtendedLifetime(claim) { completion(.stored(answer)) }
                }
                state.value.withRoom(Int(clamping: size)) { claim in
                    guard let claim else { return completion(.refused) }
                    var ask = ask
                    ask.wait = max(0, deadline.milliseconds(since: state.value.store.moment().now))
                    state.value.lease(namespace, address, ask, until: deadline, claim, began, completion) { $0 <= size }
                }
            }
        }
        began(call)
    }
}

/// What is to run on a loop for those whose waits have ended: a fill may end thousands at once, and the loop has others to serve in between.
final class WokenWork: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var next = 0
        var isPlanned = false
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop

    /// Pieces of work between which the loop looks for nothing else.
    private static let atOnce = 32

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Adds a piece of work, from any thread. Pieces are done in the order in which they came.
    func add(_ piece: @escaping @Sendable () -> Void) {
        let isFirst = state.withLock { state in
            state.work.append(piece)
            defer { state.isPlanned = true }
            return !state.isPlanned
        }
        if isFirst { eventLoop.execute { self.run() } }
    }

    private func run() {
        let (pieces, goesOn) = state.withLock { state in
            let end = min(state.next + Self.atOnce, state.work.count)
            let pieces = Array(state.work[state.next..<end])
            state.next = end
            if end == state.work.count { state = State() }
            return (pieces, state.isPlanned)
        }
        for piece in pieces { piece() }
        if goesOn { eventLoop.execute { self.run() } }
    }
}
