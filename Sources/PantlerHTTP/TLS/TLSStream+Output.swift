internal import NIOCore
internal import PantlerSockets

/// Output that is to be encrypted once the socket takes more.
struct OutputPiece {
    enum Content {
        case bytes(ByteBuffer)
        case source(any ByteSource)
        /// The end of all output.
        case end
    }

    var content: Content
    let promise: EventLoopPromise<Void>?
    /// An object that is kept alive as long as the bytes wait.
    var companion: AnyObject?
}

// What goes out. The library encrypts all that it is given, at once and into a buffer that it keeps: it is given no more than the socket takes.
extension TLSStream {
    /// Bytes that are encrypted and sent together: three records of the largest size, whose encrypted form the library's buffer of 64 KiB holds.
    private static let pieceBytes = 48 << 10
    /// Bytes of one connection that are encrypted before others have their turn: some hundred microseconds.
    private static let bytesInTurn = 4 * pieceBytes

    /// Whether all that was written is on its way.
    var isWritable: Bool { queue.isEmpty && context?.channel.isWritable == true }

    /// Has bytes sent behind those that wait, with the next flush.
    ///
    /// - Parameter companion: let go of once the bytes are encrypted.
    func write(_ bytes: ByteBuffer, with companion: AnyObject?) {
        enqueue(OutputPiece(content: .bytes(bytes), promise: nil, companion: companion), bytes.readableBytes)
    }

    /// The same with bytes that are encrypted from where they are.
    func write(_ source: any ByteSource) {
        enqueue(OutputPiece(content: .source(source), promise: nil), source.remaining)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = unwrapOutboundIn(data)
        if queue.isEmpty, handshake.isDone, bytes.readableBytes <= Self.pieceBytes {
            return context.write(data, promise: promise)
        }
        enqueue(OutputPiece(content: .bytes(bytes), promise: promise), bytes.readableBytes)
    }

    func flush(context: ChannelHandlerContext) {
        if queue.isEmpty { context.flush() } else { sendQueued() }
    }

    func closeOutput(_ promise: EventLoopPromise<Void>?) {
        if queue.isEmpty, handshake.isDone, let context { return context.close(mode: .output, promise: promise) }
        enqueue(OutputPiece(content: .end, promise: promise), 0)
        sendQueued()
    }

    private func enqueue(_ piece: OutputPiece, _ bytes: Int) {
        if handshake.phase == .over {
            piece.promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        queue.append(piece)
        queuedBytes += bytes
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { sendQueued() }

    /// Encrypts and sends what waits, as far as the socket takes it, and tells the connection if that changes whether it may write.
    func sendQueued() {
        guard let context, handshake.isDone, !isSending else { return }
        isSending = true
        // What was written without waiting is flushed with it.
        var left = Self.bytesInTurn
        while !queue.isEmpty, left > 0, context.channel.isActive, context.channel.isWritable {
            left -= sendPiece(context)
        }
        isSending = false
        if left <= 0, !queue.isEmpty {
            // A client that takes all as fast as it is encrypted must not keep the loop.
            loop.eventLoop.assumeIsolated().execute { [self] in sendQueued() }
        }
        let isWritable = isWritable
        guard wasWritable != isWritable else { return }
        wasWritable = isWritable
        context.fireChannelWritabilityChanged()
    }

    /// Encrypts and sends what one buffer holds. Returns how many bytes that were.
    private func sendPiece(_ context: ChannelHandlerContext) -> Int {
        var bytes = loop.takeOutput()
        var promise: EventLoopPromise<Void>?
        gathering: while bytes.readableBytes < Self.pieceBytes, let content = queue.first?.content {
            let room = Self.pieceBytes - bytes.readableBytes
            let isWhole: Bool
            switch content {
            case .bytes(var piece):
                if var part = piece.readSlice(length: min(room, piece.readableBytes)) { bytes.writeBuffer(&part) }
                isWhole = piece.readableBytes == 0
                if !isWhole { queue[queue.startIndex].content = .bytes(piece) }
            case .source(let source):
                let part = source.next().prefix(room)
                bytes.writeBytes(part)
                source.advance(by: part.count)
                isWhole = source.remaining == 0
            case .end:
                guard bytes.readableBytes == 0 else { break gathering }
                let end = queue.removeFirst()
                context.close(mode: .output, promise: end.promise)
                break gathering
            }
            guard isWhole else { continue }
            // One that is to be told when it is sent ends what is sent together.
            promise = queue.removeFirst().promise
            if promise != nil { break }
        }
        let count = bytes.readableBytes
        queuedBytes -= count
        if count > 0 || promise != nil { context.writeAndFlush(wrapOutboundOut(bytes), promise: promise) }
        loop.giveBack(bytes)
        return max(1, count)
    }

    /// Drops what waits: the connection is gone.
    func dropOutput() {
        let dropped = queue
        queue.removeAll()
        queuedBytes = 0
        for piece in dropped { piece.promise?.fail(ChannelError.ioOnClosedChannel) }
    }
}
