internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
internal import PantlerSockets

/// A request of the slow lane on its way in: its head has been read and admitted.
struct IncomingMessage {
    var request: Request
    /// What its head asks for, if the request was admitted.
    var call: Call?
    /// Who makes it.
    var caller = Caller.anybody
    var head: RequestHead
    var body: BodyReader
    let began: NIODeadline
    /// Bytes that the body may still have.
    var bodyRoom: Int
    /// Whether the request has been refused already, and the rest of it is only passed over.
    var isRefused = false
    /// Whether the body means nothing to the call: it is passed over, so that nobody holds memory by it.
    var dropsBody = false
    /// The claim that counts the body among the bytes in flight; `nil` for a small one.
    var claim: FlightClaim?
    /// Bytes of the body that there is room for, and that have not been taken yet.
    var roomLeft = 0
    /// Whether the client waits to be asked for the body.
    var awaitsContinue = false
    /// The problem of a request that is refused later than at once.
    var delayedProblem: Problem?

    /// Lets go of what the answer to a refused request does not need: thousands of them may wait.
    mutating func dropFields() {
        request.headers = HTTPHeaders()
        head.dropFields()
    }
}

extension HTTPHeaders {
    /// The fields without what nobody needs any more once the caller is known, and what is best not kept.
    fileprivate var withoutAuthorization: HTTPHeaders {
        guard contains(name: "authorization") else { return self }
        var fields = self
        fields.remove(name: "authorization")
        return fields
    }
}

// The slow lane: requests of any kind, as SwiftNIO's decoder reads them.
extension Connection {
    /// A refused request's body is passed over up to so many bytes, and the connection kept.
    private static let passedOverBytes = 64 << 10
    /// The most bytes of memory that are reserved for a body before it has come. Where the kernel gives the memory large pages, the process
    /// may have all of it although it is not used.
    private static let reservedBytes = 64 << 10

    /// Reads the head at the front of `bytes` once it is whole. Returns whether anything was taken.
    ///
    /// - Parameter searched: bytes at the front that hold no end of the head.
    func takeHead(_ bytes: inout ByteBuffer, searched: Int) -> Bool {
        let limits = loop.limits
        let end = bytes.withUnsafeReadableBytes { MessageBoundary.endOfFields($0, from: max(0, searched - 2)) }
        guard let end, end <= limits.headSize else {
            state.foundHead(searched: bytes.readableBytes)
            guard end != nil || bytes.readableBytes > limits.headSize else {
                if bytes.withUnsafeReadableBytes({ RequestHead.canBecomeHead($0, from: searched) }) { return false }
                refuse(RequestHead.unreadable)
                return true
            }
            refuse(RequestHead.tooLong(bytes.readableBytesView.prefix(limits.headSize), limits))
            return true
        }
        state.tookHead()
        room = .unasked
        guard let context, let head = bytes.readSlice(length: end) else { return false }
        let (readable, method) = RequestHead.readable(head)
        var requestID = RequestID.none
        do {
            let decoded = try decoder.head(readable, context)
            requestID = RequestID(decoded.headers)
            begin(try RequestHead(decoded, method, door.hosts, limits), bytes)
        } catch {
            let problem = RequestHead.problem(error, head: head)
            if problem.code == .hostNotServed { noteRefusal(problem, method, [], by: nil) }
            refuse(problem, requestID)
        }
        return true
    }

    /// Admits a request, or refuses it.
    private func begin(_ head: RequestHead, _ following: ByteBuffer) {
        let body = BodyReader(length: head.length, lineLimit: loop.limits.headSize)
        guard body.hasEnded == decoder.hasEnded else { return refuse(RequestHead.unreadable, head.requestID) }
        var message = IncomingMessage(
            request: Request(method: head.method, target: head.target, headers: head.headers.withoutAuthorization),
            head: head,
            body: body,
            began: state.burstBegan,
            bodyRoom: 0
        )
        switch admit(head, &message) {
        case .refused(let problem, _) where delays(problem):
            loop.router.refusals.noteDelay()
            message.delayedProblem = problem
            message.dropFields()
            refuseLater()
            return keep(message)
        case .refused(let problem, let operation):
            refuse(&message, problem, operation)
        case .accepted(let call, let maxBody):
            message.call = call
            message.dropsBody = call?.readsBody != true
            message.bodyRoom =
                message.dropsBody ? Self.passedOverBytes : min(maxBody, loop.limits.bodySize, loop.limits.bytesInFlight)
            if let length = head.length, length > message.bodyRoom {
                refuse(&message, RequestHead.bodyTooLarge(message.bodyRoom), .other)
            } else if !body.hasEnded {
                message.awaitsContinue = head.expectsContinue && following.readableBytes == 0
                if findRoom(&message) { askForBody(&message) }
            }
        }
        guard state.isOpen else { return }
        if body.hasEnded { end(message) } else { keep(message) }
    }

    /// Judges a request in the order of what it says of itself: whether a page of another site has sent it, who makes it, what it asks for.
    private func admit(_ head: RequestHead, _ message: inout IncomingMessage) -> Admission {
        var known: Caller?
        do throws(Problem) {
            if head.isCrossSite { throw .crossSite }
            let caller = try caller(of: head)
            known = caller
            message.caller = caller
            try count(caller)
            let admission = loop.router.admit(head.method, head.target, message.request.headers, by: caller)
            if case .refused(let problem, _) = admission { noteRefusal(problem, head.method, head.target, by: caller) }
            return admission
        } catch {
            noteRefusal(error, head.method, head.target, by: known)
            return .refused(error, loop.router.operation(head.method, head.target))
        }
    }

    // MARK: Refusals that take their time

    /// Whether a refusal is answered later: the peer has guessed too often.
    private func delays(_ problem: Problem) -> Bool {
        problem.code == .tokenInvalid
            && !loop.router.failedTokens.take(peer, at: loop.eventLoop.now, perMinute: loop.limits.failedTokens)
    }

    /// Reads nothing more for a while, and then refuses the request that is kept.
    private func refuseLater() {
        state.waitsForRoom()
        loop.eventLoop.assumeIsolated().scheduleTask(in: FailedTokens.delay) { [weak self] in self?.refuseDelayed() }
    }

    private func refuseDelayed() {
        guard var message, let problem = message.delayedProblem, state.roomCame(at: loop.eventLoop.now) else { return }
        self.message = nil
        message.delayedProblem = nil
        burst {
            refuse(&message, problem, loop.router.operation(message.head.method, message.head.target))
            guard state.isOpen else { return }
            if message.body.hasEnded { end(message) } else { keep(message) }
        }
    }

    private func askForBody(_ message: inout IncomingMessage) {
        if message.awaitsContinue { output.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n") }
        message.awaitsContinue = false
    }

    // MARK: Room for bodies

    /// Asks for room for the beginning of a body that is known to be long. Returns whether there is room. Otherwise reading pauses until
    /// there is, or until there was none for too long.
    private func findRoom(_ message: inout IncomingMessage) -> Bool {
        guard let length = message.head.length, length > Flight.free, !message.dropsBody else { return true }
        let claim = loop.flight.claim()
        message.claim = claim
        let first = min(length, Flight.free)
        return note(claim.promise(first, rest: length - first, at: loop.eventLoop.now, later: roomTeller))
    }

    /// Asks for room for `bytes` of a body that have come. Returns whether there is room. Otherwise reading pauses in the same way.
    private func findRoom(_ message: inout IncomingMessage, for bytes: Int) -> Bool {
        let wanted = bytes - message.roomLeft
        let came = message.request.body.readableBytes
        if message.isRefused || message.dropsBody || wanted <= 0 { return true }
        if message.claim == nil, came + bytes <= Flight.free { return true }
        let claim = message.claim ?? loop.flight.claim()
        // What came before there was a claim is counted with what comes now.
        let uncounted = message.claim == nil ? came : 0
        message.claim = claim
        let rest = max(0, (message.head.length ?? 0) - came - bytes)
        if note(claim.take(uncounted + wanted, rest: rest, at: loop.eventLoop.now, later: roomTeller)) { return true }
        message.roomLeft = bytes
        return false
    }

    private func note(_ isGranted: Bool) -> Bool {
        if !isGranted {
            state.waitsForRoom()
            loop.noteWaiting()
        }
        return isGranted
    }

    /// Tells the connection what came of its wait for room. It does so on the loop and not at once, because the caller has to know first
    /// that there is no room yet.
    private var roomTeller: @Sendable (Bool) -> Void {
        let connection = NIOLoopBound(self, eventLoop: loop.eventLoop)
        return { isGranted in connection.eventLoop.execute { connection.value.noteBodyRoom(isGranted) } }
    }

    private func noteBodyRoom(_ isGranted: Bool) {
        guard var message, state.roomCame(at: loop.eventLoop.now) else { return }
        burst {
            if isGranted {
                askForBody(&message)
                keep(message)
            } else {
                self.message = nil
                fail(message, .noRoom)
            }
        }
    }

    /// Refuses a request before its body is read. A short body is passed over then. The connection ends if the body is long, or may never
    /// come because the client waits to be asked for it.
    private func refuse(_ message: inout IncomingMessage, _ problem: Problem, _ operation: Operation) {
        let head = message.head
        let closes =
            !message.body.hasEnded && (head.expectsContinue || (head.length ?? 0) > Self.passedOverBytes)
        message.isRefused = true
        message.bodyRoom = Self.passedOverBytes
        answerNow(Response(problem: problem, operation: operation), head, by: message.caller, closes: closes)
        if !message.body.hasEnded { message.dropFields() }
    }

    /// Reads what is there of the present message's body. Returns whether anything was taken.
    func takeBody(_ bytes: inout ByteBuffer) -> Bool {
        guard let context, var message else { return false }
        self.message = nil
        let before = message.body
        switch bytes.withUnsafeReadableBytes({ message.body.next($0) }) {
        case .needsMore:
            self.message = message
            return false
        case .malformed:
            fail(message, RequestHead.unreadable)
        case .piece(let count, let bodyBytes, let ends):
            guard bodyBytes > message.bodyRoom || findRoom(&message, for: bodyBytes) else {
                // The piece is read again once there is room.
                message.body = before
                self.message = message
                return false
            }
            message.roomLeft = 0
            state.spend(Self.pieceSteps + count / Self.stepBytes)
            do {
                guard let slice = bytes.readSlice(length: count) else { return false }
                let piece = try decoder.piece(slice, context, bodyBytes: bodyBytes, ends: ends)
                take(piece, of: count, ends: ends, &message)
            } catch {
                fail(message, RequestHead.problem(error))
            }
        }
        return true
    }

    /// - Parameter count: bytes that it has taken of the connection.
    private func take(_ piece: ByteBuffer?, of count: Int, ends: Bool, _ message: inout IncomingMessage) {
        message.bodyRoom -= piece?.readableBytes ?? 0
        if message.bodyRoom < 0 {
            let most = message.dropsBody ? Self.passedOverBytes : loop.limits.bodySize
            return fail(message, RequestHead.bodyTooLarge(most))
        }
        if let piece, !message.isRefused, !message.dropsBody {
            // The piece is copied, because it lies in a buffer that others read into.
            if message.request.body.readableBytes == 0 {
                let expected = max(piece.readableBytes, message.head.length ?? 0)
                message.request.body.reserveCapacity(min(expected, Self.reservedBytes))
            }
            message.request.body.writeImmutableBuffer(piece)
        }
        if ends { end(message) } else { keep(message, moved: count) }
    }

    /// Keeps the message, of which more is to come.
    ///
    /// - Parameter count: bytes of its body that have been taken now.
    private func keep(_ message: IncomingMessage, moved count: Int = 0) {
        self.message = message
        state.bodyMoved(count, isRefused: message.isRefused)
    }

    /// Answers the message, which is whole, unless it has been answered.
    private func end(_ message: IncomingMessage) {
        guard let context else { return }
        state.tookBody()
        decoder.finish(isUpgrade: message.head.isUpgrade, context)
        if message.isRefused { return }
        do throws(Problem) {
            try checkCaller(of: message)
        } catch {
            noteRefusal(error, message.head.method, message.head.target, by: message.caller)
            let operation = message.call?.operation ?? .other
            return answerNow(
                Response(problem: error, operation: operation),
                message.head,
                by: message.caller,
                closes: false
            )
        }
        // Making the answer may take its time. Answers that are gathered already are sent before it, so that they need not wait.
        socket?.sendGathered()
        let exchange = beginAlone(message)
        loop.router.respond(to: message.request, as: message.call, on: exchange)
    }

    /// Ends the connection with a message whose rest makes no sense or is too long, so that nothing after it can be read.
    private func fail(_ message: IncomingMessage, _ problem: Problem) {
        if message.isRefused { return endAnswers() }
        answerNow(Response(problem: problem, operation: .other), message.head, closes: true)
    }

    /// Answers with a problem where there is no request that could be read, and ends the connection.
    ///
    /// - Parameter requestID: that of the request, where its fields could be read.
    func refuse(_ problem: Problem, _ requestID: RequestID = .none) {
        answerNow(Response(problem: problem, operation: .other), nil, requestID, closes: true)
    }

    /// Answers at once. No exchange may be under way.
    ///
    /// - Parameter requestID: that of the request, where the head is not there.
    private func answerNow(
        _ response: Response,
        _ head: RequestHead?,
        _ requestID: RequestID = .none,
        by caller: Caller? = nil,
        closes: Bool
    ) {
        let connection = state.closing(
            closes: closes || head?.isKeptAlive == false,
            isHTTP10: head?.isHTTP10 == true
        )
        let frame = AnswerFrame(
            isHead: head?.method == .head,
            connection: connection,
            date: loop.date(at: state.burstBegan),
            requestID: head?.requestID ?? requestID
        )
        let start = output.writerIndex
        response.write(frame, to: &output)
        if isLogged { loggedAnswer = LoggedAnswer(output, from: start) }
        let logged = isLogged ? head.map { LoggedRequest($0, by: caller) } : nil
        record(response.operation, .full, logged, response.status, since: state.burstBegan)
        if connection == .close { endAnswers() }
    }
}
