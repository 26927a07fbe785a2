internal import CPantler
import Glibc
package import NIOCore

/// A socket that takes connections. Used on its loop.
// @unchecked: what is not a constant is the loop's own: only `start`, `stop` and what the loop says touch it.
package final class ListeningSocket: EventSource, @unchecked Sendable {
    /// 0 for a Unix socket.
    package var port: Int { bound.port }
    /// Whether others have the socket too.
    package var isInherited: Bool { bound.isInherited }
    private let bound: BoundSocket
    private let accepted: @Sendable (CInt, PeerAddress, Int?) -> Void
    private let failed: @Sendable (IOError) -> Void
    private var isOpen = true
    /// Whether the last attempt to take a connection failed.
    private var isFailing = false

    /// How many connections are taken at a time, before the loop's other sockets have their turn.
    private static let acceptsAtOnce = 16
    /// The pause before the next attempt where no descriptor is left: without one, the connection that waits would keep the loop busy.
    private static let pause = TimeAmount.milliseconds(100)

    /// Nothing is taken before `start`.
    ///
    /// - Parameters:
    ///   - bound: from now on its end is that of this.
    ///   - accepted: called with the descriptor of a connection, which it has to close, with its other end, and the core at which its packets
    ///     arrive, `nil` where the system does not say. TCP_NODELAY is set where it is of TCP, and it does not block.
    ///   - failed: called when a connection could not be taken, as where the process has too many files open; once, until one can.
    package init(
        _ bound: BoundSocket,
        on loop: SocketLoop,
        accepted: @escaping @Sendable (CInt, PeerAddress, Int?) -> Void,
        failed: @escaping @Sendable (IOError) -> Void
    ) {
        self.bound = bound
        self.accepted = accepted
        self.failed = failed
        super.init(bound.descriptor, loop)
    }

    /// Takes connections from now on.
    package func start() throws {
        interest = EPOLLIN.rawValue
        try loop.add(self)
    }

    /// Takes no connection any more. Those that wait are refused, but where the socket was handed over: there they wait for the next process.
    package func stop() {
        guard isOpen else { return }
        isOpen = false
        loop.remove(self, isShared: bound.isInherited)
        bound.close()
    }

    override func isReady(_ events: UInt32) {
        _ = loop.now
        defer { _ = loop.now }
        for _ in 0..<Self.acceptsAtOnce where isOpen {
            var peer = pantler_peer()
            let connection = pantler_accept(descriptor, &peer)
            if connection >= 0 {
                isFailing = false
                accepted(connection, PeerAddress(peer), bound.isUnix ? nil : Self.core(of: connection))
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
        let core = option(connection, SOL_SOCKET, SO_INCOMING_CPU)
        return core >= 0 ? Int(core) : nil
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
