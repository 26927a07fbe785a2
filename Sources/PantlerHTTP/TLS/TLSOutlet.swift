internal import NIOCore
internal import PantlerSockets

/// Stands between the TLS library and the socket, so that small answers of several connections go out together as they do without TLS
/// (`Outbox`), and not one by one as each is flushed.
final class TLSOutlet: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    private let socket: StreamSocket

    init(_ socket: StreamSocket) { self.socket = socket }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if promise != nil { return context.write(data, promise: promise) }
        socket.send(unwrapOutboundIn(data))
    }

    func flush(context: ChannelHandlerContext) {
        if socket.waitingBytes > 0 { context.flush() }
    }
}
