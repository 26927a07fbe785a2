internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

/// A plain request for a lease that is answered later. Completions and cancellations of it hold nothing but this, so that a wait takes little
/// memory.
// @unchecked: all of it is used on the connection's loop alone, where it is made, but for the connection, which is bound to the loop.
final class LateLease: @unchecked Sendable {
    let request: LateRequest
    let namespace: Namespace
    let address: EntryAddress
    let connection: NIOLoopBound<Connection>
    /// The token that it was asked for by; `nil` where it was asked for without one.
    let pass: TokenPass?
    /// The call that is under way.
    var call: LeaseCall?
    /// Whether the request is answered, or nobody is there to be answered.
    var isOver = false

    init(
        _ request: LateRequest,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ pass: TokenPass?,
        _ connection: Connection
    ) {
        self.request = request
        self.namespace = namespace
        self.address = address
        self.pass = pass
        self.connection = NIOLoopBound(connection, eventLoop: connection.loop.eventLoop)
    }
}

// Plain requests for leases: a hit is looked up and answered in place, all else is answered when the store has an answer.
extension Connection {
    /// Answers a plain request for a lease, or begins to. Returns `false` for one that is left to the slow lane, of which nothing is counted.
    func lease(
        _ request: FastLane.FastRequest,
        _ body: UnsafeRawBufferPointer,
        _ frame: AnswerFrame
    ) -> Bool {
        // The slow lane tells what is wrong with a body, makes namespaces, and finds room for a large value first where that is short.
        guard !loop.flight.isTight, let ask = try? LeaseAsk(body), let namespace = loop.namespace(request.namespace)
        else {
            return false
        }
        let hash = loop.store.hash(namespace, request.key)
        let moment = moment
        var gap: ValueGap?
        // Whether a fresh entry is refreshed early is for the call to draw, once.
        let looks = namespace.earlyRefresh == 0
        let isHit =
            looks
            && gather { output in
                loop.store.hit(namespace, hash, request.key, moment) { found in
                    gap = LeaseAnswer.write(found, at: moment.now, frame, to: &output)
                }
            }
        if let gap { send(gap) }
        guard isHit else {
            state.spend(Self.slowRequestSteps)
            begin(ask, namespace, hash, request)
            return true
        }
        fastAnswers.leaseHits += 1
        if isLogged { log(.lease, logged(.post, request), 200, since: state.burstBegan) }
        return true
    }

    private func begin(_ ask: LeaseAsk, _ namespace: Namespace, _ hash: UInt64, _ request: FastLane.FastRequest) {
        let late = LateLease(
            late(.post, request, state.beginPut(holding: request.length, closes: request.closes)),
            namespace,
            EntryAddress(namespace: namespace.id, key: Array(request.key), hash: hash),
            request.authorization.isEmpty || !door.needsToken ? nil : knownToken?.pass,
            self
        )
        leases.append(late)
        loop.lease(namespace, late.address, ask) {
            // The answer may have come at once.
            if late.isOver { $0.cancel() } else { late.call = $0 }
        } _: {
            late.connection.value.finish(late, $0)
        }
        if state.isEndAhead { endLeases(.clientLeft) }
    }

    private func finish(_ late: LateLease, _ result: RoomyLease) {
        guard end(late), state.isOpen else { return result.takeBack(late.namespace, late.address, loop.store) }
        if let pass = late.pass, !stillAllows(pass, late.namespace) {
            result.takeBack(late.namespace, late.address, loop.store)
            noteLostWait(.lease, late.namespace, .token(pass))
            return finish(late.request, .lease) { frame, answer in
                Response(problem: .tokenInvalid, operation: .lease).write(late: frame, to: &answer)
            }
        }
        finish(late.request, .lease) { frame, answer in
            switch result {
            case .stored(let stored): return stored.write(late.address, at: moment.now, frame, to: &answer)
            case .refused: return Response(problem: .noRoom, operation: .lease).write(late: frame, to: &answer)
            }
        }
    }

    /// Returns whether the request was still to be answered.
    private func end(_ late: LateLease) -> Bool {
        if late.isOver { return false }
        late.isOver = true
        late.call = nil
        leases.removeAll { $0 === late }
        state.completed(late.request.number)
        return true
    }

    /// Ends the waits of plain requests for leases, since nobody waits for them any more. What does not wait is answered soon.
    func endLeases(_ why: Cancellation) {
        for late in leases where !state.isOpen || late.call?.isWaiting == true {
            late.call?.cancel()
            guard end(late) else { continue }
            if why == .tokenEnded { noteLostWait(.lease, late.namespace, late.pass.map { .token($0) }) }
            finish(late.request, .lease) { frame, answer in
                Response(problem: .waitEnded(why), operation: .lease).write(late: frame, to: &answer)
            }
        }
    }
}

extension Response {
    /// Appends the response as the answer of a request that comes late.
    fileprivate func write(late frame: AnswerFrame, to output: inout ByteBuffer) -> (status: Int, gap: ValueGap?) {
        write(frame, to: &output)
        return (status, nil)
    }
}

extension RoomyLease {
    /// Gives a lease up whose caller is gone. It may be lost already, which is just as well.
    func takeBack(_ namespace: Namespace, _ address: EntryAddress, _ store: Store) {
        guard case .stored(let answer) = self else { return }
        switch answer {
        case .given(let lease, _), .refresh(let lease, _):
            try? store.release(namespace, address, lease.token, pause: nil)
        case .hit, .absent, .refused, .larger, .failed: break
        }
    }
}

extension LeaseAnswer {
    /// Appends the answer of a request that found its entry. Returns the place of a large value.
    static func write(
        _ found: Found,
        at now: Timestamp,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) -> ValueGap? {
        guard found.entry.isAbsent else {
            return EntryAnswer.write(found, .entry, at: now, isNotModified: false, frame, to: &output)
        }
        AbsentAnswer.writeFound(found, at: now, frame, to: &output)
        return nil
    }

    /// Appends the answer. Returns its status, and the place of a large value.
    fileprivate func write(
        _ address: EntryAddress,
        at now: Timestamp,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) -> (status: Int, gap: ValueGap?) {
        var gap: ValueGap?
        switch self {
        case .hit(let hit), .absent(let hit):
            hit.withFound(address) { gap = Self.write($0, at: now, frame, to: &output) }
            return (200, gap)
        case .given(let lease, let reason):
            return GivenAnswer(lease, status: MissAnswer.cacheStatus(reason)).write(frame, to: &output)
        case .refresh(let lease, let hit):
            var written = (status: 201, gap: gap)
            hit.withFound(address) { written = GivenAnswer(lease, $0, at: now).write(frame, to: &output) }
            return written
        case .refused(let refusal):
            return Response(problem: .leaseHeld(refusal), operation: .lease).write(late: frame, to: &output)
        case .failed(let problem):
            return Response(problem: problem, operation: .lease).write(late: frame, to: &output)
        // The loop asks again once there is room, and so answers this itself.
        case .larger: return Response(problem: .noRoom, operation: .lease).write(late: frame, to: &output)
        }
    }
}
