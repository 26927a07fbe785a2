import NIOCore

/// The budget of bytes in flight, as a value: claims on it, which of them wait for room, and when waiting ends. It has no clock, no sockets
/// and no lock: see `Flight` for these.
///
/// A claim *holds* bytes. Those that have come in are *used*. What a body holds beyond that is a promise. It is made so that a body that
/// has begun need not wait in the middle, and is called back while room is short from a body that is not being sent. A claim that does not
/// fit waits, for `patience` at most. Bodies that have begun come first, the oldest of them before the others, so that they end one after
/// the other instead of growing side by side until none has room. All other claims are served in the order in which they came. What is sent
/// already, or was made before its size was known, is counted by force.
///
/// The budget cannot lock up: each wait has an end, bodies that wait hold no more than half of the budget (beyond that the youngest is
/// refused at once), and a claim that is alone gets what it asks for, however much that is.
struct FlightLedger {
    typealias ClaimID = UInt64

    struct Decision: Equatable {
        let claim: ClaimID
        /// `false` = the claim is refused.
        let isGranted: Bool
    }

    private struct Claim {
        /// Bytes that are counted for the claim.
        var held = 0
        /// Bytes of `held` that are there.
        var used = 0
        /// When the body last made enough progress to keep its promise, and how many bytes were used then.
        var moved = NIODeadline.uptimeNanoseconds(0)
        var usedThen = 0
        var wait: Wait?
    }

    private struct Wait {
        /// Tells this wait from an earlier one of the same claim.
        let number: UInt64
        let bytes: Int
        /// Bytes that may come after these, of a body that has begun.
        let rest: Int
        let areUsed: Bool
        let since: NIODeadline
    }

    private struct Place {
        let claim: ClaimID
        let wait: UInt64
    }

    private struct SharedHold {
        var holders: Int
        let bytes: Int
    }

    /// How long a claim waits for room at most.
    static let patience = TimeAmount.seconds(5)
    /// A promise is called back from a body of which fewer than `progress` bytes have come for so long.
    private static let idle = TimeAmount.seconds(1)
    private static let progress = 64 << 10
    /// The time between two searches for such promises.
    private static let recall = TimeAmount.milliseconds(100)
    /// Bytes that are promised ahead, at least and at most, where the whole rest of a body would bring what is held over half of the
    /// budget. Otherwise the whole rest is promised.
    private static let leastAhead = 64 << 10
    private static let mostAhead = 1 << 20

    private(set) var limit: Int
    /// All bytes that are counted. They exceed the limit only by force, or for a claim that is alone.
    private(set) var held = 0
    /// Claims that were refused.
    private(set) var refusals: UInt64 = 0
    private var claims: [ClaimID: Claim] = [:]
    private var shared: [ObjectIdentifier: SharedHold] = [:]
    private var lastClaim: ClaimID = 0
    private var lastWait: UInt64 = 0
    /// The claims that wait: bodies that have begun, the oldest first, and all others in the order in which they came. The place of a wait
    /// that is over is passed over.
    private var begun = CircularBuffer<Place>()
    private var fresh = CircularBuffer<Place>()
    /// Bytes held by bodies that wait.
    private var frozen = 0
    private(set) var waiting = 0
    private var nextRecall = NIODeadline.uptimeNanoseconds(0)
    private var latest = NIODeadline.uptimeNanoseconds(0)

    init(limit: Int) { self.limit = max(1, limit) }

    /// Bytes up to which claims that can wait are granted. The rest is kept for answers that are made and only have to be sent.
    var grantable: Int { limit - limit / 16 }

    /// Whether anything more has to wait.
    var isShort: Bool { waiting > 0 || held > grantable }

    /// Whether there may be no room for a large value.
    var isTight: Bool { isShort || held > limit / 2 }

    // MARK: Claims

    /// A claim that holds nothing yet.
    mutating func open() -> ClaimID {
        lastClaim += 1
        claims[lastClaim] = Claim()
        return lastClaim
    }

    /// Asks for room for a body before it comes: for its first `bytes`, and for as many of `rest` more as is fair. Returns whether this was
    /// granted; otherwise the claim waits.
    mutating func promise(_ id: ClaimID, _ bytes: Int, rest: Int, at now: NIODeadline) -> Bool {
        ask(id, bytes, rest: rest, areUsed: false, at: now)
    }

    /// Asks for room for bytes of a body that have come; `rest` more may come. Returns whether this was granted; otherwise the claim waits.
    /// Complexity: O(1) within what is promised.
    mutating func take(_ id: ClaimID, _ bytes: Int, rest: Int, at now: NIODeadline) -> Bool {
        guard var claim = claims[id] else { return true }
        guard claim.held - claim.used >= bytes else { return ask(id, bytes, rest: rest, areUsed: true, at: now) }
        Self.use(&claim, bytes, at: now)
        claims[id] = claim
        return true
    }

    /// Asks for room for an answer, or for what is read for one. Returns whether this was granted; otherwise the claim waits.
    mutating func ask(_ id: ClaimID, _ bytes: Int, at now: NIODeadline) -> Bool {
        ask(id, bytes, rest: 0, areUsed: true, at: now)
    }

    /// Asks for room for an answer that does not wait. It may use what is kept back from claims that wait. Returns whether this was
    /// granted.
    mutating func tryAsk(_ id: ClaimID, _ bytes: Int) -> Bool {
        guard let claim = claims[id], held + bytes <= limit || held == claim.held else { return false }
        force(id, bytes)
        return true
    }

    /// Bytes that a claim holds and that have not come. Complexity: O(1).
    func ahead(of id: ClaimID) -> Int { claims[id].map { $0.held - $0.used } ?? 0 }

    /// Counts the refusal of a claim that did not wait.
    mutating func noteRefusal() { refusals += 1 }

    /// Counts bytes that are there anyway.
    mutating func force(_ id: ClaimID, _ bytes: Int) {
        guard var claim = claims[id] else { return }
        claim.held += bytes
        claim.used += bytes
        held += bytes
        claims[id] = claim
    }

    /// Ends a claim and its wait. Returns what is decided about others, for which there is more room now.
    mutating func close(_ id: ClaimID) -> [Decision] {
        guard let claim = claims.removeValue(forKey: id) else { return [] }
        if claim.wait != nil { leave(claim) }
        held -= claim.held
        return serve()
    }

    // MARK: Bytes that several hold

    /// Counts the bytes of an object that others may hold too, once for all of them.
    mutating func hold(_ object: ObjectIdentifier, _ bytes: Int) {
        if var hold = shared[object] {
            hold.holders += 1
            shared[object] = hold
        } else {
            shared[object] = SharedHold(holders: 1, bytes: bytes)
            held += bytes
        }
    }

    /// Whether an object is counted already, so that one more holder costs nothing.
    func isHeld(_ object: ObjectIdentifier) -> Bool { shared[object] != nil }

    mutating func release(_ object: ObjectIdentifier) -> [Decision] {
        guard var hold = shared[object] else { return [] }
        hold.holders -= 1
        guard hold.holders == 0 else {
            shared[object] = hold
            return []
        }
        shared[object] = nil
        held -= hold.bytes
        return serve()
    }

    // MARK: Time

    /// To be called now and then while anyone waits. Complexity: O(claims).
    mutating func tick(at now: NIODeadline) -> [Decision] {
        latest = max(latest, now)
        guard waiting > 0 else { return [] }
        recallPromises(at: now)
        var decisions = serve()
        for place in begun where hasWaitedTooLong(place, at: now) { decisions.append(refuse(place.claim)) }
        // The others stand in the order in which they came: if one may still wait, so may all behind it.
        while let place = first(of: \.fresh), hasWaitedTooLong(place, at: now) {
            decisions.append(refuse(place.claim))
        }
        return decisions
    }

    private func hasWaitedTooLong(_ place: Place, at now: NIODeadline) -> Bool {
        guard let wait = claims[place.claim]?.wait, wait.number == place.wait else { return false }
        return wait.since + Self.patience <= now
    }

    mutating func setLimit(_ bytes: Int) -> [Decision] {
        limit = max(1, bytes)
        return serve()
    }

    // MARK: Inside

    private mutating func ask(_ id: ClaimID, _ bytes: Int, rest: Int, areUsed: Bool, at now: NIODeadline) -> Bool {
        guard let claim = claims[id] else { return true }
        latest = max(latest, now)
        let hasBegun = claim.used > 0
        let mayPass = hasBegun ? first(of: \.begun).map { $0.claim > id } ?? true : waiting == 0
        if mayPass, !fits(claim, bytes, areUsed: areUsed) { recallPromises(at: now) }
        if let now = claims[id], mayPass, fits(now, bytes, areUsed: areUsed) {
            grant(id, bytes, areUsed: areUsed)
            promiseAhead(id, rest)
            return true
        }
        wait(id, bytes, rest: rest, areUsed: areUsed, hasBegun, at: now)
        return false
    }

    /// What a claim lacks for `bytes` more.
    private func lack(_ claim: Claim, _ bytes: Int, areUsed: Bool) -> Int {
        areUsed ? max(0, bytes - (claim.held - claim.used)) : bytes
    }

    private func fits(_ claim: Claim, _ bytes: Int, areUsed: Bool) -> Bool {
        held + lack(claim, bytes, areUsed: areUsed) <= grantable || held == claim.held
    }

    private mutating func grant(_ id: ClaimID, _ bytes: Int, areUsed: Bool) {
        guard var claim = claims[id] else { return }
        let more = lack(claim, bytes, areUsed: areUsed)
        claim.held += more
        held += more
        if areUsed {
            Self.use(&claim, bytes, at: latest)
        } else {
            claim.moved = latest
        }
        claims[id] = claim
    }

    private static func use(_ claim: inout Claim, _ bytes: Int, at now: NIODeadline) {
        claim.used += bytes
        if claim.used - claim.usedThen >= progress || claim.usedThen == 0 {
            claim.moved = now
            claim.usedThen = claim.used
        }
    }

    /// Promises room for what comes next to a claim that was granted just now.
    private mutating func promiseAhead(_ id: ClaimID, _ rest: Int) {
        guard rest > 0, var claim = claims[id] else { return }
        var ahead = rest
        if held + ahead > limit / 2 { ahead = min(rest, max(Self.leastAhead, min(claim.used, Self.mostAhead))) }
        ahead = min(ahead, grantable - held)
        guard ahead > 0 else { return }
        claim.held += ahead
        held += ahead
        claims[id] = claim
    }

    /// Takes promises back from bodies that are not being sent. Complexity: O(claims), at most ten times a second.
    private mutating func recallPromises(at now: NIODeadline) {
        guard now >= nextRecall else { return }
        nextRecall = now + Self.recall
        for (id, claim) in claims
        where claim.held > claim.used && claim.wait == nil && claim.moved + Self.idle <= now {
            held -= claim.held - claim.used
            claims[id]?.held = claim.used
        }
    }

    private mutating func wait(
        _ id: ClaimID,
        _ bytes: Int,
        rest: Int,
        areUsed: Bool,
        _ hasBegun: Bool,
        at now: NIODeadline
    ) {
        lastWait += 1
        claims[id]?.wait = Wait(
            number: lastWait,
            bytes: bytes,
            rest: hasBegun ? rest : 0,
            areUsed: areUsed,
            since: now
        )
        waiting += 1
        let place = Place(claim: id, wait: lastWait)
        guard hasBegun else { return fresh.append(place) }
        begun.insert(place, at: placeInBegun(of: id))
        frozen += claims[id]?.held ?? 0
    }

    /// The place behind all older claims. Complexity: O(log waiting).
    private func placeInBegun(of id: ClaimID) -> CircularBuffer<Place>.Index {
        var start = begun.startIndex
        var count = begun.count
        while count > 0 {
            let middle = begun.index(start, offsetBy: count / 2)
            if begun[middle].claim <= id {
                start = begun.index(after: middle)
                count -= count / 2 + 1
            } else {
                count /= 2
            }
        }
        return start
    }

    /// Removes a claim's wait from the figures. Its place in the queue is passed over later.
    private mutating func leave(_ claim: Claim) {
        waiting -= 1
        if claim.used > 0 { frozen -= claim.held }
    }

    /// The first claim of a queue that still waits.
    private mutating func first(of queue: WritableKeyPath<Self, CircularBuffer<Place>>) -> Place? {
        while let place = self[keyPath: queue].first {
            if claims[place.claim]?.wait?.number == place.wait { return place }
            self[keyPath: queue].removeFirst()
        }
        return nil
    }

    /// Grants the claims that wait in their order, as long as they fit.
    private mutating func serve() -> [Decision] {
        var decisions: [Decision] = []
        while waiting > 0, let place = first(of: \.begun) ?? first(of: \.fresh), let claim = claims[place.claim],
            let wait = claim.wait, fits(claim, wait.bytes, areUsed: wait.areUsed)
        {
            leave(claim)
            claims[place.claim]?.wait = nil
            grant(place.claim, wait.bytes, areUsed: wait.areUsed)
            promiseAhead(place.claim, wait.rest)
            decisions.append(Decision(claim: place.claim, isGranted: true))
        }
        return decisions
    }

    /// Refuses the youngest bodies that wait, while the bodies that wait hold more than half of the budget. To be called after each `take`
    /// that was not granted.
    mutating func thaw() -> [Decision] {
        var decisions: [Decision] = []
        while frozen > limit / 2, let place = begun.popLast() {
            guard claims[place.claim]?.wait?.number == place.wait else { continue }
            decisions.append(refuse(place.claim))
        }
        return decisions
    }

    private mutating func refuse(_ id: ClaimID) -> Decision {
        if let claim = claims[id] { leave(claim) }
        claims[id]?.wait = nil
        refusals += 1
        return Decision(claim: id, isGranted: false)
    }
}
