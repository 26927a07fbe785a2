import Glibc

/// What an event loop waits for: a socket. Only ever touched on its loop.
package class EventSource {
    let descriptor: CInt
    package let loop: SocketLoop

    /// What is waited for: `EPOLLIN`, `EPOLLOUT`, both or none; errors and the other side's going away always are.
    var interest: UInt32 = 0
    /// What the loop knows it by.
    var token: UInt64 = 0

    init(_ descriptor: CInt, _ loop: SocketLoop) {
        self.descriptor = descriptor
        self.loop = loop
    }

    /// Something has come of it: epoll's bits.
    func isReady(_ events: UInt32) {}

    /// What its turn needs of memory.
    var ahead: (socket: MemoryAhead, reader: MemoryAhead) { (MemoryAhead(), MemoryAhead()) }

    /// The loop ends, and is not to be waited for any more.
    func loopEnds() {}
}
