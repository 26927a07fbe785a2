internal import CPantler
import Glibc
package import NIOCore

/// A socket that takes connections. Used on its loop.
// @unchecked: what is not a constant is the loop's own: only `start`, `stop` and what the loop says touch it.
package final class ListeningSocket: EventSource, @unchecked Sendable {
    package let port: Int
    private let accepted: @Sendable (CInt, Int?) -> Void
    private let failed: @Sendable (IOError) -> Void
    private var isOpen = true
    /// Whether the last attempt to take a connection failed.
    private var isFailing = false

    /// How many connections may wait in the kernel to be taken.
    private static let backlog: CInt = 4096
    /// How many connections are taken at a time, before the loop's other sockets have their turn.
    private static let acceptsAtOnce = 16
    /// The pause before the next attempt where no descriptor is left: without one, the connection that waits would keep the loop busy.
    private static let pause = TimeAmount.milliseconds(100)

    /// Listens; nothing is taken before `start`.
    ///
    /// - Parameters:
    ///   - accepted: called with the descriptor of a connection, which it has to close, and the core at which its packets arrive, `nil` where
    ///     the system does not say. TCP_NODELAY is set, and it does not block.
    ///   - failed: called when a connection could not be taken, as where the process has too many files open; once, until one can.
    /// - Throws: `IOError`, as of an address that is in use.
    package init(
        on loop: SocketLoop,
        at address: SocketAddress,
        accepted: @escaping @Sendable (CInt, Int?) -> Void,
        failed: @escaping @Sendable (IOError) -> Void
    ) throws {
        let kind = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = try checked("socket") { socket(CInt(address.protocol.rawValue), kind, 0) }
        do {
            port = try Self.listen(descriptor, at: address)
        } catch {
            close(descriptor)
            throw error
        }
        self.accepted = accepted
        self.failed = failed
        super.init(descriptor, loop)
    }

    /// Binds the socket and listens. Returns the port.
    private static func listen(_ descriptor: CInt, at address: SocketAddress) throws -> Int {
        try set(descriptor, SOL_SOCKET, SO_REUSEADDR)
        // The connections that it takes inherit the option.
        try set(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY)
        _ = try address.withSockAddr { address, size in
            try checked("bind") { Glibc.bind(descriptor, address, socklen_t(size)) }
        }
        _ = try checked("listen") { Glibc.listen(descriptor, backlog) }
        // The port stands at the same place in an address of either family.
        var bound = sockaddr_in6()
        var size = socklen_t(MemoryLayout.size(ofValue: bound))
        _ = try withUnsafeMutableBytes(of: &bound) { bytes in
            try checked("getsockname") {
                getsockname(descriptor, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, &size)
            }
        }
        return Int(UInt16(bigEndian: bound.sin6_port))
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt) throws {
        var one: CInt = 1
        _ = try checked("setsockopt") {
            setsockopt(descriptor, level, option, &one, socklen_t(MemoryLayout.size(ofValue: one)))
        }
    }

    /// Takes connections from now on.
    package func start() throws {
        interest = EPOLLIN.rawValue
        try loop.add(self)
    }

    /// Closes the socket: connections that wait are refused.
    package func stop() {
        guard isOpen else { return }
        isOpen = false
        loop.remove(self)
        close(descriptor)
    }

    override func isReady(_ events: UInt32) {
        _ = loop.now
        defer { _ = loop.now }
        for _ in 0..<Self.acceptsAtOnce where isOpen {
            let connection = pantler_accept(descriptor)
            if connection >= 0 {
                isFailing = false
                accepted(connection, Self.core(of: connection))
                continue
            }
            switch errno {
            case EAGAIN: return
            // See accept(2): these are errors of a connection that is gone already. Another one may wait behind it.
            case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH,
                EPERM:
                continue
            default: return rest(IOError(errnoCode: errno, reason: "accept4"))
            }
        }
    }

    /// The core at which a connection's packets arrive; `nil` where the system does not say.
    private static func core(of connection: CInt) -> Int? {
        var core: CInt = -1
        var size = socklen_t(MemoryLayout.size(ofValue: core))
        guard getsockopt(connection, SOL_SOCKET, SO_INCOMING_CPU, &core, &size) == 0, core >= 0 else { return nil }
        return Int(core)
    }

    private func rest(_ error: IOError) {
        if !isFailing { failed(error) }
        isFailing = true
        wait(for: 0)
        waitAgainSoon()
    }

    private func waitAgainSoon() {
        _ = loop.scheduleTask(in: Self.pause) {
            // Where epoll has no memory for that, there are further attempts: a service has to listen.
            if !self.wait(for: EPOLLIN.rawValue) { self.waitAgainSoon() }
        }
    }

    /// Has the loop wait for connections, or not. Returns whether that could be done.
    @discardableResult
    private func wait(for events: UInt32) -> Bool {
        guard isOpen else { return true }
        interest = events
        do {
            try loop.update(self)
            return true
        } catch {
            return false
        }
    }

    override func loopEnds() { stop() }
}
