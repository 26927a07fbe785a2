internal import NIOCore
import PantlerInsight
import PantlerModel

// The fast lane: plain requests, recognised and answered in the bytes. `Connection+Get`, `Connection+Put` and `Connection+Lease` carry them
// out.
extension Connection {
    enum FastOutcome {
        /// One request at least was answered, or begun.
        case took
        /// What stands at the front may become a plain request.
        case incomplete
        /// What stands at the front has to wait until all before it is answered: a write behind reads, or a read behind writes.
        case waits
        case other
    }

    /// Answers of one burst that the fast lane gave at once. They are counted together, at the burst's end.
    struct FastAnswers {
        /// Gets that found their entry, and that did not.
        var hits = 0
        var misses = 0
        /// Puts that made an entry, and that replaced one.
        var made = 0
        var replaced = 0
        /// Lease requests that found their entry.
        var leaseHits = 0

        func record(in tally: RequestTally, nanoseconds: UInt64) {
            for _ in 0..<hits { tally.record(.get, .fast, status: 200, nanoseconds: nanoseconds) }
            for _ in 0..<misses { tally.record(.get, .fast, status: 404, nanoseconds: nanoseconds) }
            for _ in 0..<made { tally.record(.put, .fast, status: 201, nanoseconds: nanoseconds) }
            for _ in 0..<leaseHits { tally.record(.lease, .fast, status: 200, nanoseconds: nanoseconds) }
            for _ in 0..<replaced { tally.record(.put, .fast, status: 200, nanoseconds: nanoseconds) }
        }
    }

    /// Answers the plain requests at the front of `bytes`.
    func answerPlain(_ bytes: inout ByteBuffer) -> FastOutcome {
        let door = door
        let hosts = door.hosts
        let bounds = laneBounds
        let scratch = loop.scratch
        let frame = AnswerFrame(date: loop.date(at: state.burstBegan))
        var outcome = FastOutcome.took
        let taken = bytes.withUnsafeReadableBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                switch FastLane.parse(rest, hosts, bounds, scratch: scratch) {
                case .get(let request):
                    guard state.mayGet, mayBegin(request) else {
                        outcome = .waits
                        return offset
                    }
                    guard allows(request, .read, door) else {
                        outcome = .other
                        return offset
                    }
                    guard answer(request, frame.answering(request)) else {
                        isRequestCounted = door.needsToken
                        outcome = .waits
                        return offset
                    }
                    offset += request.length
                    state.spend(1)
                    endIfLast(request)
                case .put(let request, let body):
                    guard state.mayPut, mayBegin(request) else {
                        outcome = .waits
                        return offset
                    }
                    guard allows(request, .write, door) else {
                        outcome = .other
                        return offset
                    }
                    put(request, body, frame.answering(request))
                    offset += request.length
                    state.spend(Self.putSteps + body.count / Self.stepBytes)
                    endIfLast(request)
                case .lease(let request, let body):
                    // It reads, and may change what comes after it, as a write does.
                    guard state.mayGet, state.mayPut, mayBegin(request) else {
                        outcome = .waits
                        return offset
                    }
                    guard allows(request, .write, door) else {
                        outcome = .other
                        return offset
                    }
                    guard lease(request, body, frame.answering(request)) else {
                        isRequestCounted = door.needsToken
                        outcome = .other
                        return offset
                    }
                    offset += request.length
                    state.spend(1)
                    endIfLast(request)
                case .incomplete:
                    outcome = .incomplete
                    return offset
                case .awaitsBody:
                    if state.answers.isEmpty, offset == 0 { state.awaitsPlainBody(unread: bytes.count) }
                    outcome = .incomplete
                    return offset
                case .other:
                    outcome = .other
                    return offset
                }
                if state.steps <= 0 || !state.isOpen || isBlocked || output.readableBytes >= state.gatherLimit { break }
            }
            return offset
        }
        bytes.moveReaderIndex(forwardBy: taken)
        return taken > 0 ? .took : outcome
    }

    private var laneBounds: FastLane.Bounds {
        // A longer body is left to the slow lane, which waits for room for it and answers it on another thread.
        let body = state.isShort ? Flight.free : min(loop.limits.bodySize, loop.router.options.maxBody, Call.shortBody)
        return FastLane.Bounds(head: loop.limits.headSize, body: body, awaitedBody: min(body, Flight.free))
    }

    /// The id of the request whose body did not come in time.
    var unfinishedRequestID: RequestID {
        if let message { return message.head.requestID }
        return input.withUnsafeReadableBytes { bytes in
            guard !bytes.isEmpty,
                case .awaitsBody(let id) = FastLane.parse(bytes, door.hosts, laneBounds, scratch: loop.scratch)
            else { return .none }
            return RequestID(id)
        }
    }

    /// A request that is the connection's last waits until all before it is answered.
    private func mayBegin(_ request: FastLane.FastRequest) -> Bool { !request.closes || state.answers.isEmpty }

    /// Ends the connection after its last request, if that is answered already. Otherwise it ends with the answer.
    private func endIfLast(_ request: FastLane.FastRequest) {
        if request.closes, state.answers.isEmpty { endAnswers() }
    }

    /// Runs `body` with the buffer in which the next answer has its place.
    func gather<Answer>(_ body: (inout ByteBuffer) -> Answer) -> Answer {
        isLogged ? gatherNoting(body) : state.answers.isEmpty ? body(&output) : state.addBehind(body)
    }

    /// The same where what was written is wanted for the log.
    private func gatherNoting<Answer>(_ body: (inout ByteBuffer) -> Answer) -> Answer {
        func note(_ output: inout ByteBuffer) -> Answer {
            let start = output.writerIndex
            let answer = body(&output)
            loggedAnswer = LoggedAnswer(output, from: start)
            return answer
        }
        return state.answers.isEmpty ? note(&output) : state.addBehind(note)
    }
}
