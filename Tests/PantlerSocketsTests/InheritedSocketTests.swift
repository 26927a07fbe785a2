import Glibc
import NIOCore
import Support
import Testing

@testable import PantlerSockets

@Suite("A socket that was handed over")
struct InheritedSocketTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func listener(at host: String) throws -> BoundSocket {
        try BoundSocket(at: SocketAddress(ipAddress: host, port: 0))
    }

    @Test("tells what it is bound to", arguments: ["127.0.0.1", "::1", "::"])
    func name(host: String) throws {
        defer { folder.remove() }
        let bound = try listener(at: host)
        defer { bound.close() }
        let socket = InheritedSocket(bound.descriptor, label: "http")
        #expect(socket.isListening)
        #expect(socket.name.port == bound.port)
        #expect(socket.name.description == (host.contains(":") ? "[\(host)]:\(bound.port)" : "\(host):\(bound.port)"))
        #expect(try HostAddresses(of: host, port: 1).contains(socket.name))
        #expect(try HostAddresses(of: "127.0.0.2", port: 1).contains(socket.name) == false)
        if case .address(_, _, let isIPv6Only) = socket.name { #expect(isIPv6Only == host.contains(":")) }
    }

    @Test("a Unix socket tells its path; what takes no connections is known")
    func others() throws {
        defer { folder.remove() }
        let unix = try BoundSocket(at: folder.file("s"), mode: 0o600, group: nil)
        defer { unix.close() }
        guard case .path = InheritedSocket(unix.descriptor, label: nil).name else {
            Issue.record("no path")
            return
        }
        #expect(try BoundSocket(InheritedSocket(unix.descriptor, label: nil)).isUnix)
        var ends: [CInt] = [-1, -1]
        #expect(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { for end in ends { close(end) } }
        #expect(!InheritedSocket(ends[0], label: nil).isListening)
        let file = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        #expect(!InheritedSocket(file, label: nil).isListening)
        #expect(InheritedSocket(file, label: nil).name == .other)
    }

    @Test("is this process's only where LISTEN_PID is its own")
    func variables() throws {
        defer { folder.remove() }
        let first = try listener(at: "127.0.0.1")
        defer { first.close() }
        func sockets(_ process: String?, _ count: String?, _ names: String? = nil) -> [InheritedSocket] {
            InheritedSocket.sockets(process: process, count: count, names: names, first: first.descriptor)
        }
        let own = "\(getpid())"
        #expect(fcntl(first.descriptor, F_SETFD, 0) == 0)
        #expect(sockets(own, "1").map(\.descriptor) == [first.descriptor])
        #expect(fcntl(first.descriptor, F_GETFD) == FD_CLOEXEC, "no program that this one starts has it")
        #expect(sockets(own, "1", "http:x").map(\.label) == ["http"])
        #expect(sockets(own, "1", "").map(\.label) == [""])
        for (process, count) in [("1", "1"), (own, "0"), (own, "-1"), (own, "x"), ("", "1"), ("x", "1")] {
            #expect(sockets(process, count).isEmpty, "\(process) \(count)")
        }
        #expect(sockets(nil, "1").isEmpty && sockets(own, nil).isEmpty)
        // More than there are: those that there are.
        #expect(sockets(own, "\(CInt.max)").first?.descriptor == first.descriptor)
    }

    @Test("what waits to be taken waits on when one process lets go of it, and epoll forgets it")
    func handOver() throws {
        defer { folder.remove() }
        let bound = try listener(at: "127.0.0.1")
        defer { bound.close() }
        let loop = try SocketLoop(name: "test")
        defer { loop.end {} }
        let taken = Shared<[CInt]>([])
        func takes() throws -> ListeningSocket {
            ListeningSocket(
                try BoundSocket(InheritedSocket(fcntl(bound.descriptor, F_DUPFD_CLOEXEC, 3), label: nil)),
                on: loop,
                accepted: { descriptor, _, _ in taken.update { $0.append(descriptor) } },
                failed: { Issue.record("\($0)") }
            )
        }
        let first = try takes()
        try value(of: loop.submit { try first.start() })
        let early = try RawConnection(port: UInt16(first.port))
        try eventually("it is taken") { taken.value.count == 1 }
        try value(of: loop.submit { first.stop() })
        let waiting = try RawConnection(port: UInt16(first.port))
        // The loop would be told of it in vain, again and again, if it still waited for the socket.
        try value(of: loop.submit {})
        #expect(taken.value.count == 1)
        let second = try takes()
        try value(of: loop.submit { try second.start() })
        try eventually("the next one takes it") { taken.value.count == 2 }
        #expect(!early.hasInput(within: 0) && !waiting.hasInput(within: 0))
        try value(of: loop.submit { second.stop() })
        for descriptor in taken.value { close(descriptor) }
    }
}

@Suite("The addresses of a listener's host")
struct HostAddressesTests {
    private func addresses(_ host: String) throws -> [String] {
        try HostAddresses(of: host, port: 80).all.compactMap(\.ipAddress)
    }

    @Test("an address is itself, * is all, and localhost is this machine by both families")
    func names() throws {
        #expect(try addresses("127.0.0.1") == ["127.0.0.1"])
        #expect(try addresses("::1") == ["::1"])
        #expect(try addresses("*") == ["0.0.0.0", "::"])
        #expect(try addresses("LocalHost") == ["127.0.0.1", "::1"])
        #expect(try HostAddresses(of: "*", port: 80).all.allSatisfy { $0.port == 80 })
        #expect(throws: HostAddressesError.self) { try HostAddresses(of: "no-such-host.invalid", port: 80) }
    }

    @Test(":: leaves IPv4 to others")
    func families() throws {
        let second = try BoundSocket(at: SocketAddress(ipAddress: "::", port: 0))
        defer { second.close() }
        let first = try BoundSocket(at: SocketAddress(ipAddress: "0.0.0.0", port: second.port))
        first.close()
    }
}
