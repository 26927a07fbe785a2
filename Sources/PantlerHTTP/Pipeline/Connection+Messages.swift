internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
internal import PantlerSockets

/// A request of the slow lane on its way in: its head has been read and admitted.
struct IncomingMessage {
    var request: Request
    /// What its head asks for, once it is admitted.
    var call: Call?
    let head: RequestHead
    var body: BodyReader
    let began: NIODeadline
    /// Bytes that the body may still have.
    var bodyRoom: Int
    /// Whether it has been refused already, and the rest of it is only passed over.
    var isRefused = false
    /// What counts the body among the bytes in flight; `nil` for a small one.
    var claim: FlightClaim?
    /// Bytes of the body that there is room for, and that have not been taken yet.
    var roomLeft = 0
    /// Whether the client waits to be asked for the body.
    var awaitsContinue = false
}

// The slow lane: requests in full, as SwiftNIO's decoder reads them.
extension Connection {
    /// A refused request's body is passed over up to so many bytes, and the connection kept.
    private static let passedOverBytes = 64 << 10
    /// Bytes that are set aside for a body before they have come, at most. What lies fallow may be the process's all the same, where the
    /// kernel gives it large pages.
    private static let reservedBytes = 64 << 10

    /// Reads the head at the front of `bytes` once it is whole. Returns whether anything was taken.
    ///
    /// - Parameter searched: bytes that hold no end of it.
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

    /// Room for the beginning of a body that is known to be long. Returns whether there is; otherwise reading pauses until there is, or has been none for too long.
    private func findRoom(_ message: inout IncomingMessage) -> Bool {
        guard let length = message.head.length, length > Flight.free else { return true }
        let claim = loop.flight.claim()
        message.claim = claim
        let first = min(length, Flight.free)
        return note(claim.promise(first, rest: length - first, at: loop.eventLoop.now, later: roomTeller))
    }

    /// The same for `bytes` of a body that have come.
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

    /// Tells the connection on its loop, and later: whoever asks has to know first that there is no room yet.
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

    /// Answers before the body is read. A short body is passed over then; a long one, and one that may never come since the client
    /// waits to be asked for it, ends the connection.
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
                // It is read again once there is.
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
            // Copied: the piece lies in a buffer that others read into.
            if message.request.body.readableBytes == 0 {
                let expected = max(piece.readableBytes, message.head.length ?? 0)
                message.request.body.reserveCapacity(min(expected, Self.reservedBytes))
            }
            message.request.body.writeImmutableBuffer(piece)
        }
        if ends { end(message) } else { keep(message) }
    }

    /// More of the message's body is to come.
    private func keep(_ message: IncomingMessage) {
        self.message = message
        state.bodyMoved(isRefused: message.isRefused)
    }

    /// The message is whole: it is answered, unless it has been.
    private func end(_ message: IncomingMessage) {
        guard let context else { return }
        state.tookBody()
        decoder.finish(isUpgrade: message.head.isUpgrade, context)
        if message.isRefused { return }
        // It may take its time: those who have their answers need not wait for it.
        socket?.sendGathered()
        let exchange = beginAlone(message)
        loop.router.respond(to: message.request, as: message.call, on: exchange)
    }

    /// The rest of a message makes no sense, or is too much: nothing after it can be read.
    private func fail(_ message: IncomingMessage, _ problem: Problem) {
        if message.isRefused { return endAnswers() }
        answerNow(Response(problem: problem, operation: .other), message.head, closes: true)
    }

    /// Answers a request that has not become one.
    func refuse(_ problem: Problem) {
        answerNow(Response(problem: problem, operation: .other), nil, closes: true)
    }

    /// Answers at once. Nothing is pending.
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
        response.write(frame, to: &output)
        let target = isLogged ? String(decoding: head?.target ?? [], as: UTF8.self) : ""
        record(response.operation, head?.method ?? .other, .full, target, response.status, since: state.burstBegan)
        if connection == .close { endAnswers() }
    }
}
