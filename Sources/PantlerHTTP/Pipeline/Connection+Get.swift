internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// Plain GETs: a hit is looked up and answered in place.
extension Connection {
    /// Answers a plain GET, or asks the lower tier for the entry. Returns `false` for one that has to wait for room.
    func answer(_ request: FastLane.FastRequest, _ frame: AnswerFrame) -> Bool {
        guard let namespace = loop.namespace(request.namespace) else {
            loop.store.countUnmet(request.namespace)
            answerMiss(.absent, request, frame)
            return true
        }
        let hash = loop.store.hash(namespace, request.key)
        let moment = moment
        if loop.flight.isTight {
            switch findRoom(namespace, hash, request) {
            case .there: break
            case .asked: return false
            case .refused:
                refuseForRoom(request, frame)
                return true
            }
        }
        var gap: ValueGap?
        let lookup = gather { output in
            loop.store.lookup(namespace, hash, request.key, moment, counts: true) { found in
                gap = EntryAnswer.write(
                    found,
                    request.aspect,
                    at: moment.now,
                    isNotModified: false,
                    frame,
                    to: &output
                )
            }
        }
        // A large value is sent here, where no lock is held any more, because that can take its time.
        if let gap { send(gap) }
        switch lookup {
        case .hit:
            fastAnswers.hits += 1
            if isLogged { log(.get, logged(.get, request), 200, since: state.burstBegan) }
        case .absent:
            fastAnswers.misses += 1
            if isLogged { log(.get, logged(.get, request), 404, since: state.burstBegan) }
        case .missing(let reason): answerMiss(reason, request, frame)
        case .below, .omitted: load(namespace, hash, request)
        }
        return true
    }

    /// Puts a large value into the answer that was gathered last. It is sent at once if nothing is before it, because what comes after it
    /// depends on whether the socket takes it.
    func send(_ gap: ValueGap) {
        let value = gap.value(loop.flight)
        // From here on, whatever holds the value counts it.
        room = .unasked
        if state.answers.isEmpty {
            sendOutput(with: value, at: gap.offset)
        } else {
            state.addBehind(value, at: gap.offset)
        }
    }

    // MARK: Room

    private enum RoomOutcome {
        case there, asked, refused
    }

    /// Finds room for the answer to a plain GET where there may be none. No reference to a large value is taken before there is room for
    /// it.
    private func findRoom(_ namespace: Namespace, _ hash: UInt64, _ request: FastLane.FastRequest) -> RoomOutcome {
        switch room {
        case .granted: return .there
        case .asked: return .asked
        case .refused:
            room = .unasked
            return .refused
        case .unasked: break
        }
        var bytes = 0
        var value: ObjectIdentifier?
        _ = loop.store.lookup(namespace, hash, request.key, moment, counts: false) { found in
            value = found.large?.id
            bytes = found.entry.value.count
        }
        guard let value, !loop.flight.isHeld(value) else { return .there }
        let claim = loop.flight.claim()
        let connection = NIOLoopBound(self, eventLoop: loop.eventLoop)
        let isGranted = claim.ask(bytes, at: loop.eventLoop.now) { isGranted in
            connection.eventLoop.execute { connection.value.noteRoom(isGranted) }
        }
        room = isGranted ? .granted(claim) : .asked(claim)
        if isGranted { return .there }
        state.waitsForRoom()
        loop.noteWaiting()
        return .asked
    }

    private func noteRoom(_ isGranted: Bool) {
        guard case .asked(let claim) = room, state.roomCame(at: loop.eventLoop.now) else { return }
        room = isGranted ? .granted(claim) : .refused
        // The request still stands at the front of the input.
        burst {}
    }

    private func refuseForRoom(_ request: FastLane.FastRequest, _ frame: AnswerFrame) {
        let response = Response(problem: .noRoom, operation: .get)
        gather { response.write(frame, to: &$0) }
        record(.get, .fast, logged(.get, request), response.status, since: state.burstBegan)
    }

    private func answerMiss(_ reason: MissReason, _ request: FastLane.FastRequest, _ frame: AnswerFrame) {
        gather { MissAnswer.write(reason, frame, to: &$0) }
        fastAnswers.misses += 1
        if isLogged { log(.get, logged(.get, request), 404, since: state.burstBegan) }
    }

    /// Asks the lower tier for the entry. By the request's number the answer finds its place in the order.
    private func load(_ namespace: Namespace, _ hash: UInt64, _ request: FastLane.FastRequest) {
        let load = PendingLoad(
            request: late(.get, request, state.beginGet(holding: request.length, closes: request.closes)),
            aspect: request.aspect,
            address: EntryAddress(namespace: namespace.id, key: Array(request.key), hash: hash)
        )
        let connection = NIOLoopBound(self, eventLoop: loop.eventLoop)
        loop.load(namespace, load.address, counts: true) { connection.value.finish(load, $0) }
    }

    private struct PendingLoad: Sendable {
        let request: LateRequest
        let aspect: EntryAspect
        let address: EntryAddress
    }

    private func finish(_ load: PendingLoad, _ result: RoomyLoad) {
        state.completed(load.request.number)
        finish(load.request, .get) { frame, answer in
            switch result {
            case .hit(let hit):
                let now = moment.now
                var gap: ValueGap?
                hit.withFound(load.address) { found in
                    gap = EntryAnswer.write(found, load.aspect, at: now, isNotModified: false, frame, to: &answer)
                }
                return (200, gap)
            case .absent(let hit):
                hit.withFound(load.address) { AbsentAnswer.write($0, at: moment.now, frame, to: &answer) }
                return (404, nil)
            case .missing(let reason):
                MissAnswer.write(reason, frame, to: &answer)
                return (404, nil)
            case .refused:
                let response = Response(problem: .noRoom, operation: .get)
                response.write(frame, to: &answer)
                return (response.status, nil)
            }
        }
    }
}
