import Glibc
import Logging
import NIOCore
import PantlerInsight
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP
@testable import PantlerSockets

/// A connection over a socket of the system's whose buffers the test knows.
@Suite("A connection over its own socket")
struct PipelineSocketTests {
    /// On the loop: a connection over `descriptor`, that has begun.
    private static func begin(_ descriptor: CInt, on loop: SocketLoop, _ open: ConnectionCount) throws -> StreamSocket {
        let tier = LateTier()
        let store = Store(StoreOptions(), clock: ManualClock(), lower: tier, state: try tier.persistedState())
        try store.start()
        let state = LoopState(
            eventLoop: loop,
            store: store,
            router: Router(store, RouterOptions()),
            tally: RequestTally(),
            logger: Logger(label: "test"),
            openConnections: open,
            limits: HTTPLimits(),
            doors: [Door(Listener(.port(host: "127.0.0.1", port: 0)), HTTPOptions())],
            access: AccessOptions()
        )
        let socket = StreamSocket(taking: descriptor, on: loop)
        let connection = try HTTPServer.assemble(socket.pipeline.syncOperations, state, Entrance(door: 0, peer: .local))
        connection.socket = socket
        socket.reader = connection
        socket.start()
        return socket
    }

    @Test("that epoll refuses changes no count of connections")
    func refused() throws {
        let loop = try SocketLoop(name: "test")
        let count = ConnectionCount()
        let file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        let socket = try loop.submit { try Self.begin(file, on: loop, count) }.wait()
        try socket.closeFuture.wait()
        #expect(count.current == 0)
        loop.end {}
    }

    @Test("whose last answer the kernel does not take at once gives it before it ends")
    func lastAnswer() throws {
        var ends: [CInt] = [0, 0]
        let kind = CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        try #require(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        let (near, far) = (ends[0], ends[1])
        defer { close(far) }
        var filled = 0
        let filler = [UInt8](repeating: 0, count: 1 << 10)
        while case let sent = send(near, filler, filler.count, CInt(MSG_NOSIGNAL)), sent > 0 { filled += sent }
        // The whole request and the end of the requests are there before the loop looks.
        let request = Array(TestConnection.get("a").utf8)
        #expect(send(far, request, request.count, 0) == request.count)
        shutdown(far, CInt(SHUT_WR))
        let loop = try SocketLoop(name: "test")
        let count = ConnectionCount()
        let socket = try loop.submit { try Self.begin(near, on: loop, count) }.wait()
        // Its turn is over once the loop has done something else after it.
        try eventually("the request is read") {
            var unread: CInt = 0
            _ = ioctl(near, UInt(FIONREAD), &unread)
            return unread == 0
        }
        try loop.submit {}.wait()
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        try eventually("the end") {
            while true {
                let got = recv(far, &chunk, chunk.count, 0)
                if got > 0 { received += chunk[..<got] } else { return got == 0 }
            }
        }
        let answer = try #require(TestAnswer.first(in: Array(received.dropFirst(filled))))
        #expect(answer.0.status == 404)
        try socket.closeFuture.wait()
        #expect(count.current == 0)
        loop.end {}
    }
}
