internal import NIOCore
import PantlerModel
import PantlerStore

/// The result of a read of the lower tier that may have had to wait for room for a large value.
enum RoomyLoad: Sendable {
    case hit(LoadedHit)
    /// A negative entry.
    case absent(LoadedHit)
    case missing(MissReason)
    /// There was no room for too long. Nothing was counted.
    case refused
}

// Answers that have to wait for room among the bytes in flight. All of this runs on the loop.
extension LoopState {
    /// Waits for room for an answer of `bytes` bytes.
    ///
    /// - Parameter body: runs on the loop, before the return where there is room at once. It gets `nil` where there was none for too long.
    ///   The room is counted as long as the claim lives.
    func withRoom(_ bytes: Int, _ body: @escaping @Sendable (FlightClaim?) -> Void) {
        let wait = RoomWait(flight.claim(), body, eventLoop)
        if wait.begin(bytes, at: eventLoop.now) { body(wait.take()) } else { noteWaiting() }
    }

    /// Reads an entry from the lower tier. A large value is read once there is room for it, and is counted until `completion` returns.
    /// Whatever holds it after that has to count it.
    ///
    /// - Parameter completion: runs on the loop.
    func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        _ completion: @escaping @Sendable (RoomyLoad) -> Void
    ) {
        let flight = flight
        load(namespace, address, counts: counts, nil, completion) { size in
            size <= Int64(Flight.free) || size <= Int64(Flight.freeRead) && !flight.isShort
        }
    }

    private func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        _ claim: FlightClaim?,
        _ completion: @escaping @Sendable (RoomyLoad) -> Void,
        admits: @escaping ReadAdmission
    ) {
        let state = NIOLoopBound(self, eventLoop: eventLoop)
        store.load(namespace, address, counts: counts, admits: admits) { result in
            state.eventLoop.perform {
                switch result {
                case .missing(let reason): completion(.missing(reason))
                case .absent(let hit): completion(.absent(hit))
                case .hit(let hit): withExtendedLifetime(claim) { completion(.hit(hit)) }
                case .larger(let size):
                    state.value.withRoom(Int(clamping: size)) { claim in
                        guard let claim else { return completion(.refused) }
                        state.value.load(namespace, address, counts: counts, claim, completion) { $0 <= size }
                    }
                }
            }
        }
    }
}

/// One wait for room, and its claim.
// @unchecked: `claim` is used on the loop alone, where it is made, told and taken.
private final class RoomWait: @unchecked Sendable {
    private var claim: FlightClaim?
    private let body: @Sendable (FlightClaim?) -> Void
    private let eventLoop: any EventLoop

    init(_ claim: FlightClaim, _ body: @escaping @Sendable (FlightClaim?) -> Void, _ eventLoop: any EventLoop) {
        self.claim = claim
        self.body = body
        self.eventLoop = eventLoop
    }

    /// Returns whether there is room at once.
    func begin(_ bytes: Int, at now: NIODeadline) -> Bool {
        // The budget holds this object until it tells what came of the wait.
        claim?.ask(bytes, at: now) { [self] isGranted in
            eventLoop.execute { self.tell(isGranted) }
        } ?? true
    }

    private func tell(_ isGranted: Bool) {
        let claim = take()
        body(isGranted ? claim : nil)
    }

    func take() -> FlightClaim? { claim.take() }
}
