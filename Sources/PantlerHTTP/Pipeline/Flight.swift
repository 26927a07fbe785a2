internal import NIOCore
import PantlerInsight
import PantlerStore
import Synchronization

/// The bytes in flight over all connections, and their budget: bodies being received, large answers that clients have not taken yet, and
/// what is read from the lower tier for them. The event loops share it.
///
/// Bodies and answers of up to `free` bytes are not counted here one by one, so that a plain hit or put never comes here. Whatever is
/// counted belongs to an object, a `FlightClaim` or a `ValueHold`, and is given back when that ends, however a request ends.
final class Flight: Sendable {
    private struct State {
        var ledger: FlightLedger
        /// What is called for each claim that waits.
        var answers: [FlightLedger.ClaimID: @Sendable (Bool) -> Void] = [:]
    }

    struct Figures: Sendable {
        var held: Int
        var limit: Int
        var waiting: Int
        var refusals: UInt64
    }

    /// Bytes of a body, of an answer's text, or of a value, that are not counted.
    static let free = 16 << 10
    /// Bytes of a value that is read before there is known to be room for it, unless room is short.
    static let freeRead = 64 << 10
    /// The time between two looks at the claims that wait.
    static let tick = TimeAmount.milliseconds(250)

    private let state: Mutex<State>
    /// Copies of the ledger's `isShort` and `isTight`, read without the lock. Relaxed: a request that sees one of them too early or too
    /// late is counted all the same.
    private let shortness = Atomic(false)
    private let tightness = Atomic(false)

    /// Bytes of heads that are not whole yet, and are not small, and how many there may be.
    private let headBytes = Atomic(0)
    private let headLimit: Atomic<Int>
    /// Heads may have so much of the budget: one part of eight. Who sends none to its end has shown no token, and could take the room of those
    /// who have.
    private static let headShare = 8

    init(limit: Int) {
        state = Mutex(State(ledger: FlightLedger(limit: limit)))
        headLimit = Atomic(limit / Self.headShare)
    }

    /// Whether anything more has to wait. Read on the way of a hit.
    var isShort: Bool { shortness.load(ordering: .relaxed) }

    /// Whether there may be no room for a large value, so that it is to be asked for beforehand. Read on the way of a hit.
    var isTight: Bool { tightness.load(ordering: .relaxed) }

    /// Whether a value is counted already: one more answer that holds it costs nothing.
    func isHeld(_ value: ObjectIdentifier) -> Bool { state.withLock { $0.ledger.isHeld(value) } }

    var figures: Figures {
        state.withLock { state in
            Figures(
                held: state.ledger.held,
                limit: state.ledger.limit,
                waiting: state.ledger.waiting,
                refusals: state.ledger.refusals
            )
        }
    }

    func setLimit(_ bytes: Int) {
        decide { $0.setLimit(bytes) }
        headLimit.store(bytes / Self.headShare, ordering: .relaxed)
    }

    /// Ends waits that have lasted too long. Returns whether anyone waits still.
    func tick(at now: NIODeadline) -> Bool {
        decide { $0.tick(at: now) }
        return state.withLock { $0.ledger.waiting > 0 }
    }

    /// Counts a request that was refused for want of room without having waited.
    func noteRefusal() { change { $0.noteRefusal() } }

    /// Counts the bytes of a head that is not whole as long as the object lives; `nil` where such heads have all that they may have.
    func holdHead(_ bytes: Int) -> HeadHold? {
        let all = headBytes.wrappingAdd(bytes, ordering: .relaxed).newValue
        let hold = HeadHold(self, bytes)
        return all <= headLimit.load(ordering: .relaxed) ? hold : nil
    }

    fileprivate func releaseHead(_ bytes: Int) { headBytes.wrappingSubtract(bytes, ordering: .relaxed) }

    func claim() -> FlightClaim { FlightClaim(self, state.withLock { $0.ledger.open() }) }

    // MARK: For claims

    /// Runs `body`; where it returns `false`, `answer` is called later, once.
    fileprivate func ask(
        _ id: FlightLedger.ClaimID,
        _ answer: @escaping @Sendable (Bool) -> Void,
        _ body: (inout FlightLedger) -> Bool
    ) -> Bool {
        var isGranted = true
        decide(waiting: (id, answer)) { ledger in
            isGranted = body(&ledger)
            return isGranted ? [] : ledger.thaw()
        } isWaiting: {
            !isGranted
        }
        return isGranted
    }

    fileprivate func ahead(of id: FlightLedger.ClaimID) -> Int { state.withLock { $0.ledger.ahead(of: id) } }

    fileprivate func change<Value>(_ body: (inout FlightLedger) -> Value) -> Value {
        state.withLock { state in
            defer { noteShortness(state.ledger) }
            return body(&state.ledger)
        }
    }

    fileprivate func close(_ id: FlightLedger.ClaimID) {
        decide { $0.close(id) }
        // Nobody waits any more for a claim that has ended.
        _ = state.withLock { $0.answers.removeValue(forKey: id) }
    }

    fileprivate func hold(_ value: HeldValue) { change { $0.hold(value.id, value.heldBytes) } }

    fileprivate func release(_ value: HeldValue) { decide { $0.release(value.id) } }

    /// Changes the ledger. Those who have waited are told what was decided, outside of the lock.
    private func decide(
        waiting: (id: FlightLedger.ClaimID, answer: @Sendable (Bool) -> Void)? = nil,
        _ change: (inout FlightLedger) -> [FlightLedger.Decision],
        isWaiting: () -> Bool = { false }
    ) {
        let told: [(@Sendable (Bool) -> Void, Bool)] = state.withLock { state in
            let decisions = change(&state.ledger)
            if let waiting, isWaiting() { state.answers[waiting.id] = waiting.answer }
            noteShortness(state.ledger)
            return decisions.compactMap { decision in
                state.answers.removeValue(forKey: decision.claim).map { ($0, decision.isGranted) }
            }
        }
        for (answer, isGranted) in told { answer(isGranted) }
    }

    private func noteShortness(_ ledger: borrowing FlightLedger) {
        let isShort = ledger.isShort
        if isShort != shortness.load(ordering: .relaxed) { shortness.store(isShort, ordering: .relaxed) }
        let isTight = ledger.isTight
        if isTight != tightness.load(ordering: .relaxed) { tightness.store(isTight, ordering: .relaxed) }
    }
}

/// A part of the budget. It is given back when this object ends.
final class FlightClaim: Sendable {
    private let flight: Flight
    private let id: FlightLedger.ClaimID

    fileprivate init(_ flight: Flight, _ id: FlightLedger.ClaimID) {
        self.flight = flight
        self.id = id
    }

    deinit { flight.close(id) }

    /// Asks for room for a body before it comes: see `FlightLedger.promise`.
    ///
    /// - Parameter later: called once, on any thread, with whether there is room, if this returns `false`.
    func promise(
        _ bytes: Int,
        rest: Int,
        at now: NIODeadline,
        later: @escaping @Sendable (Bool) -> Void
    ) -> Bool {
        flight.ask(id, later) { $0.promise(id, bytes, rest: rest, at: now) }
    }

    /// Asks for room for bytes of a body that have come: see `FlightLedger.take`, and `promise` for `later`.
    func take(_ bytes: Int, rest: Int, at now: NIODeadline, later: @escaping @Sendable (Bool) -> Void) -> Bool {
        flight.ask(id, later) { $0.take(id, bytes, rest: rest, at: now) }
    }

    /// Asks for room for an answer, or for what is read for one: see `FlightLedger.ask`, and `promise` for `later`.
    func ask(_ bytes: Int, at now: NIODeadline, later: @escaping @Sendable (Bool) -> Void) -> Bool {
        flight.ask(id, later) { $0.ask(id, bytes, at: now) }
    }

    /// Asks for room for an answer that does not wait. Returns whether there is room.
    func tryAsk(_ bytes: Int) -> Bool { flight.change { $0.tryAsk(id, bytes) } }

    /// Bytes that the claim holds and that have not come.
    var ahead: Int { flight.ahead(of: id) }

    /// Counts bytes that are there anyway.
    func force(_ bytes: Int) { flight.change { $0.force(id, bytes) } }
}

/// A large value that an answer holds. It is counted once however many answers hold it, because it is in memory once.
final class ValueHold: Sendable {
    let value: HeldValue
    private let flight: Flight

    init(_ value: HeldValue, _ flight: Flight) {
        self.value = value
        self.flight = flight
        flight.hold(value)
    }

    deinit { flight.release(value) }
}

/// The memory of a head that is not whole yet.
final class HeadHold: Sendable {
    let bytes: Int
    private let flight: Flight

    fileprivate init(_ flight: Flight, _ bytes: Int) {
        self.flight = flight
        self.bytes = bytes
    }

    deinit { flight.releaseHead(bytes) }
}

extension Flight.Figures {
    func expose(to page: inout Exposition) {
        page.gauge(
            "pantler_bytes_in_flight",
            "Bytes of bodies being received and of large answers not taken yet, of all connections."
        )
        page.sample(held)
        page.gauge("pantler_bytes_in_flight_limit", "Bytes that may be in flight.")
        page.sample(limit)
        page.gauge("pantler_waiting_for_room", "Requests that wait for room among the bytes in flight.")
        page.sample(waiting)
        page.counter(
            "pantler_room_refusals",
            "Requests answered 503 since there was no room among the bytes in flight."
        )
        page.sample(refusals)
    }
}
