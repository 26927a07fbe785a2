import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("What comes to a socket")
struct StreamSocketReadingTests {
    @Test("goes through the pipeline, whole and in order")
    func bytes() throws {
        let fixture = try SocketFixture()
        var generator = SeededGenerator()
        let bytes = generator.bytes(4 << 20)
        try fixture.peer.send(bytes)
        try fixture.record.awaitBytes(bytes)
        try eventually("the last turn ends") { fixture.record.turns.value > 0 }
        #expect(fixture.record.events.value == [.active])
        #expect(fixture.socket.isActive)
    }

    @Test("keeps its bytes where a handler keeps the buffer")
    func kept() throws {
        let kept = Shared<[ByteBuffer]>([])
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(Keeper(kept)) }
        for number in UInt8(1)...3 {
            try fixture.peer.send([number])
            try fixture.record.awaitBytes(Array(1...number))
        }
        #expect(kept.value == [[1], [2], [3]].map { ByteBuffer(bytes: $0) })
    }

    private final class Keeper: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let kept: Shared<[ByteBuffer]>

        init(_ kept: Shared<[ByteBuffer]>) { self.kept = kept }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            kept.update { $0.append(bytes) }
            context.fireChannelRead(data)
        }
    }

    @Test("waits while a handler holds the read back")
    func heldBack() throws {
        let gate = ReadGate()
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(gate) }
        gate.isShut.value = true
        try fixture.peer.send([1])
        try fixture.record.awaitBytes([1])
        try eventually("the read is held back") { gate.held.value == 1 }
        try fixture.peer.send([2])
        try fixture.awaitTurn(withBytes: 1)
        #expect(fixture.record.bytes.value == [1])
        gate.isShut.value = false
        fixture.socket.read()
        try fixture.record.awaitBytes([1, 2])
        try fixture.peer.send([3])
        try fixture.record.awaitBytes([1, 2, 3])
        #expect(gate.held.value == 1)
    }

    @Test("that the other side has ended is told while reads are held back, once, and what it has sent is still read")
    func endAhead() throws {
        let gate = ReadGate()
        let ahead = EndsAhead()
        let fixture = try SocketFixture { socket in
            try socket.pipeline.syncOperations.addHandlers([gate, ahead])
        }
        gate.isShut.value = true
        try fixture.peer.send([1])
        try fixture.record.awaitBytes([1])
        try eventually("the read is held back") { gate.held.value == 1 }
        try fixture.peer.send([2])
        fixture.peer.finishSending()
        try eventually("the end is told") { ahead.count.value == 1 }
        try fixture.awaitTurn(withBytes: 1)
        #expect(fixture.record.bytes.value == [1])
        gate.isShut.value = false
        fixture.socket.read()
        try fixture.record.awaitBytes([1, 2])
        try fixture.awaitEvent(.inputClosed)
        #expect(ahead.count.value == 1)
        #expect(fixture.socket.isActive)
    }

    private final class EndsAhead: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        let count = Shared(0)

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case StreamEvent.endAhead = event { count.update { $0 += 1 } }
            context.fireUserInboundEventTriggered(event)
        }
    }

    @Test("the other side's end is told once, and bytes can be sent after it")
    func halfClosed() throws {
        let fixture = try SocketFixture()
        try fixture.peer.send([1])
        fixture.peer.finishSending()
        try fixture.awaitEvent(.inputClosed)
        try fixture.record.awaitBytes([1])
        try value(of: fixture.socket.writeAndFlush(ByteBuffer(bytes: [2])))
        #expect(try fixture.peer.receive(1) == [2])
        fixture.socket.read()
        try fixture.awaitTurn(withBytes: 0)
        #expect(fixture.record.events.value == [.active, .inputClosed])
        #expect(fixture.socket.isActive)
        try value(of: fixture.socket.close())
        #expect(try fixture.peer.receiveAll() == [])
    }

    @Test("a socket is closed once both sides have said their last")
    func bothEnded() throws {
        let fixture = try SocketFixture()
        try value(of: fixture.socket.close(mode: .output))
        #expect(try fixture.peer.receiveAll() == [])
        try fixture.peer.send([1])
        fixture.peer.finishSending()
        try value(of: fixture.socket.closeFuture)
        #expect(fixture.record.bytes.value == [1])
        // Whether that counts as an error is left open.
        #expect(fixture.record.events.value.filter { $0 != .failed } == [.active, .inputClosed, .inactive, .removed])
    }

    @Test("no more of it is given to a handler that has closed the socket")
    func closedWithin() throws {
        let count = Shared(0)
        let fixture = try SocketFixture { socket in try socket.pipeline.syncOperations.addHandler(Closer(count)) }
        let blocked = try BlockedLoop(fixture.loop)
        try fixture.peer.send([UInt8](repeating: 1, count: 150_000))
        try fixture.awaitUnread(150_000)
        blocked.release()
        try value(of: fixture.socket.closeFuture)
        #expect(count.value == 1)
        #expect(fixture.record.turns.value == 0)
        #expect(fixture.record.events.value == [.active, .inactive, .removed])
    }

    private final class Closer: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let count: Shared<Int>

        init(_ count: Shared<Int>) { self.count = count }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            count.update { $0 += 1 }
            context.close(promise: nil)
        }
    }
}
