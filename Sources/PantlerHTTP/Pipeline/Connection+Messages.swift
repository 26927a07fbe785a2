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
}

// The slow lane: requests in full, as SwiftNIO's decoder reads them.
extension Connection {
    /// A refused request's body is passed over up to so many bytes, and the connection kept.
    private static let passedOverBytes = 64 << 10
    /// Bytes that are set aside for a body before they have come, at most.
    private static let reservedBytes = 1 << 20

    /// Reads the head at the front of `bytes` once it is whole. Returns whether anything was taken.
    func takeHead(_ bytes: inout ByteBuffer) -> Bool {
        let limits = loop.limits
        let end = bytes.withUnsafeReadableBytes { MessageBoundary.endOfFields($0, from: max(0, searchedBytes - 2)) }
        guard let end, end <= limits.headSize else {
            searchedBytes = bytes.readableBytes
            guard end != nil || bytes.readableBytes > limits.headSize else { return false }
            refuse(RequestHead.tooLong(bytes.readableBytesView.prefix(limits.headSize), limits))
            return true
        }
        searchedBytes = 0
        isSlowHead = false
        guard let context, let head = bytes.readSlice(length: end) else { return false }
        do {
            let (readable, method) = RequestHead.readable(head)
            let decoded = try decoder.head(readable, context)
            begin(try RequestHead(decoded, method, loop.hosts, limits), bytes)
        } catch {
            refuse(RequestHead.problem(error))
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
            began: burstBegan,
            bodyRoom: 0
        )
        switch loop.router.admit(head.method, head.target, head.headers) {
        case .refused(let problem, let operation):
            refuse(&message, problem, operation)
        case .accepted(let call, let maxBody):
            message.call = call
            message.bodyRoom = min(maxBody, loop.limits.bodySize)
            if let length = head.length, length > message.bodyRoom {
                refuse(&message, RequestHead.bodyTooLarge(message.bodyRoom), .other)
            } else if head.expectsContinue, !body.hasEnded, following.readableBytes == 0 {
                output.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
            }
        }
        guard phase == .open else { return }
        if body.hasEnded { end(message) } else { self.message = message }
        bodyMoved = burstBegan
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
        switch bytes.withUnsafeReadableBytes({ message.body.next($0) }) {
        case .needsMore:
            self.message = message
            return false
        case .malformed:
            fail(message, RequestHead.unreadable)
        case .piece(let count, let bodyBytes, let ends):
            bodyMoved = burstBegan
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
        if ends { end(message) } else { self.message = message }
    }

    /// The message is whole: it is answered, unless it has been.
    private func end(_ message: IncomingMessage) {
        guard let context else { return }
        decoder.finish(isUpgrade: message.head.isUpgrade, context)
        if message.isRefused { return }
        // It may take its time: those who have their answers need not wait for it.
        socket?.sendGathered()
        let head = message.head
        let exchange = beginExclusive(
            head.method,
            target: isLogged ? String(decoding: head.target, as: UTF8.self) : "",
            began: message.began,
            closes: !head.isKeptAlive,
            saysKeepAlive: head.isHTTP10
        )
        loop.router.respond(to: message.request, as: message.call, on: exchange)
    }

    /// The rest of a message makes no sense, or is too much: nothing after it can be read.
    private func fail(_ message: IncomingMessage, _ problem: Problem) {
        if message.isRefused { return beginLingering() }
        answerNow(Response(problem: problem, operation: .other), message.head, closes: true)
    }

    /// Answers a request that has not become one.
    func refuse(_ problem: Problem) {
        answerNow(Response(problem: problem, operation: .other), nil, closes: true)
    }

    /// Answers at once. Nothing is pending.
    private func answerNow(_ response: Response, _ head: RequestHead?, closes: Bool) {
        let closes = closes || head?.isKeptAlive == false || loop.isDraining
        let connection: AnswerFrame.Connection = closes ? .close : head?.isHTTP10 == true ? .keepAlive : .unsaid
        let frame = AnswerFrame(
            isHead: head?.method == .head,
            connection: connection,
            date: loop.date(at: burstBegan)
        )
        response.write(frame, to: &output)
        let target = isLogged ? String(decoding: head?.target ?? [], as: UTF8.self) : ""
        record(response.operation, head?.method ?? .other, target, response.status, since: burstBegan)
        if closes { beginLingering() }
    }
}
