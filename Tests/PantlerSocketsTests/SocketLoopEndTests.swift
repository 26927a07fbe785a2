import Dispatch
import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("The end of a loop")
struct SocketLoopEndTests {
    private func end(_ loop: SocketLoop) throws {
        let hasEnded = DispatchSemaphore(value: 0)
        loop.end { hasEnded.signal() }
        try awaitSignal(hasEnded, "the loop's end")
    }

    @Test("closes what is open on it, and tells its handlers")
    func sockets() throws {
        let fixture = try SocketFixture()
        let listener = ListeningSocket(
            try BoundSocket(at: SocketAddress(ipAddress: "127.0.0.1", port: 0)),
            on: fixture.loop,
            accepted: { _, _, _ in },
            failed: { _ in }
        )
        try fixture.onLoop { _ in try listener.start() }
        let waits = try fixture.write([1])
        let isClosed = Shared(false)
        fixture.socket.closeFuture.whenSuccess { isClosed.value = true }
        let hasFailed = Shared(false)
        waits.whenFailure { _ in hasFailed.value = true }
        try end(fixture.loop)
        #expect(fixture.record.events.value == [.active, .inactive, .removed])
        #expect(isClosed.value && hasFailed.value)
        #expect(try fixture.peer.receiveAll() == [])
        #expect(throws: Failure.self) { try RawConnection(port: UInt16(listener.port)) }
    }

    @Test("comes after what it had to do before, and runs all completions")
    func completions() throws {
        let loop = try SocketLoop(name: "test")
        let order = Shared<[Int]>([])
        let isOver = DispatchSemaphore(value: 0)
        let blocked = try BlockedLoop(loop)
        loop.execute { [loop] in
            order.update { $0.append(1) }
            loop.execute { order.update { $0.append(2) } }
        }
        loop.end { [loop] in order.update { $0.append(loop.inEventLoop ? 3 : 0) } }
        loop.end {
            order.update { $0.append(4) }
            isOver.signal()
        }
        blocked.release()
        try awaitSignal(isOver, "the second completion")
        #expect(order.value == [1, 2, 3, 4])
        loop.end { order.update { $0.append(5) } }
        #expect(order.value == [1, 2, 3, 4, 5])
    }

    @Test("drops what is handed over later")
    func late() async throws {
        let loop = try SocketLoop(name: "test")
        try await loop.shutdownGracefully()
        let count = Shared(0)
        for _ in 0..<100 { loop.execute { count.update { $0 += 1 } } }
        try await loop.shutdownGracefully()
        #expect(count.value == 0)
    }

    @Test("fails what was to be done later")
    func timers() throws {
        let loop = try SocketLoop(name: "test")
        let scheduled = loop.scheduleTask(in: .hours(1)) {}
        try value(of: loop.submit {})
        let result = Shared<Result<Void, any Error>?>(nil)
        scheduled.futureResult.whenComplete { result.value = $0 }
        try end(loop)
        #expect(throws: EventLoopError.shutdown) { try result.value?.get() }
    }

    @Test("closes a socket too that begins while the others are being closed")
    func beginsLate() throws {
        let (near, late) = try Peer.connection()
        let record = Record()
        let fixture = try SocketFixture { socket in
            try socket.pipeline.syncOperations.addHandler(Successor(near, record))
        }
        try end(fixture.loop)
        #expect(try late.receiveAll() == [])
        #expect(record.events.value == [.active, .inactive, .removed])
    }

    /// Begins with another connection as its own ends, as a loop may that another loop hands connections to.
    private final class Successor: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let descriptor: CInt
        private let record: Record

        init(_ descriptor: CInt, _ record: Record) {
            self.descriptor = descriptor
            self.record = record
        }

        func channelInactive(context: ChannelHandlerContext) {
            guard let loop = context.eventLoop as? SocketLoop else { return }
            loop.execute { [self] in
                let socket = StreamSocket(taking: descriptor, on: loop)
                do {
                    try socket.pipeline.syncOperations.addHandler(Recorder(record))
                    socket.start()
                } catch {
                    socket.close(promise: nil)
                }
            }
            context.fireChannelInactive()
        }
    }
}
