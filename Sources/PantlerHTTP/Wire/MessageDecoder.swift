internal import NIOCore
internal import NIOHTTP1

/// SwiftNIO's request decoder, fed by hand with exactly the bytes of one message after the other.
///
/// The decoder takes whatever it is given, even bytes of the next request. So it is never given more than one message may have: a head ends
/// with its first empty line, and a body with the byte that its length or its last chunk determines. This side works out which byte that
/// is, and the decoder has to agree after every piece; where it does not, the connection ends. So no byte can belong to one request for
/// this side and to the next for the decoder.
///
/// It is used on its event loop alone, and ends with `invalidate`.
final class MessageDecoder {
    /// The decoder does not agree with this side, or what came is no HTTP.
    struct Fault: Error {}

    private let limits: NIOHTTPDecoderLimitConfiguration
    private var decoder: HTTPRequestDecoder?
    private let parts: DecodedParts

    /// - Parameters:
    ///   - headLimit: longest head, in bytes; the decoder is not asked to hold more than that.
    ///   - parts: the handler after the one whose context is used here.
    init(headLimit: Int, parts: DecodedParts) {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = headLimit
        limits.maxHeaderListSize = headLimit
        limits.maxHeaderFieldCount = LaneReader.fieldLimit
        self.limits = limits
        self.parts = parts
    }

    /// Ends the decoder, which would otherwise keep itself alive.
    func invalidate(_ context: ChannelHandlerContext) {
        decoder?.decoderRemoved(context: context)
        decoder = nil
    }

    /// Reads a whole head, up to and with its empty line.
    ///
    /// - Throws: `HTTPParserError`, or `Fault`.
    func head(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) throws -> HTTPRequestHead {
        try feed(bytes, context)
        // A request without a body has ended with its head, as `hasEnded` shows.
        guard let head = parts.takeHead(), parts.bodyBytes == 0 else { throw Fault() }
        return head
    }

    /// Reads a piece of the message after its head.
    ///
    /// - Parameters:
    ///   - bodyBytes: how many bytes of the body must come of it.
    ///   - ends: whether the message must end with it.
    /// - Returns: the bytes of the body.
    /// - Throws: `HTTPParserError`, or `Fault`.
    func piece(
        _ bytes: ByteBuffer,
        _ context: ChannelHandlerContext,
        bodyBytes: Int,
        ends: Bool
    ) throws -> ByteBuffer? {
        try feed(bytes, context)
        guard parts.bodyBytes == bodyBytes, parts.hasEnded == ends, parts.takeHead() == nil else { throw Fault() }
        return parts.takeBody()
    }

    /// Whether the message has ended, as far as the decoder sees.
    var hasEnded: Bool { parts.hasEnded }

    /// Gets ready for the next message.
    ///
    /// - Parameter isUpgrade: whether the message asked for another protocol. The decoder stops then, and a new one is made for the next
    ///   message.
    func finish(isUpgrade: Bool, _ context: ChannelHandlerContext) {
        parts.reset()
        if isUpgrade { invalidate(context) }
    }

    private func feed(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) throws {
        let decoder = decoder ?? make(context)
        var bytes = bytes
        _ = try decoder.decode(context: context, buffer: &bytes)
        if let error = parts.takeError() { throw error }
        guard bytes.readableBytes == 0 else { throw Fault() }
    }

    private func make(_ context: ChannelHandlerContext) -> HTTPRequestDecoder {
        let made = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
        made.decoderAdded(context: context)
        decoder = made
        return made
    }
}

/// Catches what the decoder produces. It stands after the connection's own handler in the pipeline, and nothing else comes here.
final class DecodedParts: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart

    private var head: HTTPRequestHead?
    private var body: ByteBuffer?
    private var error: (any Error)?
    private(set) var bodyBytes = 0
    private(set) var hasEnded = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(var piece):
            bodyBytes += piece.readableBytes
            if body == nil { body = piece } else { body?.writeBuffer(&piece) }
        case .end: hasEnded = true
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.error = error
    }

    func takeHead() -> HTTPRequestHead? {
        defer { head = nil }
        return head
    }

    func takeBody() -> ByteBuffer? {
        defer {
            body = nil
            bodyBytes = 0
        }
        return body
    }

    func takeError() -> (any Error)? {
        defer { error = nil }
        return error
    }

    func reset() {
        head = nil
        body = nil
        bodyBytes = 0
        hasEnded = false
    }
}
