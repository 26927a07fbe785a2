internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets
import PantlerStore

/// One connection, from its first byte to its end: the only handler that bytes come through. On its event loop.
///
/// Whatever one wake-up of the loop brings is a *burst*: its requests are taken one after the other (`consume`), their answers
/// gather in one buffer, and that is written once (`Connection+Bursts`). A plain GET or PUT is recognised and answered in the bytes
/// (`Connection+FastLane`); everything else goes through SwiftNIO's decoder (`Connection+Messages`), begins only when nothing is
/// pending, and has the connection to itself until it is answered. Plain GETs go beside plain GETs, and plain PUTs beside PUTs that are
/// made and wait to be durable; neither begins while one of the other kind is pending. So no request overtakes a write. What is answered
/// later and what comes of it is in `Connection+Answers`, the ends that a connection can come to in `Connection+Endings`.
final class Connection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        case open
        /// The last answer is given. What still comes is thrown away, so that the client gets to read it: closing at once would
        /// reset the connection under bytes that nobody has read, and take the answer with it (RFC 9112, section 9.6).
        case lingering
        case closed
    }

    let loop: LoopState
    let decoder: MessageDecoder
    /// `nil` before and after the connection's life in a pipeline.
    var context: ChannelHandlerContext?
    /// The socket, where no other handler stands between: bytes then come from it and go to it past the pipeline.
    var socket: StreamSocket?
    var phase = Phase.open
    /// Whether it is among the loops' open connections.
    private var isCounted = false

    // MARK: What comes

    /// Bytes that could not be dealt with yet: a part of a request, or requests that have to wait.
    var input = ByteBuffer()
    /// Bytes of `input` that hold no end of a head.
    var searchedBytes = 0
    /// Whether the request at the front of the input is none for the fast lane.
    var isSlowHead = false
    /// The message whose body is being read.
    var message: IncomingMessage?
    /// Whether what stands at the front of the input waits for room among the bytes in flight.
    var isWaitingForRoom = false
    /// What came of that for a plain request.
    var room = Room.unasked
    /// What is held here in small, where that is much all the same, and its count.
    private var smallClaim: (claim: FlightClaim, bytes: Int)?
    /// Whether the other side has said that it sends no more.
    var isInputClosed = false
    /// A read that waits until there is room for more.
    var wantsRead = false

    // MARK: What goes

    var pending = PendingAnswers()
    /// The request of the slow lane that has the connection to itself.
    var exclusive: Exclusive?
    /// Plain gets that are under way: reads of the lower tier.
    var loads = 0
    /// Plain puts that are under way.
    var puts = 0
    /// The one of them that is not made yet: nothing begins before it is.
    var unmadePut: UInt64?
    /// Answers of this burst.
    var output = ByteBuffer()
    /// Whether the socket takes more.
    var isWritable = true
    /// Whether the last answer was handed to the socket.
    var hasWrittenLast = false

    // MARK: The burst

    /// What the present burst may still do before others of the loop have their turn, in steps of about a microsecond.
    var steps = 0
    /// Whether the burst has used them up: it goes on after what else the loop has to do.
    var isYielding = false
    var isInBurst = false
    /// Whether room among the bytes in flight is short.
    var isShort = false
    /// Whether the socket took more again meanwhile: requests may wait for that.
    var goesOnAfterBurst = false
    var needsFlush = false
    /// Whether something was sent before the burst's end.
    var hasFlushed = false
    var moment = Moment(now: Timestamp(milliseconds: 0), access: 0)
    var burstBegan = NIODeadline.uptimeNanoseconds(0)
    var fastAnswers = FastAnswers()
    /// Whether requests are logged.
    var isLogged: Bool { loop.isLogged }

    // MARK: Time

    /// The end of the last burst that answered something.
    var lastAnswered = NIODeadline.uptimeNanoseconds(0)
    /// When the first byte of the head came that is not whole yet.
    var headBegan: NIODeadline?
    /// When the last byte of the present body came.
    var bodyMoved = NIODeadline.uptimeNanoseconds(0)
    /// Since when the other side has taken nothing, and how many bytes it had not taken then.
    var stalled = (since: NIODeadline.uptimeNanoseconds(0), bytes: 0)
    var lingerBegan = NIODeadline.uptimeNanoseconds(0)
    var timer: (task: Scheduled<Void>, due: NIODeadline)?

    /// The room that the answer to a plain request may have to wait for.
    enum Room {
        case unasked
        case asked(FlightClaim)
        case granted(FlightClaim)
        case refused
    }

    /// Bytes of answers that are gathered, or wait behind others, before no more requests are read.
    static let gatheredBytes = 64 << 10
    /// The same while room among the bytes in flight is short.
    private static let scantGatheredBytes = 4 << 10
    /// Bytes that a connection holds without their being counted.
    static let uncountedBytes = 4 << 10
    /// Steps of a burst. Fewer would not shorten the wait of others by much, and more cost nobody but them.
    static let burstSteps = 1024
    /// Steps of a request that goes through SwiftNIO's decoder, and of a plain write.
    static let slowRequestSteps = 16
    static let putSteps = 4
    /// Steps of a piece of a body: a line of a chunk's size, its bytes, or its end, each of which goes through the decoder.
    static let pieceSteps = 4
    /// Bytes of a body that are a step.
    static let stepBytes = 4 << 10
    /// Reads of the lower tier at a time: each can bring a large value.
    static let parallelLoads = 32

    init(_ loop: LoopState, parts: DecodedParts) {
        self.loop = loop
        decoder = MessageDecoder(headLimit: loop.limits.headSize, parts: parts)
    }

    // MARK: The life of a connection

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func channelActive(context: ChannelHandlerContext) {
        loop.add(self)
        lastAnswered = loop.eventLoop.now
        isCounted = true
        if loop.openConnections.open() > loop.limits.connections { return refuseConnection() }
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
        phase = .closed
        loop.remove(self)
        if isCounted { loop.openConnections.close() }
        isCounted = false
        timer?.task.cancel()
        timer = nil
        pending.removeAll()
        input = ByteBuffer()
        output = ByteBuffer()
        dropMessage()
        room = .unasked
        smallClaim = nil
    }

    /// The message that is being read has no end.
    func dropMessage() {
        guard let message else { return }
        self.message = nil
        loop.router.dispose(of: message.request.body)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        socket = nil
        decoder.invalidate(context)
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What the socket says here is that the other side is gone, which is no matter of ours.
        close()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        isInputClosed = true
        if !isInBurst { settle() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if !isWritable {
            stalled = (loop.eventLoop.now, bufferedBytes)
        } else if isInBurst {
            goesOnAfterBurst = true
        } else {
            burst {}
        }
    }

    /// Holds the next read back while there is enough to do.
    func read(context: ChannelHandlerContext) {
        if isReadingPaused { wantsRead = true } else { context.read() }
    }

    var isReadingPaused: Bool {
        if phase != .open { return false }
        if isWaitingForRoom { return true }
        if isYielding, input.readableBytes > 0 { return true }
        guard !pending.isEmpty || !isWritable else { return false }
        return input.readableBytes > 0 || loop.flight.isShort
    }

    /// What a burst leaves: an end, if there is nothing to wait for, or a deadline, and a read.
    func settle() {
        guard phase != .closed, context != nil else { return }
        endIfDone()
        if phase == .open { markHead() }
        countSmall()
        armTimer()
        if wantsRead, !isReadingPaused {
            wantsRead = false
            context?.read()
        }
    }

    /// Notes when a head began that is not whole yet.
    private func markHead() {
        let isPartial =
            input.readableBytes > 0 && message == nil && pending.isEmpty && isWritable && !isWaitingForRoom
            && !isYielding
        if !isPartial { headBegan = nil } else if headBegan == nil { headBegan = burstBegan }
    }

    /// Counts among the bytes in flight what is held here between bursts: requests that wait, answers behind others, and what of small
    /// answers the socket has not taken. Mostly there is none.
    private func countSmall() {
        let unsent = isWritable ? 0 : min(bufferedBytes, 2 * Self.gatheredBytes)
        let bytes = input.readableBytes + pending.heldBytes + unsent
        guard bytes > Self.uncountedBytes, phase != .closed else {
            if smallClaim != nil { smallClaim = nil }
            return
        }
        if let smallClaim, bytes <= smallClaim.bytes, bytes > smallClaim.bytes / 2 { return }
        let claim = loop.flight.claim()
        claim.force(bytes)
        smallClaim = (claim, bytes)
    }

    // MARK: Requests

    /// Whether no further request may be taken.
    var isBlocked: Bool {
        isYielding || exclusive != nil || unmadePut != nil || !isWritable || isWaitingForRoom
            || loads >= (isShort ? 1 : Self.parallelLoads)
            || pending.count >= loop.limits.pipelinedRequests
            || pending.heldBytes + pending.valueBytes >= gatherLimit
    }

    var gatherLimit: Int { isShort ? Self.scantGatheredBytes : Self.gatheredBytes }

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

    /// Takes requests from the front of `bytes` until these are used up, hold no whole one, or have to wait.
    ///
    /// - Parameter isPlain: whether only bodies and plain requests are, of which nothing is kept that is not copied.
    func consume(_ bytes: inout ByteBuffer, isPlain: Bool = false) {
        while phase == .open, bytes.readableBytes > 0, !isBlocked {
            let hasTaken =
                if message != nil { takeBody(&bytes) } else if isPlain { takePlain(&bytes) } else {
                    takeRequest(&bytes)
                }
            guard hasTaken else { break }
            headBegan = nil
            if steps <= 0 { yieldTurn() }
            if output.readableBytes >= gatherLimit { sendOutput() }
        }
        if phase != .open { bytes.clear() }
    }

    /// Takes the next request, or what is there of it. Returns whether anything was taken.
    private func takeRequest(_ bytes: inout ByteBuffer) -> Bool {
        if takePlain(&bytes) { return true }
        guard isSlowHead, pending.isEmpty else { return false }
        steps -= Self.slowRequestSteps
        return takeHead(&bytes)
    }

    /// Takes the next request if it is a plain one. Returns whether it was.
    private func takePlain(_ bytes: inout ByteBuffer) -> Bool {
        // RFC 9112, section 2.2: empty lines before a request are passed over.
        if searchedBytes == 0 {
            let empty = bytes.withUnsafeReadableBytes { bytes in
                bytes.firstIndex { $0 != UInt8(ascii: "\r") && $0 != UInt8(ascii: "\n") } ?? bytes.count
            }
            bytes.moveReaderIndex(forwardBy: empty)
            if bytes.readableBytes == 0 { return false }
        }
        if loop.isDraining { isSlowHead = true }
        if isSlowHead { return false }
        switch answerPlain(&bytes) {
        case .took: return true
        case .incomplete, .waits: return false
        case .other:
            isSlowHead = true
            return false
        }
    }
}
