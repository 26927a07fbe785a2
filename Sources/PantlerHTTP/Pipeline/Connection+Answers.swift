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

    /// Answers a plain request that was begun before. `write` returns the answer's status.
    func finish(_ request: LateRequest, _ operation: Operation, _ write: (AnswerFrame, inout ByteBuffer) -> Int) {
        guard phase == .open else { return }
        burst {
            let isLast = loop.isDraining && input.readableBytes == 0 && pending.isLast(request.number)
            let frame = AnswerFrame(connection: isLast ? .close : .unsaid, date: loop.date(at: burstBegan))
            let status: Int
            if pending.isNext(request.number) {
                // Its turn has come: it is written where it is sent from.
                status = write(frame, &output)
                send(pending.endFirst())
            } else {
                var answer = ByteBuffer()
                status = write(frame, &answer)
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
        saysKeepAlive: Bool = false
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
        return Exchange(connection: self, loop: loop, method: method, number: number)
    }

    /// Answers an exchange. Dropped if the connection is gone, or the exchange was answered before.
    func answer(_ exchange: Exchange, _ response: Response) {
        answer(exchange.number, operation: response.operation, status: response.status) { frame, bytes in
            response.write(frame, to: &bytes)
        }
    }

    /// The same with an entry.
    func answer(_ exchange: Exchange, _ answer: EntryAnswer) {
        self.answer(exchange.number, operation: .get, status: answer.status) { _, bytes in bytes = answer.complete() }
    }

    /// The same with what a write has left of the entry of a key.
    func answer(_ exchange: Exchange, _ written: Written, _ key: [UInt8], _ operation: Operation) {
        answer(exchange.number, operation: operation, status: WrittenAnswer.status(written)) { frame, bytes in
            key.withUnsafeBytes { WrittenAnswer.write(written, $0, frame, to: &bytes) }
        }
    }

    private func answer(
        _ number: UInt64,
        operation: Operation,
        status: Int,
        _ write: (AnswerFrame, inout ByteBuffer) -> Void
    ) {
        guard phase == .open, let exclusive, exclusive.number == number else { return }
        burst {
            let frame = frame
            var bytes = ByteBuffer()
            write(frame, &bytes)
            guard pending.settle(number, bytes) else { return }
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

    /// Small answers are gathered; a large one goes as it is.
    private func send(_ answer: ByteBuffer) {
        guard answer.readableBytes > 16 << 10 else {
            output.writeImmutableBuffer(answer)
            return
        }
        writeOutput()
        write(answer)
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
