internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

/// A plain request that is answered later, beside others.
struct LateRequest: Sendable {
    let number: UInt64
    /// `nil` where requests are not logged.
    let logged: LoggedRequest?
    /// What its answer is marked by.
    let requestID: RequestID
    let began: NIODeadline
}

// Answers that come later than their requests, in any order.
extension Connection {
    /// What has to be known of a plain request that is answered later.
    func late(_ method: Method, _ request: FastLane.FastRequest, _ number: UInt64) -> LateRequest {
        LateRequest(
            number: number,
            logged: logged(method, request),
            requestID: RequestID(request.requestID),
            began: state.burstBegan
        )
    }

    /// Answers a plain request that was begun before. `write` returns the answer's status, and the place of a large value.
    func finish(
        _ request: LateRequest,
        _ operation: Operation,
        _ write: (AnswerFrame, inout ByteBuffer) -> (status: Int, gap: ValueGap?)
    ) {
        guard state.isOpen else { return }
        burst {
            let closing = state.closing(request.number, unread: input.readableBytes)
            let frame = AnswerFrame(
                connection: closing,
                date: loop.date(at: state.burstBegan),
                requestID: request.requestID
            )
            let status: Int
            if state.answers.isNext(request.number) {
                // It is this answer's turn: it is written into the buffer from which it is sent.
                let start = output.writerIndex
                let (written, gap) = write(frame, &output)
                status = written
                if isLogged { loggedAnswer = LoggedAnswer(output, from: start) }
                if let gap { sendOutput(with: gap.value(loop.flight), at: gap.offset) }
                gatherOrSend(state.endFirst())
            } else {
                var text = ByteBuffer()
                let (written, gap) = write(frame, &text)
                status = written
                if isLogged { loggedAnswer = LoggedAnswer(text, from: text.readerIndex) }
                var answer = WireAnswer(text)
                if let gap { answer.add(gap.value(loop.flight), at: gap.offset) }
                guard state.settle(request.number, answer) else { return }
            }
            record(operation, .fast, request.logged, status, since: request.began)
            while let (answer, behind) = state.takeReady() {
                gatherOrSend(answer)
                gatherOrSend(behind)
            }
        }
    }

    /// Gives the connection to one request until that is answered. No other may be under way.
    func beginAlone(_ message: IncomingMessage) -> Exchange {
        let head = message.head
        let logged = isLogged ? LoggedRequest(head, by: message.caller) : nil
        loggedAlone = logged.map { ($0, message.began) }
        return Exchange(
            connection: self,
            loop: loop,
            method: head.method,
            number: state.beginAlone(closes: !head.isKeptAlive, isHTTP10: head.isHTTP10),
            requestID: head.requestID,
            takesPieces: !head.isHTTP10 && head.method != .head,
            logged: logged,
            headers: message.request.headers,
            caller: message.caller,
            began: message.began,
            claim: message.claim
        )
    }

    /// Answers an exchange. The answer is dropped if the connection is gone, or the exchange was answered before.
    ///
    /// A long answer for which there is no room is replaced by a problem: it would have to wait here for a client that may never take it.
    func answer(_ exchange: Exchange, _ response: Response) {
        // Whoever asked for the change may be gone, but it is made.
        if let change = response.change { note(change, exchange, response) }
        // The body's room is given back first, because the answer may need it.
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

    /// The claim of an answer whose text has so many bytes. It is `.some(nil)` for a small answer, which needs none, and `nil` where there
    /// is no room.
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

    /// Answers an exchange with an entry.
    func answer(_ exchange: Exchange, _ answer: EntryAnswer) {
        let flight = loop.flight
        self.answer(exchange, operation: answer.operation, status: answer.status) { _ in answer.complete(flight) }
    }

    /// Answers an exchange with a body of text and values, which counts itself among the bytes in flight.
    func answer(_ exchange: Exchange, _ response: Response, with body: WireAnswer) {
        answer(exchange, operation: response.operation, status: response.status) { frame in
            var head = ByteBuffer()
            response.writeHead(frame, bodyCount: body.count, to: &head)
            if frame.isHead { return WireAnswer(head) }
            // The text is not copied here, because it may be long.
            var answer = body
            head.writeImmutableBuffer(body.head)
            answer.head = head
            return answer
        }
    }

    /// Answers an exchange with what a write has left of the entry of a key.
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
        guard state.isAwaited(exchange.number) else { return }
        burst {
            let answer = make(frame(of: exchange))
            if isLogged {
                let head = answer.head.readableBytes > 0 ? answer.head : answer.text
                loggedAnswer = LoggedAnswer(head, from: head.readerIndex)
            }
            gatherOrSend(answer)
            end(exchange, operation, status)
        }
    }

    private func end(_ exchange: Exchange, _ operation: Operation, _ status: Int) {
        _ = state.endFirst()
        endPieces()
        loggedAlone = nil
        record(operation, .full, exchange.logged, status, since: exchange.began)
    }

    // MARK: Answers in pieces

    /// Begins an answer in chunks.
    func begin(_ exchange: Exchange, _ response: Response) {
        guard state.beginAnswer(exchange.number) else { return }
        loggedAnswer = LoggedAnswer()
        burst { response.writeHead(frame(of: exchange), bodyCount: nil, to: &output) }
    }

    /// Writes a chunk of an answer, and calls `next` once the socket takes more.
    func write(_ exchange: Exchange, _ piece: WireAnswer, then next: @escaping @Sendable () -> Void) {
        guard state.isWriting(exchange.number) else { return }
        burst { gatherOrSend(chunk: piece) }
        nextPiece = next
        askForPiece()
    }

    func end(_ exchange: Exchange, _ response: Response, _ piece: WireAnswer) {
        exchange.endBody()
        guard state.isWriting(exchange.number) else { return }
        burst {
            gatherOrSend(chunk: piece)
            output.writeStaticString("0\r\n\r\n")
            end(exchange, response.operation, response.status)
        }
    }

    private func gatherOrSend(chunk piece: WireAnswer) {
        // A chunk without bytes would end the answer.
        if piece.count == 0 { return }
        loggedAnswer.bytes += piece.count
        output.writeString("\(String(piece.count, radix: 16))\r\n")
        var piece = piece
        if piece.claim == nil, piece.textBytes > Flight.free {
            piece.claim = loop.flight.claim()
            piece.claim?.force(piece.textBytes)
        }
        gatherOrSend(piece)
        output.writeStaticString("\r\n")
    }

    /// Calls for the next piece of an answer if the socket takes more, after what else the loop has to do.
    func askForPiece() {
        guard state.isOpen, state.isWritable, let next = nextPiece.take() else { return }
        loop.eventLoop.execute(next)
    }

    /// Forgets what belongs to the exchange that was alone, which is over.
    func endPieces() {
        nextPiece = nil
        onCancel = nil
    }

    // MARK: Cancellation

    func onCancel(of exchange: Exchange, _ body: @escaping @Sendable (Cancellation) -> Void) {
        switch state.watch(exchange.number) {
        case .over: break
        case .watching: onCancel = body
        case .cancelled(let why): body(why)
        }
    }

    func cancel(_ why: Cancellation?) {
        guard let why, let body = onCancel.take() else { return }
        body(why)
    }

    /// The part of an exchange's answer that is about the connection.
    func frame(of exchange: Exchange) -> AnswerFrame {
        AnswerFrame(
            isHead: exchange.method == .head,
            connection: state.closing(exchange.number, unread: input.readableBytes),
            date: loop.date(at: state.isInBurst ? state.burstBegan : loop.eventLoop.now),
            requestID: exchange.requestID
        )
    }

    /// Gathers a small answer. A large one is sent at once and as it is, because what comes after it depends on whether the socket takes
    /// it.
    private func gatherOrSend(_ answer: WireAnswer) {
        guard answer.count > 16 << 10 || !answer.values.isEmpty else {
            output.writeImmutableBuffer(answer.head)
            output.writeImmutableBuffer(answer.text)
            return
        }
        send(answer)
    }

    /// Counts an answer with the time that it took, and logs it.
    func record(
        _ operation: Operation,
        _ lane: Lane,
        _ logged: LoggedRequest?,
        _ status: Int,
        since began: NIODeadline
    ) {
        let nanoseconds = UInt64(max(0, (loop.eventLoop.now - began).nanoseconds))
        loop.tally.record(operation, lane, status: status, nanoseconds: nanoseconds)
        if isLogged { log(operation, logged, status, since: began) }
    }
}
