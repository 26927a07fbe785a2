import Glibc

/// What an event loop waits for: a socket. Only ever touched on its loop.
package class EventSource {
    let descriptor: CInt
    package let loop: SocketLoop

    /// What the loop waits for: `EPOLLIN`, or that nothing more will come (`EPOLLRDHUP`), `EPOLLOUT`, some of them or none; errors and the
    /// other side's going away always are.
    var interest: UInt32 = 0
    /// The number by which the loop knows it.
    var token: UInt64 = 0

    init(_ descriptor: CInt, _ loop: SocketLoop) {
        self.descriptor = descriptor
        self.loop = loop
    }

    /// Called when something is ready: with epoll's bits.
    func isReady(_ events: UInt32) {}

    /// The memory that its turn will need, to be fetched ahead.
    var ahead: (socket: MemoryAhead, reader: MemoryAhead) { (MemoryAhead(), MemoryAhead()) }

    /// Called when the loop ends.
    func loopEnds() {}
}
