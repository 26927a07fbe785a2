import NIOCore
import PantlerSockets
import Support
import Testing

@Suite("A reader of a socket")
struct StreamReaderTests {
    /// Notes what it is told. Where it pauses is the test's to say.
    private final class Reader: StreamReader, Sendable {
        enum Event: Equatable, Sendable {
            case bytes
            case all
        }

        let bytes = Shared<[UInt8]>([])
        let events = Shared<[Event]>([])
        let goesOn = Shared(true)
        let limit = Shared(Int.max)

        var readLimit: Int { limit.value }

        func received(_ bytes: inout ByteBuffer) {
            let some = Array(bytes.readableBytesView)
            self.bytes.update { $0 += some }
            events.update { $0.append(.bytes) }
        }

        func receivedAll() -> Bool {
            events.update { $0.append(.all) }
            return goesOn.value
        }

        func awaitEvents(_ expected: [Event]) throws {
            try eventually("\(expected)") { events.value.count >= expected.count }
            guard events.value == expected else { throw Failure("\(events.value)") }
        }
    }

    private let reader: Reader
    private let fixture: SocketFixture

    init() throws {
        let reader = Reader()
        self.reader = reader
        fixture = try SocketFixture { $0.reader = reader }
    }

    @Test("gets the bytes past the pipeline, and is told once when these are all for now")
    func turns() throws {
        try fixture.peer.send([1, 2])
        try reader.awaitEvents([.bytes, .all])
        let blocked = try BlockedLoop(fixture.loop)
        var generator = SeededGenerator()
        let bytes = generator.bytes(150_000)
        try fixture.peer.send(bytes)
        try fixture.awaitUnread(150_000)
        blocked.release()
        try reader.awaitEvents([.bytes, .all, .bytes, .bytes, .bytes, .all])
        #expect(reader.bytes.value == [1, 2] + bytes)
        #expect(fixture.record.bytes.value == [])
        #expect(fixture.record.turns.value == 0)
    }

    @Test("gets as much at a time as it wants, and no more in a turn in which it wants none")
    func limits() throws {
        let blocked = try BlockedLoop(fixture.loop)
        try fixture.peer.send([UInt8](repeating: 1, count: 300))
        try fixture.awaitUnread(300)
        reader.limit.value = 100
        blocked.release()
        try reader.awaitEvents([.bytes, .bytes, .bytes, .all])
        let again = try BlockedLoop(fixture.loop)
        try fixture.peer.send([UInt8](repeating: 2, count: 70_000))
        try fixture.awaitUnread(70_000)
        reader.limit.value = 0
        reader.goesOn.value = false
        again.release()
        try reader.awaitEvents([.bytes, .bytes, .bytes, .all, .bytes, .all])
        #expect(reader.bytes.value.count == 301)
    }

    @Test("gets megabytes whole and in order")
    func megabytes() throws {
        var generator = SeededGenerator()
        let bytes = generator.bytes(4 << 20)
        try fixture.peer.send(bytes)
        try eventually("all bytes") { reader.bytes.update { $0.count == bytes.count } }
        #expect(reader.bytes.value == bytes)
    }

    @Test("gets nothing after it has said so, until there is a read")
    func paused() throws {
        reader.goesOn.value = false
        try fixture.peer.send([1])
        try reader.awaitEvents([.bytes, .all])
        try fixture.peer.send([2])
        try fixture.awaitTurn(withBytes: 1)
        #expect(reader.bytes.value == [1])
        fixture.socket.read()
        try reader.awaitEvents([.bytes, .all, .bytes, .all])
        #expect(reader.bytes.value == [1, 2])
        try fixture.peer.send([3])
        try fixture.awaitTurn(withBytes: 1)
        #expect(reader.bytes.value == [1, 2])
    }

    @Test("is told that it has all where the other side ends; the handlers are told why")
    func halfClosed() throws {
        fixture.peer.finishSending()
        try fixture.awaitEvent(.inputClosed)
        try reader.awaitEvents([.all])
        try fixture.onLoop { $0.send(ByteBuffer(bytes: [5])) }
        #expect(try fixture.peer.receive(1) == [5])
        #expect(fixture.record.events.value == [.active, .inputClosed])
        #expect(reader.events.value == [.all])
    }

    @Test("hears no more of a socket that was reset; the handlers do", arguments: [true, false])
    func reset(goesOn: Bool) throws {
        reader.goesOn.value = goesOn
        try fixture.peer.send([1])
        try reader.awaitEvents([.bytes, .all])
        fixture.peer.reset()
        try value(of: fixture.socket.closeFuture)
        #expect(reader.events.value == [.bytes, .all])
        #expect(fixture.record.events.value == [.active, .failed, .inactive, .removed])
        try fixture.onLoop { socket in
            #expect(socket.reader == nil)
            socket.send(ByteBuffer(bytes: [2]))
            #expect(socket.waitingBytes == 0)
        }
    }

    @Test("sends past the pipeline, and what the kernel does not take later")
    func sending() throws {
        let writes = try value(
            of: fixture.loop.submit { [fixture] in
                let writes = WriteCount()
                try fixture.socket.pipeline.syncOperations.addHandler(writes)
                return writes
            }
        )
        var generator = SeededGenerator()
        let bytes = generator.bytes(2 << 20)
        let waiting = try fixture.onLoop { socket in
            socket.send(ByteBuffer(bytes: [1]))
            #expect(socket.isWritable)
            #expect(socket.waitingBytes == 0)
            socket.send(ByteBuffer(bytes: bytes))
            return socket.waitingBytes
        }
        #expect(waiting > 0 && waiting < bytes.count)
        #expect(!fixture.socket.isWritable)
        #expect(try fixture.peer.receive(bytes.count + 1) == [1] + bytes)
        try fixture.awaitEvent(.writable(true))
        #expect(fixture.record.events.value == [.active, .writable(false), .writable(true)])
        #expect(try fixture.onLoop { $0.waitingBytes } == 0)
        #expect(writes.count.value == 0)
    }

    private final class WriteCount: ChannelOutboundHandler, Sendable {
        typealias OutboundIn = ByteBuffer

        let count = Shared(0)

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            count.update { $0 += 1 }
            context.write(data, promise: promise)
        }
    }

    @Test("sends behind what waits, of the pipeline or its own")
    func order() throws {
        var generator = SeededGenerator()
        let bytes = generator.bytes(2 << 20)
        try fixture.onLoop { socket in
            socket.write(ByteBuffer(bytes: [1]), promise: nil)
            socket.send(ByteBuffer(bytes: [2]))
            #expect(socket.waitingBytes == 0)
            socket.send(ByteBuffer(bytes: bytes))
            socket.write(ByteBuffer(bytes: [3]), promise: nil)
            socket.send(ByteBuffer(bytes: [4]))
            socket.writeAndFlush(ByteBuffer(bytes: [5]), promise: nil)
        }
        #expect(try fixture.peer.receive(bytes.count + 5) == [1, 2] + bytes + [3, 4, 5])
    }
}
