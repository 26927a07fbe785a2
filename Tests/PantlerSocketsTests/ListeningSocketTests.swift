import Glibc
import NIOCore
import PantlerModel
import PantlerSockets
import Support
import Testing

@Suite("A socket that listens")
struct ListeningSocketTests {
    private let loop: SocketLoop
    private let taken = Shared<[CInt]>([])
    private let cores = Shared<[Int?]>([])

    init() throws { loop = try SocketLoop(name: "test") }

    private func listener(at host: String, port: Int = 0) throws -> ListeningSocket {
        ListeningSocket(
            try BoundSocket(at: SocketAddress(ipAddress: host, port: port)),
            on: loop,
            accepted: { [taken, cores] descriptor, _, core in
                cores.update { $0.append(core) }
                taken.update { $0.append(descriptor) }
            },
            failed: { Issue.record("\($0)") }
        )
    }

    private func start(_ listener: ListeningSocket) throws { try value(of: loop.submit { try listener.start() }) }

    private func end() {
        loop.end {}
        for descriptor in taken.value { close(descriptor) }
    }

    private func option(_ descriptor: CInt, _ level: CInt, _ name: CInt) -> CInt {
        var value: CInt = -1
        var size = socklen_t(MemoryLayout.size(ofValue: value))
        return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : -1
    }

    @Test("hands out connections that do not block, are closed on exec, and do not wait to fill a packet")
    func flags() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        try start(listener)
        let connections = try (0..<200).map { _ in try RawConnection(port: UInt16(listener.port)) }
        try eventually("all connections are taken") { taken.value.count == connections.count }
        #expect(Set(taken.value).count == connections.count)
        for descriptor in taken.value {
            #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
            #expect(option(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY) == 1)
        }
    }

    @Test("tells at which core a connection's packets arrive")
    func core() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        try start(listener)
        let all = Cores.ofThisThread().numbers
        for (count, core) in all.enumerated() {
            // On loopback they arrive where they are sent.
            _ = try onThreads(1) { _ in
                Cores([core]).keepThisThread()
                let connection = try RawConnection(port: UInt16(listener.port))
                try eventually("the connection is taken") { taken.value.count == count + 1 }
                #expect(!connection.hasInput(within: 0))
            }
        }
        #expect(cores.value == all)
    }

    @Test("takes nothing before it is started, and then what has come meanwhile")
    func start() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        let connection = try RawConnection(port: UInt16(listener.port))
        try value(of: loop.submit {})
        #expect(taken.value == [])
        try start(listener)
        try eventually("the connection is taken") { taken.value.count == 1 }
        #expect(!connection.hasInput(within: 0))
    }

    @Test("knows its port, of either family", arguments: ["127.0.0.1", "::1"])
    func port(host: String) throws {
        defer { end() }
        let listener = try listener(at: host)
        try start(listener)
        let address = try SocketAddress(ipAddress: host, port: listener.port)
        let client = socket(CInt(address.protocol.rawValue), CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(client) }
        #expect(address.withSockAddr { connect(client, $0, socklen_t($1)) } == 0)
        try eventually("the connection is taken") { taken.value.count == 1 }
    }

    @Test("says that its address is in use")
    func inUse() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        let error = #expect(throws: IOError.self) { try self.listener(at: "127.0.0.1", port: listener.port) }
        #expect(error?.errnoCode == EADDRINUSE)
        try value(of: loop.submit { listener.stop() })
    }

    @Test("takes no connection after it was stopped; what it has taken goes on")
    func stop() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        let port = UInt16(listener.port)
        try start(listener)
        let connection = try RawConnection(port: port)
        try eventually("the connection is taken") { taken.value.count == 1 }
        try value(
            of: loop.submit {
                listener.stop()
                listener.stop()
            }
        )
        #expect(throws: Failure.self) { try RawConnection(port: port) }
        #expect(!connection.hasInput(within: 0))
        #expect(taken.value.count == 1)
    }

    @Test("ends connections that wait to be taken as it is stopped")
    func waiting() throws {
        defer { end() }
        let listener = try listener(at: "127.0.0.1")
        let connection = try RawConnection(port: UInt16(listener.port))
        try value(of: loop.submit { listener.stop() })
        #expect(connection.ends())
        #expect(taken.value == [])
    }
}
