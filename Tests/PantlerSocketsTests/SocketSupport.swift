import Dispatch
import Glibc
import NIOCore
import PantlerSockets
import Support

/// A socket on a loop, with a recorder as the last of its handlers, and the other side of its connection.
final class SocketFixture: Sendable {
    let loop: SocketLoop
    let socket: StreamSocket
    let peer: Peer
    let record = Record()
    private let descriptor: CInt

    /// - Parameters:
    ///   - other: a loop that it shares; `nil` = it has one of its own.
    ///   - prepare: puts other handlers, or a reader, in place. On the loop.
    init(
        on other: SocketLoop? = nil,
        _ prepare: @escaping @Sendable (StreamSocket) throws -> Void = { _ in }
    ) throws {
        let loop = try other ?? SocketLoop(name: "test")
        let (near, peer) = try Peer.connection()
        let record = record
        self.loop = loop
        self.peer = peer
        descriptor = near
        socket = try value(
            of: loop.submit {
                let socket = StreamSocket(taking: near, on: loop)
                try prepare(socket)
                try socket.pipeline.syncOperations.addHandler(Recorder(record))
                socket.start()
                return socket
            }
        )
    }

    deinit { loop.end {} }

    /// Sends bytes past the socket until the kernel takes no more. Returns how many.
    func fillKernel() -> Int {
        let bytes = [UInt8](repeating: 0, count: 64 << 10)
        var count = 0
        while true {
            let sent = Glibc.send(descriptor, bytes, bytes.count, CInt(Int(MSG_DONTWAIT) | Int(MSG_NOSIGNAL)))
            if sent < 0 { return count }
            count += sent
        }
    }

    /// Runs `body` on the loop.
    @discardableResult
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (StreamSocket) throws -> Value) throws -> Value {
        let socket = socket
        return try value(of: loop.submit { try body(socket) })
    }

    /// Writes without sending.
    func write(_ bytes: [UInt8]) throws -> EventLoopFuture<Void> {
        try onLoop { $0.write(ByteBuffer(bytes: bytes)) }
    }

    /// Has the loop deal with what is there: bytes that the kernel has, and whether they are wanted.
    func awaitTurn(withBytes count: CInt) throws {
        try awaitUnread(count)
        // One piece ends a wait that has begun before; the other is run after a look at the sockets.
        for _ in 0..<2 { try onLoop { _ in } }
    }

    /// Waits until the kernel has so many bytes that nobody has read.
    func awaitUnread(_ count: CInt) throws {
        try eventually("\(count) bytes") {
            var unread: CInt = 0
            guard ioctl(descriptor, UInt(FIONREAD), &unread) == 0 else { throw Failure.ofSystem("ioctl") }
            return unread == count
        }
    }

    /// Which of the system's files the near end's descriptor stands for now; `nil` = none.
    var file: UInt? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt(status.st_ino) : nil
    }

    func awaitEvent(_ event: Record.Event) throws {
        try eventually("\(event)") { record.events.value.contains(event) }
    }
}

/// What a handler was told, for the test's thread to read.
final class Record: Sendable {
    enum Event: Equatable, Sendable {
        case active
        case inputClosed
        case writable(Bool)
        case failed
        case inactive
        case removed
    }

    let events = Shared<[Event]>([])
    let bytes = Shared<[UInt8]>([])
    /// Ends of what came at a time.
    let turns = Shared(0)

    func add(_ event: Event) { events.update { $0.append(event) } }

    func add(_ buffer: ByteBuffer) { bytes.update { $0 += buffer.readableBytesView } }

    func awaitBytes(_ expected: [UInt8]) throws {
        try eventually("\(expected.count) bytes") { bytes.update { $0.count >= expected.count } }
        guard bytes.value == expected else { throw Failure("other bytes came than were sent") }
    }
}

final class Recorder: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let record: Record

    init(_ record: Record) { self.record = record }

    func channelActive(context: ChannelHandlerContext) { record.add(.active) }

    func channelInactive(context: ChannelHandlerContext) { record.add(.inactive) }

    func handlerRemoved(context: ChannelHandlerContext) { record.add(.removed) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { record.add(unwrapInboundIn(data)) }

    func channelReadComplete(context: ChannelHandlerContext) { record.turns.update { $0 += 1 } }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        record.add(.writable(context.channel.isWritable))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { record.add(.inputClosed) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { record.add(.failed) }
}

/// Holds reads back while it is shut.
final class ReadGate: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = ByteBuffer

    let isShut = Shared(false)
    let held = Shared(0)

    func read(context: ChannelHandlerContext) {
        if isShut.value { held.update { $0 += 1 } } else { context.read() }
    }
}

/// A loop that does nothing but wait, until it is told to go on.
final class BlockedLoop: Sendable {
    private let gate = DispatchSemaphore(value: 0)

    /// Returns once the loop waits.
    ///
    /// - Parameter again: in the iteration after the one for which it was woken: it does not come from its sleep then.
    init(_ loop: SocketLoop, again: Bool = false) throws {
        let isInside = DispatchSemaphore(value: 0)
        let wait: @Sendable () -> Void = { [gate] in
            isInside.signal()
            gate.wait()
        }
        loop.execute { if again { loop.execute(wait) } else { wait() } }
        try awaitSignal(isInside, "the loop runs a piece")
    }

    func release() { gate.signal() }
}

/// Waits for a signal, and not for ever.
func awaitSignal(_ semaphore: DispatchSemaphore, _ what: String) throws {
    guard semaphore.wait(timeout: .now() + 20) == .success else { throw Failure("Not within 20 s: \(what)") }
}

/// What a future becomes. `EventLoopFuture.wait` has no deadline.
func value<Value: Sendable>(of future: EventLoopFuture<Value>) throws -> Value {
    let isThere = DispatchSemaphore(value: 0)
    let result = Shared<Result<Value, any Error>?>(nil)
    future.whenComplete {
        result.value = $0
        isThere.signal()
    }
    try awaitSignal(isThere, "a future")
    guard let result = result.value else { throw Failure("no result") }
    return try result.get()
}

extension Failure {
    /// The system's own words for what just failed.
    static func ofSystem(_ call: String) -> Failure { Failure("\(call): \(String(cString: strerror(errno)))") }
}
