internal import NIOCore
internal import NIOEmbedded
package import NIOSSL
internal import NIOTLS
internal import Synchronization

/// The client's side of TLS for a `RawConnection`: bytes in, bytes out, without a socket. Of one thread.
package final class TLSClient {
    private let channel = EmbeddedChannel()
    private let watcher = Watcher()

    /// Whether the handshake is over.
    package var isReady: Bool { watcher.isReady }
    /// Whether the server has said in TLS that it sends no more.
    package var hasEnded: Bool { watcher.hasEnded }
    package var negotiatedProtocol: String? { watcher.negotiatedProtocol }

    package init(_ context: NIOSSLContext) throws {
        try channel.pipeline.syncOperations.addHandlers(
            OutputEnd(),
            NIOSSLClientHandler(context: context, serverHostname: "localhost"),
            watcher
        )
        channel.allowRemoteHalfClosure = true
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
    }

    deinit {
        channel.close(promise: nil)
        // The library would wait that long for the server's word.
        channel.embeddedEventLoop.advanceTime(by: .seconds(60))
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }

    /// What a client has that trusts `authority`.
    ///
    /// - Parameter identity: that it shows.
    package static func context(
        trusting authority: CertificateAuthority,
        showing identity: CertificateAuthority.Identity? = nil,
        _ change: (inout TLSConfiguration) -> Void = { _ in }
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authority.certificate))
        configuration.applicationProtocols = ["http/1.1"]
        // EmbeddedChannel's address is as good as none.
        configuration.certificateVerification = .noHostnameVerification
        if let identity {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate).map {
                .certificate($0)
            }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
        }
        change(&configuration)
        return try NIOSSLContext(configuration: configuration)
    }

    /// Takes what came off the wire, and returns what was in it.
    package func receive(_ bytes: [UInt8]) throws -> [UInt8] {
        do {
            try channel.writeInbound(ByteBuffer(bytes: bytes))
        } catch NIOSSLError.uncleanShutdown {
            // What came before it counts.
        }
        var plain: [UInt8] = []
        while let piece = try channel.readInbound(as: ByteBuffer.self) { plain += piece.readableBytesView }
        return plain
    }

    /// What is to go onto the wire.
    package func outgoing() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try channel.readOutbound(as: ByteBuffer.self) { bytes += piece.readableBytesView }
        return bytes
    }

    package func encrypt(_ bytes: UnsafeRawBufferPointer) throws -> [UInt8] {
        try channel.writeOutbound(ByteBuffer(bytes: bytes))
        return try outgoing()
    }

    /// Says in TLS that no more comes. Returns what is to go onto the wire.
    package func finish() throws -> [UInt8] {
        channel.close(mode: .output, promise: nil)
        return try outgoing()
    }

    /// Ends the output in TLS alone: an embedded channel has no half that it could close.
    private final class OutputEnd: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            if mode == .output { promise?.succeed() } else { context.close(mode: mode, promise: promise) }
        }
    }

    private final class Watcher: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        var isReady = false
        var hasEnded = false
        var negotiatedProtocol: String?

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case TLSUserEvent.handshakeCompleted(let negotiated)? = event as? TLSUserEvent {
                isReady = true
                negotiatedProtocol = negotiated
            }
            if case ChannelEvent.inputClosed? = event as? ChannelEvent { hasEnded = true }
        }
    }
}

/// The ports of test servers that speak TLS: whoever connects to one by `RawConnection` speaks it too.
package enum TLSPorts {
    private static let contexts = Mutex<[UInt16: NIOSSLContext]>([:])

    package static func set(_ context: NIOSSLContext?, for port: UInt16) { contexts.withLock { $0[port] = context } }

    package static subscript(port: UInt16) -> NIOSSLContext? { contexts.withLock { $0[port] } }
}
