import Glibc
import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("The end of a socket")
struct StreamSocketEndingTests {
    @Test("a close tells the handlers once, and closes the descriptor")
    func close() throws {
        let fixture = try SocketFixture()
        let file = try #require(fixture.file)
        // At once, while the handlers are still there: without them it is the pipeline that says no.
        let (first, second, write) = try fixture.onLoop { socket in
            (socket.close(), socket.close(), socket.writeAndFlush(ByteBuffer(bytes: [1])))
        }
        try value(of: first)
        #expect(throws: ChannelError.alreadyClosed) { try value(of: second) }
        #expect(throws: ChannelError.ioOnClosedChannel) { try value(of: write) }
        try value(of: fixture.socket.closeFuture)
        #expect(throws: ChannelError.alreadyClosed) { try value(of: fixture.socket.close()) }
        #expect(fixture.record.events.value == [.active, .inactive, .removed])
        #expect(!fixture.socket.isActive)
        // Another test may have been given the number by now.
        #expect(fixture.file != file)
        #expect(try fixture.peer.receiveAll() == [])
    }

    @Test("a socket that epoll refuses ends without having begun")
    func refused() throws {
        let loop = try SocketLoop(name: "test")
        let record = Record()
        // epoll_ctl(2) takes no regular file.
        let file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        let socket = try value(
            of: loop.submit {
                let socket = StreamSocket(taking: file, on: loop)
                try socket.pipeline.syncOperations.addHandler(Recorder(record))
                socket.start()
                return socket
            }
        )
        try value(of: socket.closeFuture)
        #expect(record.events.value == [.removed])
        loop.end {}
    }

    @Test("closing the input alone is not to be had")
    func input() throws {
        let fixture = try SocketFixture()
        #expect(throws: ChannelError.operationUnsupported) { try value(of: fixture.socket.close(mode: .input)) }
        #expect(fixture.socket.isActive)
    }

    @Test("a reset is an error and the end, told once, also while nobody reads", arguments: [false, true])
    func reset(isPaused: Bool) throws {
        let gate = ReadGate()
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(gate) }
        gate.isShut.value = isPaused
        try fixture.peer.send([1])
        try fixture.record.awaitBytes([1])
        fixture.peer.reset()
        try value(of: fixture.socket.closeFuture)
        #expect(fixture.record.events.value == [.active, .failed, .inactive, .removed])
        #expect(gate.held.value == (isPaused ? 1 : 0))
    }

    @Test("a reset fails what waits to be sent", arguments: [false, true])
    func resetWhileFull(isPaused: Bool) throws {
        let gate = ReadGate()
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(gate) }
        gate.isShut.value = isPaused
        try fixture.peer.send([1])
        try fixture.record.awaitBytes([1])
        let waits = try fixture.write([UInt8](repeating: 1, count: 2 << 20))
        fixture.socket.flush()
        try fixture.awaitEvent(.writable(false))
        fixture.peer.reset()
        #expect(throws: (any Error).self) { try value(of: waits) }
        try value(of: fixture.socket.closeFuture)
        #expect(fixture.record.events.value == [.active, .writable(false), .failed, .inactive, .removed])
    }

    @Test("a handler may close as it is told of the error")
    func closesOnError() throws {
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(ErrorCloser()) }
        fixture.peer.reset()
        try value(of: fixture.socket.closeFuture)
        #expect(fixture.record.events.value == [.active, .failed, .inactive, .removed])
    }

    private final class ErrorCloser: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.fireErrorCaught(error)
            context.close(promise: nil)
        }
    }

    @Test("what came before the end is read before it")
    func lastBytes() throws {
        let fixture = try SocketFixture()
        var generator = SeededGenerator()
        let bytes = generator.bytes(1 << 20)
        try fixture.peer.send(bytes)
        fixture.peer.close()
        try fixture.awaitEvent(.inputClosed)
        #expect(fixture.record.bytes.value == bytes)
    }
}
