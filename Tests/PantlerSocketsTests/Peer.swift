import Glibc
import NIOCore
import Support

/// The other side of a connection. Blocks, but for a time only.
final class Peer: Sendable {
    private let descriptor: CInt
    private let isClosed = Shared(false)

    private static let seconds = 20.0

    private init(_ descriptor: CInt) { self.descriptor = descriptor }

    deinit { close() }

    /// A connection over TCP. The way to the peer has small buffers, so that a megabyte more than fills them.
    ///
    /// - Returns: also the near end's descriptor, which does not block.
    static func connection() throws -> (near: CInt, peer: Peer) {
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { Glibc.close(listener) }
        // What is accepted has the sizes from here.
        setBuffer(of: listener, SO_SNDBUF, 32 << 10)
        setBuffer(of: listener, SO_RCVBUF, 512 << 10)
        let peer = Peer(socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        setBuffer(of: peer.descriptor, SO_RCVBUF, 32 << 10)
        let anyPort = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
        guard anyPort.withSockAddr({ bind(listener, $0, socklen_t($1)) }) == 0, listen(listener, 1) == 0 else {
            throw Failure.ofSystem("listen")
        }
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port(of: listener))
        guard address.withSockAddr({ Glibc.connect(peer.descriptor, $0, socklen_t($1)) }) == 0 else {
            throw Failure.ofSystem("connect")
        }
        let near = accept(listener, nil, nil)
        guard near >= 0, fcntl(near, F_SETFL, O_NONBLOCK) == 0 else { throw Failure.ofSystem("accept") }
        return (near, peer)
    }

    private static func port(of listener: CInt) throws -> Int {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout.size(ofValue: address))
        return try withUnsafeMutableBytes(of: &address) { bytes in
            guard getsockname(listener, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, &size) == 0 else {
                throw Failure.ofSystem("getsockname")
            }
            // It stands behind the address family.
            return Int(UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self)))
        }
    }

    private static func setBuffer(of descriptor: CInt, _ option: CInt, _ bytes: CInt) {
        var size = bytes
        setsockopt(descriptor, SOL_SOCKET, option, &size, socklen_t(MemoryLayout.size(ofValue: size)))
    }

    /// Bytes that have come and were not read.
    var unread: Int {
        var count: CInt = 0
        return ioctl(descriptor, UInt(FIONREAD), &count) == 0 ? Int(count) : 0
    }

    /// Sends all of it, as fast as the socket takes it.
    func send(_ bytes: [UInt8]) throws {
        let deadline = Deadline(after: Self.seconds)
        try bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                try wait(for: POLLOUT, deadline)
                let piece = UnsafeRawBufferPointer(rebasing: rest)
                let flags = CInt(Int(MSG_NOSIGNAL) | Int(MSG_DONTWAIT))
                let sent = Glibc.send(descriptor, piece.baseAddress, piece.count, flags)
                if sent < 0 && (errno == EAGAIN || errno == EINTR) { continue }
                guard sent > 0 else { throw Failure.ofSystem("send") }
                rest = rest.dropFirst(sent)
            }
        }
    }

    /// Exactly so many bytes.
    func receive(_ count: Int) throws -> [UInt8] {
        let deadline = Deadline(after: Self.seconds)
        var bytes: [UInt8] = []
        while bytes.count < count {
            let some = try receiveSome(upTo: count - bytes.count, deadline)
            if some.isEmpty { throw Failure("ended after \(bytes.count) of \(count) bytes") }
            bytes += some
        }
        return bytes
    }

    /// All that comes before the end.
    func receiveAll() throws -> [UInt8] {
        let deadline = Deadline(after: Self.seconds)
        var bytes: [UInt8] = []
        while case let some = try receiveSome(upTo: 64 << 10, deadline), !some.isEmpty { bytes += some }
        return bytes
    }

    /// Empty at the end.
    private func receiveSome(upTo count: Int, _ deadline: Deadline) throws -> [UInt8] {
        try wait(for: POLLIN, deadline)
        var bytes = [UInt8](repeating: 0, count: count)
        let received = recv(descriptor, &bytes, count, 0)
        guard received >= 0 else { throw Failure.ofSystem("recv") }
        return Array(bytes[..<received])
    }

    private func wait(for events: CInt, _ deadline: Deadline) throws {
        var request = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while case let count = poll(&request, 1, deadline.remainingMilliseconds), count <= 0 {
            guard count < 0, errno == EINTR else { throw Failure("nothing within \(Self.seconds) s") }
        }
    }

    /// Says that nothing more will be sent.
    func finishSending() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// Ends the connection without a word: the near end's next call fails.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
        close()
    }

    func close() {
        let wasClosed = isClosed.update { isClosed in
            defer { isClosed = true }
            return isClosed
        }
        if !wasClosed { Glibc.close(descriptor) }
    }
}
