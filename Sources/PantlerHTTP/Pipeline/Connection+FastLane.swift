internal import NIOCore
import PantlerInsight
import PantlerModel

// The fast lane: plain requests, recognised and answered in the bytes. `Connection+Get` and `Connection+Put` have what each is
// answered with.
extension Connection {
    enum FastOutcome {
        /// One request at least was answered, or begun.
        case took
        /// What stands at the front may become such a request.
        case incomplete
        /// What stands at the front has to wait until all before it is answered: a write behind reads, or a read behind writes.
        case waits
        case other
    }

    /// Answers of one burst that the fast lane gave at once: they are counted together, at its end.
    struct FastAnswers {
        /// Gets that found their entry, and that did not.
        var hits = 0
        var misses = 0
        /// Puts that made an entry, and that replaced one.
        var made = 0
        var replaced = 0

        func record(in tally: RequestTally, nanoseconds: UInt64) {
            for _ in 0..<hits { tally.record(.get, status: 200, nanoseconds: nanoseconds) }
            for _ in 0..<misses { tally.record(.get, status: 404, nanoseconds: nanoseconds) }
            for _ in 0..<made { tally.record(.put, status: 201, nanoseconds: nanoseconds) }
            for _ in 0..<replaced { tally.record(.put, status: 200, nanoseconds: nanoseconds) }
        }
    }

    /// Answers the plain requests at the front of `bytes`.
    func answerPlain(_ bytes: inout ByteBuffer) -> FastOutcome {
        let hosts = loop.hosts
        let bounds = FastLane.Bounds(
            head: loop.limits.headSize,
            // A longer one finds its room in the other lane, and is none for the loop.
            body: state.isShort ? Flight.free : min(loop.limits.bodySize, loop.router.options.maxBody, Call.shortBody)
        )
        let frame = AnswerFrame(date: loop.date(at: state.burstBegan))
        var outcome = FastOutcome.took
        let taken = bytes.withUnsafeReadableBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                switch FastLane.parse(UnsafeRawBufferPointer(rebasing: bytes[offset...]), hosts, bounds) {
                case .get(let request):
                    guard state.mayGet, answer(request, frame) else {
                        outcome = .waits
                        return offset
                    }
                    offset += request.length
                    state.spend(1)
                case .put(let request, let body):
                    guard state.mayPut else {
                        outcome = .waits
                        return offset
                    }
                    put(request, body, frame)
                    offset += request.length
                    state.spend(Self.putSteps + body.count / Self.stepBytes)
                case .incomplete:
                    outcome = .incomplete
                    return offset
                case .other:
                    outcome = .other
                    return offset
                }
                if state.steps <= 0 || isBlocked || output.readableBytes >= state.gatherLimit { break }
            }
            return offset
        }
        bytes.moveReaderIndex(forwardBy: taken)
        return taken > 0 ? .took : outcome
    }

    /// Runs `body` with the buffer in which the next answer has its place.
    func gather<Answer>(_ body: (inout ByteBuffer) -> Answer) -> Answer {
        state.answers.isEmpty ? body(&output) : state.addBehind(body)
    }

    /// For the log.
    func target(_ request: FastLane.FastRequest) -> String {
        let namespace = String(decoding: request.namespace, as: UTF8.self)
        let key = String(decoding: request.key, as: UTF8.self)
        return "/v1/namespaces/\(namespace)/\(request.aspect == .entry ? "entries" : "values")/\(key)"
    }
}
