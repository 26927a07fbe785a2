import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("What goes from a socket")
struct StreamSocketSendingTests {
    /// More than the kernel takes of a connection that nobody reads from.
    private static let many = 2 << 20

    private let fixture: SocketFixture

    init() throws { fixture = try SocketFixture() }

    private var waitingBytes: Int {
        get throws {
            try fixture.onLoop { socket in
                guard let options = socket.syncOptions else { throw Failure("no options") }
                return try options.getOption(.bufferedWritableBytes)
            }
        }
    }

    /// Fills the connection. Returns what waits to be sent last, and all bytes.
    private func fill() throws -> (last: EventLoopFuture<Void>, bytes: [UInt8]) {
        var generator = SeededGenerator()
        let bytes = generator.bytes(Self.many)
        let last = try fixture.write(bytes)
        fixture.socket.flush()
        try fixture.awaitEvent(.writable(false))
        return (last, bytes)
    }

    @Test("megabytes go both ways while the other side reads late")
    func echo() throws {
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(Echo()) }
        var generator = SeededGenerator()
        let bytes = generator.bytes(8 << 20)
        let sender = BackgroundThreads(1) { _ in try fixture.peer.send(bytes) }
        try fixture.awaitEvent(.writable(false))
        #expect(try fixture.peer.receive(bytes.count) == bytes)
        _ = try sender.join()
        fixture.peer.finishSending()
        try fixture.awaitEvent(.inputClosed)
        let changes = fixture.record.events.value.filter { $0 != .active && $0 != .inputClosed }
        #expect(changes.enumerated().allSatisfy { $1 == .writable($0 % 2 == 1) })
        #expect(changes.last == .writable(true))
        #expect(fixture.socket.isWritable)
    }

    /// Sends back what comes, and reads no more while it does not go.
    private final class Echo: ChannelDuplexHandler, Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundIn = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }

        func channelReadComplete(context: ChannelHandlerContext) {
            context.flush()
            context.fireChannelReadComplete()
        }

        func channelWritabilityChanged(context: ChannelHandlerContext) {
            context.fireChannelWritabilityChanged()
            if context.channel.isWritable { context.read() }
        }

        func read(context: ChannelHandlerContext) { if context.channel.isWritable { context.read() } }
    }

    /// Shows its bytes some at a time.
    private final class Pieces: ByteSource {
        private let bytes: UnsafeMutableRawBufferPointer
        private var offset = 0
        private let pieceBytes: Int
        private let ended: Shared<Int>

        init(_ source: [UInt8], pieceBytes: Int, _ ended: Shared<Int>) {
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: source.count, alignment: 1)
            source.withUnsafeBytes { copy.copyMemory(from: $0) }
            bytes = copy
            self.pieceBytes = pieceBytes
            self.ended = ended
        }

        deinit {
            bytes.deallocate()
            ended.update { $0 += 1 }
        }

        var remaining: Int { bytes.count - offset }

        func next() -> UnsafeRawBufferPointer {
            let end = min(bytes.count, (offset / pieceBytes + 1) * pieceBytes)
            return UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
        }

        func advance(by count: Int) { offset += count }
    }

    @Test(
        "sources go in their order among buffers, whatever of them the kernel takes, and are let go of",
        arguments: [100, 64 << 10, 8 << 20]
    )
    func sources(pieceBytes: Int) throws {
        var generator = SeededGenerator()
        let bytes = generator.bytes(3 << 20)
        let ended = Shared(0)
        try fixture.onLoop { socket in
            socket.write(ByteBuffer(bytes: [1]), promise: nil)
            socket.write(Pieces(Array(bytes[..<(1 << 20)]), pieceBytes: pieceBytes, ended))
            socket.write(ByteBuffer(bytes: [2]), promise: nil)
            socket.write(Pieces(Array(bytes[(1 << 20)...]), pieceBytes: pieceBytes, ended))
            socket.flush()
        }
        #expect(try waitingBytes > 0)
        let expected = [1] + bytes[..<(1 << 20)] + [2] + bytes[(1 << 20)...]
        #expect(try fixture.peer.receive(expected.count) == expected)
        try eventually("the sources are let go of") { ended.value == 2 }
        #expect(try waitingBytes == 0)
    }

    @Test("a close lets go of sources and companions that have not gone")
    func unsentSource() throws {
        let ended = Shared(0)
        try fixture.onLoop { socket in
            socket.write(Pieces([UInt8](repeating: 0, count: 4 << 20), pieceBytes: 1 << 20, ended))
            socket.write(ByteBuffer(bytes: [1]), with: Pieces([1], pieceBytes: 1, ended))
            socket.flush()
        }
        #expect(ended.value == 0)
        try value(of: fixture.socket.close())
        #expect(ended.value == 2)
    }

    @Test("what is written waits for the flush; its promises are kept in order")
    func promises() throws {
        let kept = Shared<[Int]>([])
        let last = try fixture.onLoop { socket in
            for number in 0..<40 {
                socket.write(ByteBuffer(bytes: [UInt8(number)])).whenSuccess { kept.update { $0.append(number) } }
            }
            return socket.write(ByteBuffer())
        }
        #expect(try waitingBytes == 40)
        #expect(kept.value == [])
        fixture.socket.flush()
        try value(of: last)
        #expect(kept.value == Array(0..<40))
        #expect(try waitingBytes == 0)
        #expect(try fixture.peer.receive(40) == Array(0..<40))
    }

    @Test("a promise is kept once its last byte has gone")
    func lastByte() throws {
        let isKept = Shared(false)
        let (last, bytes) = try fill()
        last.whenComplete { _ in isKept.value = true }
        #expect(try waitingBytes > 0)
        #expect(!isKept.value)
        #expect(!fixture.socket.isWritable)
        #expect(try fixture.peer.receive(bytes.count) == bytes)
        try value(of: last)
        #expect(try waitingBytes == 0)
        try fixture.awaitEvent(.writable(true))
        #expect(fixture.record.events.value == [.active, .writable(false), .writable(true)])
    }

    @Test("what follows behind a full connection goes in its order")
    func order() throws {
        let (_, bytes) = try fill()
        let more = try fixture.write([1, 2, 3])
        fixture.socket.flush()
        #expect(try fixture.peer.receive(bytes.count + 3) == bytes + [1, 2, 3])
        try value(of: more)
    }

    @Test("a close fails the promises of what has not gone")
    func closing() throws {
        let (last, _) = try fill()
        let unflushed = try fixture.write([1])
        try value(of: fixture.socket.close())
        #expect(throws: ChannelError.ioOnClosedChannel) { try value(of: last) }
        #expect(throws: ChannelError.ioOnClosedChannel) { try value(of: unflushed) }
        #expect(throws: ChannelError.ioOnClosedChannel) { try value(of: fixture.write([2])) }
        #expect(try waitingBytes == 0)
    }

    @Test("the end of sending comes behind what waits; what is written later fails")
    func endOfSending() throws {
        let (last, bytes) = try fill()
        let unflushed = try fixture.write([1])
        try value(of: fixture.socket.close(mode: .output))
        #expect(throws: ChannelError.outputClosed) { try value(of: fixture.write([2])) }
        #expect(throws: ChannelError.outputClosed) { try value(of: fixture.socket.close(mode: .output)) }
        try fixture.onLoop { $0.send(ByteBuffer(bytes: [3])) }
        #expect(try fixture.peer.receiveAll() == bytes + [1])
        try value(of: last)
        try value(of: unflushed)
        try fixture.peer.send([4])
        try fixture.record.awaitBytes([4])
        #expect(fixture.socket.isActive)
    }

    @Test("who sends more as a promise is kept sends it behind what has gone with it")
    func sendsWithin() throws {
        try fixture.onLoop { socket in
            socket.write(ByteBuffer(bytes: [1])).assumeIsolated().whenSuccess {
                socket.writeAndFlush(ByteBuffer(bytes: [4]), promise: nil)
            }
            socket.write(ByteBuffer(bytes: [2, 3]), promise: nil)
            socket.flush()
        }
        #expect(try waitingBytes == 0)
        try value(of: fixture.socket.close(mode: .output))
        #expect(try fixture.peer.receiveAll() == [1, 2, 3, 4])
    }

    @Test("who closes as a promise is kept does not take back what has gone with it")
    func closesWithin() throws {
        let second = try fixture.onLoop { socket in
            socket.write(ByteBuffer(bytes: [1])).assumeIsolated().whenSuccess { socket.close(promise: nil) }
            let second = socket.write(ByteBuffer(bytes: [2]))
            socket.flush()
            return second
        }
        #expect(try fixture.peer.receiveAll() == [1, 2])
        try value(of: second)
        try value(of: fixture.socket.closeFuture)
        #expect(fixture.record.events.value == [.active, .inactive, .removed])
    }

    @Test("of the channel's options there are those that its handlers ask for")
    func options() throws {
        #expect(throws: ChannelError.operationUnsupported) {
            try fixture.onLoop { try $0.syncOptions?.getOption(.maxMessagesPerRead) }
        }
        #expect(throws: ChannelError.operationUnsupported) {
            try value(of: fixture.socket.setOption(.autoRead, value: false))
        }
    }
}
