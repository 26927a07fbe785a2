internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets
import PantlerStore

/// Where a connection comes in.
struct Entrance: Sendable {
    /// The number of its listener's `Door`.
    let door: Int
    let peer: PeerAddress
}

/// One connection, from its first byte to its end, and the handler that all its bytes pass through. It is used on its event loop alone.
///
/// What one wake-up of the loop brings is a *burst*: its requests are taken one after the other (`consume`), their answers gather in one
/// buffer, and that is written once (`Connection+Bursts`). A plain GET or PUT is recognised and answered in the bytes
/// (`Connection+FastLane`); everything else goes through SwiftNIO's decoder (`Connection+Messages`). `Connection+Answers` has the answers
/// that come later, and `Connection+Endings` the ways in which a connection ends.
///
/// `state` decides what may begin, what has to wait for what, whose turn it is and when time is up. It knows nothing of sockets and stores;
/// this class carries out what it decides.
final class Connection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let loop: LoopState
    private let entrance: Entrance
    /// Whether its listener asked for tokens when it came in.
    private let isGuarded: Bool
    let decoder: MessageDecoder
    /// `nil` before and after the connection's life in a pipeline.
    var context: ChannelHandlerContext?
    /// The socket, where no other handler stands between the two. Bytes then come from it and go to it without passing through the
    /// pipeline.
    var socket: StreamSocket?
    /// What stands in the socket's place where the connection speaks TLS.
    var secured: TLSStream?
    /// The connection's state, which says what is to be done.
    var state = ConnectionState()

    // MARK: What comes

    /// Bytes that could not be dealt with yet: a part of a request, or requests that have to wait.
    var input = ByteBuffer()
    /// The message whose body is being read.
    var message: IncomingMessage?
    /// The room that a plain request waits for, or what came of its wait.
    var room = Room.unasked
    /// The claim that counts the small things that are held here, where they are many; see `countSmall`.
    private var smallClaim: (claim: FlightClaim, bytes: Int)?
    /// Counts the head that is not whole yet, where it is not small. Only there beside a `smallClaim`.
    private var headHold: HeadHold?

    // MARK: The burst

    /// Answers of this burst.
    var output = ByteBuffer()
    var moment = Moment(now: Timestamp(milliseconds: 0), access: 0)
    var fastAnswers = FastAnswers()
    /// Whether requests are logged.
    var isLogged: Bool { loop.isLogged }
    /// The answer that was written last, for the log. Of no use where requests are not logged.
    var loggedAnswer = LoggedAnswer()
    /// The request that is alone, for the log, and when it began; `nil` without one, or where requests are not logged.
    var loggedAlone: (request: LoggedRequest, began: NIODeadline)?

    /// Plain requests for leases that are answered later.
    var leases: [LateLease] = []

    // MARK: Who calls

    /// The token that was presented last.
    var knownToken: KnownToken?
    /// What the certificate allows that the client has shown, to requests without Authorization; `nil` without one.
    var certificatePass: Grant?
    /// Whether the request at the front has been counted among its token's, and could not begin yet.
    var isRequestCounted = false

    // MARK: The exchange that is alone

    /// Goes on with an answer in pieces. It is called once the socket takes more.
    var nextPiece: (@Sendable () -> Void)?
    /// Called if nobody waits for the answer any more.
    var onCancel: (@Sendable (Cancellation) -> Void)?

    /// The timer, which goes off at the deadline or before.
    var timer: (task: Scheduled<Void>, due: NIODeadline)?

    /// The room that the answer to a plain request may have to wait for.
    enum Room {
        case unasked
        case asked(FlightClaim)
        case granted(FlightClaim)
        case refused
    }

    /// Bytes that a connection may hold without their being counted.
    static let uncountedBytes = 4 << 10
    /// Steps of a request that goes through SwiftNIO's decoder, and of a plain write.
    static let slowRequestSteps = 16
    static let putSteps = 4
    /// Steps of a piece of a body: a line of a chunk's size, its bytes, or its end, each of which goes through the decoder.
    static let pieceSteps = 4
    /// Bytes of a body that count as one step.
    static let stepBytes = 4 << 10

    init(_ loop: LoopState, _ entrance: Entrance, parts: DecodedParts) {
        self.loop = loop
        self.entrance = entrance
        isGuarded = loop.doors[entrance.door].needsToken
        decoder = MessageDecoder(headLimit: loop.limits.headSize, parts: parts)
    }

    /// What its listener asks of it.
    var door: Door { loop.doors[entrance.door] }
    var peer: PeerAddress { entrance.peer }

    /// Whether it has yet to show a token, or a certificate, that is good for something.
    private var isStranger: Bool { isGuarded && knownToken == nil && certificatePass == nil }
    /// Whether it may hold only little: room among the bytes in flight is short, or nobody knows who it is.
    var isShort: Bool { loop.flight.isShort || isStranger }

    // MARK: The life of a connection

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func channelActive(context: ChannelHandlerContext) {
        loop.add(self)
        state.opened(at: loop.eventLoop.now)
        if loop.openConnections.open() > loop.openConnections.limit { return refuseConnection() }
        if loop.isDraining { return close() }
        armTimer()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        received(&bytes)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        endBurst()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let alone = loggedAlone.take() { logLeft(alone.request, since: alone.began) }
        cancel(state.gone())
        endLeases(.clientLeft)
        endPieces()
        if loop.remove(self) { loop.openConnections.close() }
        timer?.task.cancel()
        timer = nil
        input = ByteBuffer()
        output = ByteBuffer()
        dropMessage()
        room = .unasked
        smallClaim = nil
        headHold = nil
        knownToken = nil
    }

    /// Gives up the message that is being read: its end will not come.
    func dropMessage() {
        guard let message else { return }
        self.message = nil
        loop.router.dispose(of: message.request.body)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        socket = nil
        secured = nil
        decoder.invalidate(context)
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // An error of the socket says that the other side is gone, which is no fault of the server's.
        close()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: cancel(state.inputClosed())
        // What is read and waits for its turn is still answered, and what is not is read after that.
        case StreamEvent.endAhead: cancel(state.endAhead())
        default: return
        }
        endLeases(.clientLeft)
        if !state.isInBurst { settle() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = secured?.isWritable ?? context.channel.isWritable
        let now = loop.eventLoop.now
        if state.writabilityChanged(isWritable, taken: takenBytes, at: now) { burst {} }
        // The deadline may have been the end of a request, or none at all.
        if !isWritable, !state.isInBurst { armTimer() }
        askForPiece()
    }

    /// Holds the next read back while there is enough to do.
    func read(context: ChannelHandlerContext) {
        if state.mayRead(unread: input.readableBytes, isShort: isShort) { context.read() }
    }

    /// Does what is left to do after a burst: ends the connection if there is nothing to wait for, or sets its deadline, and reads on.
    func settle() {
        guard context != nil else { return }
        endIfDone()
        let reads = state.settled(unread: input.readableBytes, isShort: isShort)
        countSmall()
        armTimer()
        if reads { context?.read() }
    }

    /// Counts what is held here between bursts among the bytes in flight: requests that wait, answers behind others, and the part of small
    /// answers that the socket has not taken. Mostly there is nothing.
    private func countSmall() {
        let unsent = state.isWritable ? 0 : min(bufferedBytes, 2 * ConnectionState.gatheredBytes)
        let bytes = input.readableBytes + state.answers.heldBytes + unsent
        guard bytes > Self.uncountedBytes, state.life != .closed else {
            if smallClaim != nil {
                smallClaim = nil
                headHold = nil
            }
            return
        }
        guard countHead() else { return refuseHead() }
        if let smallClaim, bytes <= smallClaim.bytes, bytes > smallClaim.bytes / 2 { return }
        let claim = loop.flight.claim()
        claim.force(bytes)
        smallClaim = (claim, bytes)
    }

    /// Counts a head that is not whole among all such heads. Returns whether there is room for it.
    private func countHead() -> Bool {
        guard state.isOpen, state.hasPartialHead else {
            headHold = nil
            return true
        }
        let bytes = input.storageCapacity
        if let headHold, headHold.bytes == bytes { return true }
        headHold = nil
        headHold = loop.flight.holdHead(bytes)
        return headHold != nil
    }

    private func refuseHead() {
        loop.flight.noteRefusal()
        burst { refuse(.noRoom) }
    }

    // MARK: Requests

    func consumeInput() {
        guard input.readableBytes > 0 else { return }
        var bytes = ByteBuffer()
        swap(&bytes, &input)
        consume(&bytes)
        // An idle connection holds no buffer.
        if bytes.readableBytes > 0 {
            bytes.discardReadBytes()
            input = bytes
        }
    }

    /// Takes requests from the front of `bytes` until these are used up, or hold no whole request, or the next one has to wait.
    ///
    /// - Parameter isPlain: whether to take only bodies and plain requests, of which nothing is kept that is not copied.
    func consume(_ bytes: inout ByteBuffer, isPlain: Bool = false) {
        while state.isOpen, bytes.readableBytes > 0, !isBlocked {
            let hasTaken =
                if message != nil { takeBody(&bytes) } else if isPlain { takePlain(&bytes) } else {
                    takeRequest(&bytes)
                }
            guard hasTaken else { break }
            state.tookRequest()
            if state.yieldsTurn() { yieldTurn() }
            if output.readableBytes >= state.gatherLimit { sendOutput() }
        }
        if !state.isOpen { bytes.clear() }
    }

    /// Whether no further request may be taken.
    var isBlocked: Bool { state.isBlocked(limit: loop.limits.pipelinedRequests) }

    /// Takes the next request, or what is there of it. Returns whether anything was taken.
    private func takeRequest(_ bytes: inout ByteBuffer) -> Bool {
        if takePlain(&bytes) { return true }
        guard case .head(let searched) = state.front, state.answers.isEmpty else { return false }
        state.spend(Self.slowRequestSteps)
        return takeHead(&bytes, searched: searched)
    }

    /// Takes the next request if it is a plain one. Returns whether it was.
    private func takePlain(_ bytes: inout ByteBuffer) -> Bool {
        guard state.mayBePlain else { return false }
        // RFC 9112, section 2.2: empty lines before a request are passed over.
        let empty = bytes.withUnsafeReadableBytes { bytes in
            bytes.firstIndex { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n") } ?? bytes.count
        }
        bytes.moveReaderIndex(forwardBy: empty)
        if bytes.readableBytes == 0 { return false }
        if state.isDraining {
            state.foundHead()
            return false
        }
        switch answerPlain(&bytes) {
        case .took: return true
        case .incomplete, .waits: return false
        case .other:
            state.foundHead()
            return false
        }
    }
}
