import NIOCore
import NIOEmbedded
import NIOHTTP1

@testable import PantlerHTTP

/// SwiftNIO's decoder as the slow lane uses it, without a connection. Of one thread.
final class DecoderBench {
    private let channel = EmbeddedChannel()
    private let parts = DecodedParts()
    private var decoder: MessageDecoder
    private let context: ChannelHandlerContext
    private let headLimit: Int

    init(headLimit: Int = 16 << 10) throws {
        self.headLimit = headLimit
        let keeper = ContextKeeper()
        try channel.pipeline.syncOperations.addHandlers([keeper, parts])
        guard let context = keeper.context else { throw ChannelError.inappropriateOperationForState }
        self.context = context
        decoder = MessageDecoder(headLimit: headLimit, parts: parts)
    }

    deinit { decoder.invalidate(context) }

    /// Whether the last head was a whole message.
    private(set) var hasEnded = false

    /// A head, as the slow lane judges it.
    func head(_ bytes: ArraySlice<UInt8>, _ hosts: ServedHosts, _ limits: HTTPLimits) throws -> RequestHead {
        do {
            let (readable, method) = RequestHead.readable(ByteBuffer(bytes: bytes))
            let head = try RequestHead(try decoder.head(readable, context), method, hosts, limits)
            hasEnded = decoder.hasEnded
            finish(head)
            return head
        } catch {
            renew()
            throw error
        }
    }

    /// Whether the decoder, given these bytes by themselves, has seen a head.
    func seesHead(_ bytes: ArraySlice<UInt8>) -> Bool {
        let alone = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)
        alone.decoderAdded(context: context)
        defer {
            alone.decoderRemoved(context: context)
            parts.reset()
            _ = parts.takeError()
        }
        var buffer = ByteBuffer(bytes: bytes)
        _ = try? alone.decode(context: context, buffer: &buffer)
        return parts.takeHead() != nil
    }

    /// A whole message, of which the front of `bytes` is one: its head, its body, and how many bytes it took.
    func message(
        _ bytes: [UInt8],
        _ hosts: ServedHosts = ServedHosts(["*"], address: "")
    ) throws -> (head: RequestHead, body: [UInt8], length: Int)? {
        guard var offset = bytes.withUnsafeBytes({ MessageBoundary.endOfFields($0) }) else { return nil }
        do {
            let (readable, method) = RequestHead.readable(ByteBuffer(bytes: bytes[..<offset]))
            let decoded = try decoder.head(readable, context)
            let head = try RequestHead(decoded, method, hosts, HTTPLimits())
            var reader = BodyReader(length: head.length, lineLimit: headLimit)
            guard reader.hasEnded == decoder.hasEnded else { throw MessageDecoder.Fault() }
            var body: [UInt8] = []
            while !reader.hasEnded {
                switch bytes[offset...].withUnsafeBytes({ reader.next($0) }) {
                case .needsMore:
                    renew()
                    return nil
                case .malformed: throw MessageDecoder.Fault()
                case .piece(let count, let bodyBytes, let ends):
                    let piece = try decoder.piece(
                        ByteBuffer(bytes: bytes[offset..<offset + count]),
                        context,
                        bodyBytes: bodyBytes,
                        ends: ends
                    )
                    if let piece { body += piece.readableBytesView }
                    offset += count
                }
            }
            finish(head)
            return (head, body, offset)
        } catch {
            renew()
            throw error
        }
    }

    /// After the last request of a connection the decoder takes no other.
    private func finish(_ head: RequestHead) {
        if decoder.hasEnded, head.isKeptAlive { decoder.finish(isUpgrade: head.isUpgrade, context) } else { renew() }
    }

    private func renew() {
        decoder.invalidate(context)
        parts.reset()
        _ = parts.takeError()
        decoder = MessageDecoder(headLimit: headLimit, parts: parts)
    }
}

private final class ContextKeeper: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private(set) var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }
}
