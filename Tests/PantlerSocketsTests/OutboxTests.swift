import Dispatch
import NIOCore
import Support
import Testing

@testable import PantlerSockets

@Suite("What several sockets send in a turn of their loop")
struct OutboxTests {
    private let fixture: SocketFixture

    init() throws { fixture = try SocketFixture() }

    @Test("each gets its own, also of more sockets than are gathered at a time")
    func several() throws {
        let others = try (0..<Outbox.capacity * 2).map { _ in try SocketFixture(on: fixture.loop) }
        try fixture.onLoop { socket in
            socket.send(ByteBuffer(bytes: [255]))
            for (number, other) in others.enumerated() { other.socket.send(ByteBuffer(bytes: [UInt8(number), 7])) }
        }
        #expect(try fixture.peer.receive(1) == [255])
        for (number, other) in others.enumerated() { #expect(try other.peer.receive(2) == [UInt8(number), 7]) }
    }

    @Test("leaves at the end of the turn, or when something is about to take its time")
    func together() throws {
        let isSent = DispatchSemaphore(value: 0)
        let goesOn = DispatchSemaphore(value: 0)
        for isHurried in [false, true] {
            fixture.loop.execute { [socket = fixture.socket] in
                socket.send(ByteBuffer(bytes: [1]))
                if isHurried { socket.sendGathered() }
                isSent.signal()
                goesOn.wait()
            }
            isSent.wait()
            #expect(fixture.peer.unread == (isHurried ? 1 : 0))
            goesOn.signal()
            #expect(try fixture.peer.receive(1) == [1])
        }
    }

    @Test("goes before what is sent after it, by whatever way", arguments: [0, 1, 2])
    func order(way: Int) throws {
        try fixture.onLoop { socket in
            socket.send(ByteBuffer(bytes: [1]))
            switch way {
            case 0: socket.send(ByteBuffer(bytes: [2]))
            case 1: socket.writeAndFlush(ByteBuffer(bytes: [2]), promise: nil)
            default: socket.send(ByteBuffer(repeating: 2, count: Outbox.largestPiece + 1))
            }
        }
        #expect(try fixture.peer.receive(2) == [1, 2])
    }

    @Test("goes before the end", arguments: [CloseMode.all, .output])
    func end(mode: CloseMode) throws {
        try fixture.onLoop { socket in
            socket.send(ByteBuffer(bytes: [1]))
            socket.close(mode: mode, promise: nil)
        }
        #expect(try fixture.peer.receiveAll() == [1])
    }

    @Test("is not overtaken by what another socket's end has a handler send")
    func touchedByAnother() throws {
        let ending = Shared<StreamSocket?>(nil)
        let other = try SocketFixture(on: fixture.loop) { socket in
            try socket.pipeline.syncOperations.addHandler(Sender(ending))
        }
        ending.value = fixture.socket
        try other.onLoop { [fixture] socket in
            // The kernel knows by now that the peer is gone: this one's bytes are the first to go, and end it.
            other.peer.reset()
            socket.send(ByteBuffer(bytes: [9]))
            fixture.socket.send(ByteBuffer(bytes: [1]))
        }
        #expect(try fixture.peer.receive(2) == [1, 2])
    }

    /// Sends over another socket as its own meets an error.
    private final class Sender: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        private let other: Shared<StreamSocket?>

        init(_ other: Shared<StreamSocket?>) { self.other = other }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            other.value?.writeAndFlush(ByteBuffer(bytes: [2]), promise: nil)
            context.fireErrorCaught(error)
        }
    }

    @Test("goes later where the kernel takes no more, before what was written behind it")
    func full() throws {
        // Now and then the kernel has room again for a byte meanwhile.
        for _ in 0..<100 {
            let fixture = try SocketFixture()
            let before = try fixture.onLoop { socket in
                let before = fixture.fillKernel()
                socket.send(ByteBuffer(bytes: [1]))
                socket.write(ByteBuffer(bytes: [2]), promise: nil)
                return before
            }
            let waiting = try fixture.onLoop { socket in
                defer { socket.flush() }
                return socket.waitingBytes
            }
            #expect(try Array(fixture.peer.receive(before + 2).suffix(2)) == [1, 2])
            if waiting == 2 { return }
        }
        Issue.record("the kernel always took more")
    }
}
