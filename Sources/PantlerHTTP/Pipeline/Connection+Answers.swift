internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

/// A plain request that is answered later, beside others.
struct LateRequest: Sendable {
    let number: UInt64
    /// For the log.
    let target: String
    let began: NIODeadline
}

/// A request of the slow lane that is being answered and has its connection to itself.
struct Exclusive {
    let number: UInt64
    let method: Method
    /// For the log.
    let target: String
    let began: NIODeadline
    /// Whether the connection ends with its answer.
    let closes: Bool
    /// Whether the answer has to say so if it does not: the client speaks HTTP/1.0.
    let saysKeepAlive: Bool
}

// Answers that come after their requests, in whatever order.
extension Connection {
    /// Gives a plain request its place among those that are answered later.
    func beginLate(_ request: FastLane.FastRequest) -> LateRequest {
        LateRequest(
            number: pending.begin(holding: request.length),
            target: isLogged ? target(request) : "",
            began: burstBegan
        )
    }

    /// Answers a plain request that was begun before. `write` returns the answer's status, and the place of a large value.
    func finish(
        _ request: LateRequest,
        _ operation: Operation,
        _ write: (AnswerFrame, inout ByteBuffer) -> (status: Int, gap: ValueGap?)
    ) {
        guard phase == .open else { return }
        burst {
            let isLast = loop.isDraining && input.readableBytes == 0 && pending.isLast(request.number)
            let frame = AnswerFrame(connection: isLast ? .close : .unsaid, date: loop.date(at: burstBegan))
            let status: Int
            if pending.isNext(request.number) {
                // Its turn has come: it is written where it is sent from.
                let (written, gap) = write(frame, &output)
                status = written
                if let gap { sendOutput(with: gap.value(loop.flight), at: gap.offset) }
                send(pending.endFirst())
            } else {
                var text = ByteBuffer()
                let (written, gap) = write(frame, &text)
                status = written
                var answer = WireAnswer(text)
                if let gap { answer.add(gap.value(loop.flight), at: gap.offset) }
                guard pending.settle(request.number, answer) else { return }
            }
            record(operation, operation == .put ? .put : .get, request.target, status, since: request.began)
            sendReady()
        }
    }

    /// Gives the connection to a request, until it is answered. Nothing is pending.
    func beginExclusive(
        _ method: Method,
        target: String,
        began: NIODeadline,
        closes: Bool = false,
        saysKeepAlive: Bool = false,
        claim: FlightClaim? = nil
    ) -> Exchange {
        let number = pending.begin()
        exclusive = Exclusive(
            number: number,
            method: method,
            target: target,
            began: began,
            closes: closes,
            saysKeepAlive: saysKeepAlive
        )
        return Exchange(connection: self, loop: loop, method: method, number: number, claim: claim)
    }

    /// Answers an exchange. Dropped if the connection is gone, or the exchange was answered before.
    ///
    /// A long answer that there is no room for is not given: it was made, but would have to wait here for a client that may never take it.
    func answer(_ exchange: Exchange, _ response: Response) {
        // First: the answer may need the room.
        exchange.endBody()
        let claim = claim(response.body?.readableBytes ?? 0)
        var response = response
        if claim == nil {
            loop.flight.noteRefusal()
            response = Response(problem: .noRoom, operation: response.operation)
        }
        answer(exchange, operation: response.operation, status: response.status) { frame in
            var answer = response.wireAnswer(frame)
            answer.claim = claim ?? nil
            return answer
        }
    }

    /// The claim of an answer whose text has so many bytes: none for a small one. `nil` where there is no room.
    private func claim(_ bytes: Int) -> FlightClaim?? {
        guard bytes > Flight.free else { return .some(nil) }
        let claim = loop.flight.claim()
        if claim.tryAsk(bytes) { return .some(claim) }
        // An operator's page of figures is wanted most when there is no room.
        guard bytes <= Self.smallPageBytes else { return nil }
        claim.force(bytes)
        return .some(claim)
    }

    private static let smallPageBytes = 64 << 10

    /// The same with an entry.
    func answer(_ exchange: Exchange, _ answer: EntryAnswer) {
        let flight = loop.flight
        self.answer(exchange, operation: .get, status: answer.status) { _ in answer.complete(flight) }
    }

    /// The same with a body of text and values, that counts itself among the bytes in flight.
    func answer(_ exchange: Exchange, _ response: Response, with body: WireAnswer) {
        answer(exchange, operation: response.operation, status: response.status) { frame in
            var head = ByteBuffer()
            response.writeHead(frame, bodyCount: body.count, to: &head)
            if frame.isHead { return WireAnswer(head) }
            // The text may be long: it is not copied here.
            var answer = body
            answer.head = head
            return answer
        }
    }

    /// The same with what a write has left of the entry of a key.
    func answer(_ exchange: Exchange, _ written: Written, _ key: [UInt8], _ operation: Operation) {
        answer(exchange, operation: operation, status: WrittenAnswer.status(written)) { frame in
            var text = ByteBuffer()
            key.withUnsafeBytes { WrittenAnswer.write(written, $0, frame, to: &text) }
            return WireAnswer(text)
        }
    }

    private func answer(
        _ exchange: Exchange,
        operation: Operation,
        status: Int,
        _ make: (AnswerFrame) -> WireAnswer
    ) {
        exchange.endBody()
        guard phase == .open, let exclusive, exclusive.number == exchange.number else { return }
        burst {
            let frame = frame
            guard pending.settle(exchange.number, make(frame)) else { return }
            self.exclusive = nil
            record(operation, exclusive.method, exclusive.target, status, since: exclusive.began)
            sendReady()
            if exclusive.closes || frame.connection == .close { beginLingering() }
        }
    }

    /// What the answer to the present exclusive request says besides its own.
    var frame: AnswerFrame {
        let date = loop.date(at: isInBurst ? burstBegan : loop.eventLoop.now)
        guard let exclusive else { return AnswerFrame(date: date) }
        let connection: AnswerFrame.Connection =
            exclusive.closes || loop.isDraining ? .close : exclusive.saysKeepAlive ? .keepAlive : .unsaid
        return AnswerFrame(isHead: exclusive.method == .head, connection: connection, date: date)
    }

    /// Hands over the answers whose turn has come.
    func sendReady() {
        while let (answer, behind) = pending.takeReady() {
            send(answer)
            send(behind)
        }
    }

    /// Small answers are gathered; a large one goes as it is, and at once: what comes after it is to see whether it is taken.
    private func send(_ answer: WireAnswer) {
        guard answer.count > 16 << 10 || !answer.values.isEmpty else {
            output.writeImmutableBuffer(answer.head)
            output.writeImmutableBuffer(answer.text)
            return
        }
        writeOutput()
        write(answer)
        sendOutput()
    }

    /// Counts an answer that was not given at once, and logs it.
    func record(_ operation: Operation, _ method: Method, _ target: String, _ status: Int, since began: NIODeadline) {
        let nanoseconds = UInt64(max(0, (loop.eventLoop.now - began).nanoseconds))
        loop.tally.record(operation, status: status, nanoseconds: nanoseconds)
        if isLogged { log(method, target, status, since: began) }
    }

    /// One line a request, at debug.
    func log(_ method: Method, _ target: String, _ status: Int, since began: NIODeadline) {
        let microseconds = max(0, (loop.eventLoop.now - began).nanoseconds) / 1000
        loop.logger.debug(
            "request",
            metadata: [
                "method": "\(method)", "target": "\(target)", "status": "\(status)", "us": "\(microseconds)",
            ]
        )
    }
}
