import Glibc
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import NIOTLS
import PantlerInsight
import PantlerModel
internal import PantlerSockets

/// Speaks TLS for one connection: stands between its socket and its `Connection`. Used on the loop.
///
/// On the way in it is the socket's reader. During the handshake it keeps what comes until it has a place and a turn (`HandshakeState`); only
/// then is the library's handler made, and given the bytes through the pipeline, as everything after them. On the way out it is the handler
/// above the library's, which encrypts all that it is given at once: a large answer goes to it in pieces, as the socket takes them
/// (`TLSStream+Output`).
final class TLSStream: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let loop: LoopState
    let socket: StreamSocket
    private let material: TLSMaterial
    /// Whose handshakes are counted with this one.
    private let network: PeerAddress
    private var handshakes: Handshakes { loop.router.handshakes }
    /// The connection above, as long as both are in a pipeline.
    var connection: Connection?
    var context: ChannelHandlerContext?
    private var library: NIOSSLServerHandler?

    private(set) var handshake: HandshakeState
    /// What came during the handshake and waits.
    private var held = ByteBuffer()
    /// The number by which a place is waited for.
    private var waiter: UInt64?
    private var timer: (task: Scheduled<Void>, due: NIODeadline)?

    // MARK: Output (`TLSStream+Output`)

    var queue = CircularBuffer<OutputPiece>()
    /// Bytes that wait in `queue`.
    var queuedBytes = 0
    var isSending = false
    /// What the connection was told last.
    var wasWritable = true

    /// The most bytes that are read at a time. The library's buffers grow with what they are given, and stay as large as they were: with
    /// so much each connection keeps the 64 KiB that it begins with.
    private static let readBytes = 16 << 10

    init(_ loop: LoopState, _ socket: StreamSocket, _ material: TLSMaterial, _ peer: PeerAddress) {
        self.loop = loop
        self.socket = socket
        self.material = material
        network = peer.network
        handshake = HandshakeState(deadline: loop.eventLoop.now + TimeAmount(loop.limits.handshakeTimeout))
    }

    // MARK: The life of a connection

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        connection = nil
        library = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        armTimer()
    }

    func channelInactive(context: ChannelHandlerContext) {
        endHandshake(.failed, "the client left")
        dropOutput()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // That a side ends without saying so in TLS is told by the end itself: the requests that came are whole or not by their own lengths.
        if let error = error as? NIOSSLError, error == .uncleanShutdown { return }
        // The library closes the connection itself.
        if error is NIOSSLError || error is BoringSSLError {
            if handshake.isDone { return logFault("A TLS connection has failed", Self.reason(error)) }
            return endHandshake(.failed, Self.reason(error))
        }
        context.fireErrorCaught(error)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted: complete()
        case is TLSUserEvent: break
        case ChannelEvent.inputClosed where !handshake.isDone: end(.failed, "the client left")
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .all else { return closeOutput(promise) }
        // The other side is told, and not waited for: as without TLS, all that has to be waited for has been by now.
        if handshake.isDone { context.close(mode: .output, promise: nil) }
        endHandshake(.failed, "the server has ended the connection")
        closeSocket()
        promise?.succeed()
    }

    private func closeSocket() { socket.close0(error: ChannelError.eof, mode: .all, promise: nil) }

    // MARK: The handshake

    /// Takes bytes of the handshake.
    private func receiveHandshake(_ bytes: inout ByteBuffer) {
        if case .dismissed = handshake.phase { return }
        held.writeBuffer(&bytes)
        guard handshake.phase == .hello else {
            if handshake.came() { loop.handshakeTurns.add(self) }
            return
        }
        switch handshake.cameHello(held.withUnsafeReadableBytes(ClientHello.judge), at: loop.eventLoop.now) {
        case .waits: break
        case .asks: askForPlace()
        case .dismisses(let why): dismiss(why)
        }
    }

    private func askForPlace() {
        let stream = NIOLoopBound(self, eventLoop: loop.eventLoop)
        switch handshakes.begin(network, { stream.eventLoop.execute { stream.value.takePlace() } }) {
        case .begins: takePlace()
        case .waits(let number): waiter = number
        case .refused: end(.refused, "too many handshakes wait already (limits.handshakes)")
        }
    }

    private func takePlace() {
        waiter = nil
        if handshake.placeCame() { loop.handshakeTurns.add(self) } else { handshakes.giveBack(network) }
    }

    private func complete() {
        guard handshake.completed() else { return }
        handshakes.giveBack(network)
        timer?.task.cancel()
        timer = nil
        if material.asksForCertificates, let certificate = library?.peerCertificate {
            // It was verified when the session began, which may be days ago where this one resumes it.
            let now = time(nil)
            guard certificate.notValidAfter >= now, certificate.notValidBefore <= now else {
                handshakes.count(.failed)
                logFault("A TLS handshake has failed", "the client's certificate has expired")
                return closeSocket()
            }
            connection?.certificatePass = material.clientGrant
        }
        handshakes.count(.done)
        sendQueued()
    }

    private func dismiss(_ why: HandshakeState.Dismissal) {
        handshakes.count(.failed)
        held = ByteBuffer()
        switch why {
        case .foreign:
            logFault("A connection to a TLS port was ended", "what came is no TLS")
            _ = handshake.end()
            return closeSocket()
        case .plainHTTP:
            logFault("A connection to a TLS port was ended", "what came is HTTP without TLS")
            socket.send(plainAnswer())
        case .otherProtocol:
            logFault(
                "A TLS handshake has failed",
                "the client speaks other protocols than \(TLSMaterial.applicationProtocol)"
            )
            socket.send(ByteBuffer(bytes: Self.noApplicationProtocol))
        }
        socket.close0(error: ChannelError.eof, mode: .output, promise: nil)
        armTimer()
    }

    /// A fatal alert, `no_application_protocol` (RFC 7301, section 3.2; RFC 8446, section 6), as a record that any version of TLS takes.
    private static let noApplicationProtocol: [UInt8] = [21, 3, 3, 0, 2, 2, 120]

    private func plainAnswer() -> ByteBuffer {
        var answer = ByteBuffer()
        let problem = Problem(.badRequest, "This port speaks TLS: the URL begins with https://.")
        let frame = AnswerFrame(connection: .close, date: loop.date(at: loop.eventLoop.now))
        Response(problem: problem, operation: .other).write(frame, to: &answer)
        return answer
    }

    /// Ends the handshake without success, and the connection with it.
    private func end(_ outcome: Handshakes.Outcome, _ why: String) {
        endHandshake(outcome, why)
        closeSocket()
    }

    /// Ends the handshake without success, unless it is over.
    private func endHandshake(_ outcome: Handshakes.Outcome, _ why: @autoclosure () -> String) {
        let isUntouched = handshake.phase == .hello && held.readableBytes == 0
        let ending = handshake.end()
        timer?.task.cancel()
        timer = nil
        held = ByteBuffer()
        guard case .failed(let hadPlace, let wasQueued) = ending else { return }
        if hadPlace { handshakes.giveBack(network) }
        if wasQueued, let waiter { _ = handshakes.leave(waiter, network) }
        // Whoever only looks whether the port is open begins no handshake.
        if isUntouched, outcome == .failed { return }
        handshakes.count(outcome)
        logFault("A TLS handshake has failed", why())
    }

    /// The library's word for an error, without its numbers and places in the source.
    private static func reason(_ error: any Error) -> String {
        let text = "\(error)"
        guard let start = text.firstRange(of: "OPENSSL_internal:")?.upperBound else { return text }
        return text[start...].prefix { $0 != " " }.lowercased().replacing("_", with: " ")
    }

    private func logFault(_ message: Logger.Message, _ why: @autoclosure () -> String) {
        loop.logger.debug(message, metadata: ["peer": "\(connection?.peer.description ?? "")", "reason": "\(why())"])
    }

    // MARK: Its deadline

    private func armTimer() {
        guard let due = handshake.due(at: loop.eventLoop.now) else { return }
        if let timer {
            if timer.due <= due { return }
            timer.task.cancel()
        }
        let task = loop.eventLoop.assumeIsolated().scheduleTask(deadline: due) { [self] in
            timer = nil
            timerWentOff()
        }
        timer = (task, due)
    }

    private func timerWentOff() {
        guard handshake.isLate(at: loop.eventLoop.now, isCrowded: handshakes.isCrowded) else { return armTimer() }
        end(.timeout, "the client has not done its part in time")
    }
}

// A step of the handshake.
extension TLSStream: HandshakeStep {
    func takeStep() -> Bool {
        guard let context, handshake.turnCame(at: loop.eventLoop.now) else { return false }
        let pipeline = context.pipeline.syncOperations
        do {
            if library == nil {
                let library = NIOSSLServerHandler(context: material.context)
                self.library = library
                try pipeline.addHandlers([TLSOutlet(socket), library], position: .first)
            }
        } catch {
            end(.failed, "\(error)")
            return true
        }
        let bytes = held
        held = ByteBuffer()
        pipeline.fireChannelRead(NIOAny(bytes))
        pipeline.fireChannelReadComplete()
        armTimer()
        if connection?.mayReadOn == true { self.context?.read() }
        return true
    }
}

extension TLSStream: StreamReader {
    func received(_ bytes: inout ByteBuffer) {
        guard handshake.isDone else { return receiveHandshake(&bytes) }
        let pipeline = socket.pipeline.syncOperations
        pipeline.fireChannelRead(NIOAny(bytes))
        // What the library has decrypted, it hands on at once: it would keep it until then, in a buffer that grows.
        pipeline.fireChannelReadComplete()
    }

    var readLimit: Int {
        guard handshake.isDone else {
            return handshake.reads ? min(Self.readBytes, ClientHello.maxBytes - held.readableBytes) : 0
        }
        return min(Self.readBytes, connection?.readLimit ?? 0)
    }

    func receivedAll() -> Bool {
        guard handshake.isDone else { return handshake.reads }
        return connection?.receivedAll() ?? false
    }

    func read(context: ChannelHandlerContext) {
        if handshake.reads { context.read() }
    }
}
