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
    let head: RequestHead
    var body: BodyReader
    let began: NIODeadline
    /// Bytes that the body may still have.
    var bodyRoom: Int
    /// Whether the request has been refused already, and the rest of it is only passed over.
    var isRefused = false
    /// The claim that counts the body among the bytes in flight; `nil` for a small one.
    var claim: FlightClaim?
    /// Bytes of the body that there is room for, and that have not been taken yet.
    var roomLeft = 0
    /// Whether the client waits to be asked for the body.
    var awaitsContinue = false
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
        do {
            let (readable, method) = RequestHead.readable(head)
            let decoded = try decoder.head(readable, context)
            begin(try RequestHead(decoded, method, loop.hosts, limits), bytes)
        } catch {
            refuse(RequestHead.problem(error, head: head))
        }
        return true
    }

    /// Admits a request, or refuses it.
    private func begin(_ head: RequestHead, _ following: ByteBuffer) {
        let body = BodyReader(length: head.length, lineLimit: loop.limits.headSize)
        guard body.hasEnded == decoder.hasEnded else { return refuse(RequestHead.unreadable) }
        var message = IncomingMessage(
            request: Request(method: head.method, target: head.target, headers: head.headers),
            head: head,
            body: body,
            began: state.burstBegan,
            bodyRoom: 0
        )
        switch loop.router.admit(head.method, head.target, head.headers) {
        case .refused(let problem, let operation):
            refuse(&message, problem, operation)
        case .accepted(let call, let maxBody):
            message.call = call
            message.bodyRoom = min(maxBody, loop.limits.bodySize, loop.limits.bytesInFlight)
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

    private func askForBody(_ message: inout IncomingMessage) {
        if message.awaitsContinue { output.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n") }
        message.awaitsContinue = false
    }

    // MARK: Room for bodies

    /// Asks for room for the beginning of a body that is known to be long. Returns whether there is room. Otherwise reading pauses until
    /// there is, or until there was none for too long.
    private func findRoom(_ message: inout IncomingMessage) -> Bool {
        guard let length = message.head.length, length > Flight.free else { return true }
        let claim = loop.flight.claim()
        message.claim = claim
        let first = min(length, Flight.free)
        return note(claim.promise(first, rest: length - first, at: loop.eventLoop.now, later: roomTeller))
    }

    /// Asks for room for `bytes` of a body that have come. Returns whether there is room. Otherwise reading pauses in the same way.
    private func findRoom(_ message: inout IncomingMessage, for bytes: Int) -> Bool {
        let wanted = bytes - message.roomLeft
        let came = message.request.body.readableBytes
        if message.isRefused || wanted <= 0 { return true }
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
        guard var message, state.roomCame() else { return }
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
        answerNow(Response(problem: problem, operation: operation), head, closes: closes)
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
                take(piece, ends: ends, &message)
            } catch {
                fail(message, RequestHead.problem(error))
            }
        }
        return true
    }

    private func take(_ piece: ByteBuffer?, ends: Bool, _ message: inout IncomingMessage) {
        message.bodyRoom -= piece?.readableBytes ?? 0
        if message.bodyRoom < 0 { return fail(message, RequestHead.bodyTooLarge(loop.limits.bodySize)) }
        if let piece, !message.isRefused {
            // The piece is copied, because it lies in a buffer that others read into.
            if message.request.body.readableBytes == 0 {
                let expected = max(piece.readableBytes, message.head.length ?? 0)
                message.request.body.reserveCapacity(min(expected, Self.reservedBytes))
            }
            message.request.body.writeImmutableBuffer(piece)
        }
        if ends { end(message) } else { keep(message) }
    }

    /// Keeps the message, of which more is to come.
    private func keep(_ message: IncomingMessage) {
        self.message = message
        state.bodyMoved(isRefused: message.isRefused)
    }

    /// Answers the message, which is whole, unless it has been answered.
    private func end(_ message: IncomingMessage) {
        guard let context else { return }
        state.tookBody()
        decoder.finish(isUpgrade: message.head.isUpgrade, context)
        if message.isRefused { return }
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
    func refuse(_ problem: Problem) {
        answerNow(Response(problem: problem, operation: .other), nil, closes: true)
    }

    /// Answers at once. No exchange may be under way.
    private func answerNow(_ response: Response, _ head: RequestHead?, closes: Bool) {
        let connection = state.closing(
            closes: closes || head?.isKeptAlive == false,
            isHTTP10: head?.isHTTP10 == true
        )
        let frame = AnswerFrame(
            isHead: head?.method == .head,
            connection: connection,
            date: loop.date(at: state.burstBegan)
        )
        let start = output.writerIndex
        response.write(frame, to: &output)
        if isLogged { loggedAnswer = LoggedAnswer(output, from: start) }
        let logged = isLogged ? head.map { LoggedRequest($0) } : nil
        record(response.operation, .full, logged, response.status, since: state.burstBegan)
        if connection == .close { endAnswers() }
    }
}
