internal import Glibc
package import NIOSSL

/// A connection that sends exactly the bytes it is given and reads whole responses. Blocks, but never past its deadline; of one thread.
///
/// To a port of `TLSPorts` it speaks TLS, with what is sent and read in it.
package final class RawConnection {
    private let descriptor: Int32
    private let seconds: Double
    private var tls: TLSClient?
    private var buffer: [UInt8] = []
    /// Where in `buffer` the unread bytes begin.
    private var start = 0

    /// - Parameter seconds: how long any one call may take.
    package init(port: UInt16, within seconds: Double = 30) throws {
        self.seconds = seconds
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.system("socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr = in_addr(s_addr: UInt32(INADDR_LOOPBACK).bigEndian)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // `deinit` closes the descriptor here too: all properties are set.
        guard connected == 0 else { throw Failure.system("connect to port \(port)") }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        if let context = TLSPorts[port] { try startTLS(context) }
    }

    /// Speaks TLS from now on.
    package func startTLS(_ context: NIOSSLContext) throws {
        let tls = try TLSClient(context)
        self.tls = tls
        let deadline = Deadline(after: seconds)
        while !tls.isReady {
            try sendRaw(tls.outgoing(), deadline)
            guard try fillOnce(deadline) else { throw Failure("the server has ended the handshake") }
        }
        try sendRaw(tls.outgoing(), deadline)
    }

    /// The protocol that was agreed on in the handshake.
    package var negotiatedProtocol: String? { tls?.negotiatedProtocol }

    /// The same to a Unix socket.
    package init(unix path: String, within seconds: Double = 30) throws {
        self.seconds = seconds
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure.system("socket") }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { throw Failure.system("connect to \(path)") }
    }

    deinit {
        close(descriptor)
    }

    /// Sends all of it, as fast as the other side takes it.
    package func send(_ bytes: some ContiguousBytesOfTest) throws {
        let deadline = Deadline(after: seconds)
        try bytes.withRawBytes { bytes in
            if let tls { try sendRaw(tls.encrypt(bytes), deadline) } else { try sendRaw(bytes, deadline) }
        }
    }

    private func sendRaw(_ bytes: [UInt8], _ deadline: Deadline) throws {
        try bytes.withUnsafeBytes { try sendRaw($0, deadline) }
    }

    private func sendRaw(_ bytes: UnsafeRawBufferPointer, _ deadline: Deadline) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            try wait(for: POLLOUT, deadline)
            let sent = Glibc.send(
                descriptor,
                UnsafeRawBufferPointer(rebasing: rest).baseAddress,
                rest.count,
                Int32(Int(MSG_NOSIGNAL) | Int(MSG_DONTWAIT))
            )
            if sent < 0 && (errno == EAGAIN || errno == EINTR) { continue }
            guard sent > 0 else { throw Failure.system("send") }
            rest = rest.dropFirst(sent)
        }
    }

    /// Sends it piece by piece, and stops where an answer comes before the end, as a careful client does.
    package func sendUntilAnswered(_ bytes: [UInt8], piece: Int = 4096) throws {
        for begin in stride(from: 0, to: bytes.count, by: piece) {
            if hasInput(within: 0) { return }
            do {
                try send(Array(bytes[begin..<min(begin + piece, bytes.count)]))
            } catch  where hasInput(within: 0) {
                return
            }
        }
    }

    /// Whether the other side has said in TLS that it sends no more.
    package var hasEndedInTLS: Bool { tls?.hasEnded == true }

    /// Says that nothing more will be sent.
    ///
    /// - Parameter inTLS: whether TLS says it too, where it is spoken.
    package func finishSending(inTLS: Bool = true) {
        if inTLS, let tls, let last = try? tls.finish() { try? sendRaw(last, Deadline(after: seconds)) }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// The next response, also a 100.
    ///
    /// - Parameter toHead: whether it answers a HEAD, and so has no body whatever its headers say.
    package func receive(toHead: Bool = false) throws -> Response {
        let deadline = Deadline(after: seconds)
        var response = try Response(head: takeHead(deadline))
        if toHead || response.status < 200 || response.status == 204 || response.status == 304 { return response }
        if let length = response["Content-Length"] {
            guard let count = Int(length) else { throw Failure("Content-Length: \(length)") }
            response.body = try take(count, deadline)
        } else if response["Transfer-Encoding"]?.lowercased() == "chunked" {
            while case let size = try Int(takeLine(deadline), radix: 16) ?? 0, size > 0 {
                response.body += try take(size, deadline)
                _ = try takeLine(deadline)
            }
            _ = try takeLine(deadline)
        } else {
            while try fill(deadline) {}
            response.body = Array(buffer[start...])
            start = buffer.count
        }
        return response
    }

    /// Whether the other side has ended the connection with nothing more to say, or does so in time.
    package func ends(within seconds: Double = 10) -> Bool {
        guard start == buffer.count else { return false }
        do {
            return try !fill(Deadline(after: seconds))
        } catch let failure as Failure {
            return failure.description.hasSuffix("reset by peer")
        } catch {
            return false
        }
    }

    /// Whether anything, or the end, can be read now or in time.
    package func hasInput(within seconds: Double) -> Bool {
        if start < buffer.count { return true }
        let deadline = Deadline(after: seconds)
        while true {
            var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&request, 1, deadline.remainingMilliseconds) > 0 else { return false }
            // What came may be TLS's own.
            guard tls != nil else { return true }
            let isThere = try? fillOnce(deadline)
            if isThere != true || start < buffer.count { return true }
        }
    }

    private func takeHead(_ deadline: Deadline) throws -> String {
        while true {
            if let end = find([13, 10, 13, 10]) {
                defer { start = end + 4 }
                return String(decoding: buffer[start..<end], as: UTF8.self)
            }
            try fillOrFail(deadline)
        }
    }

    private func takeLine(_ deadline: Deadline) throws -> String {
        while true {
            if let end = find([13, 10]) {
                defer { start = end + 2 }
                return String(decoding: buffer[start..<end], as: UTF8.self)
            }
            try fillOrFail(deadline)
        }
    }

    private func take(_ count: Int, _ deadline: Deadline) throws -> [UInt8] {
        while buffer.count - start < count { try fillOrFail(deadline) }
        defer { start += count }
        return Array(buffer[start..<start + count])
    }

    /// Where in the buffer a pattern begins that ends in a line feed.
    private func find(_ pattern: [UInt8]) -> Int? {
        buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return nil }
            var from = start
            while from < bytes.count, let feed = memchr(base + from, 10, bytes.count - from) {
                let end = UnsafeRawPointer(feed) - base + 1
                let begin = end - pattern.count
                if begin >= start, bytes[begin..<end].elementsEqual(pattern) { return begin }
                from = end
            }
            return nil
        }
    }

    private func fillOrFail(_ deadline: Deadline) throws {
        guard try fill(deadline) else {
            throw Failure("connection ended by the other side after \(buffer.count - start) bytes of an answer")
        }
    }

    /// Reads what is there; `false` at the end.
    private func fill(_ deadline: Deadline) throws -> Bool {
        let unread = buffer.count - start
        while try fillOnce(deadline) {
            if buffer.count - start > unread { return true }
        }
        return buffer.count - start > unread
    }

    /// The same with what may be nothing but TLS's own.
    private func fillOnce(_ deadline: Deadline) throws -> Bool {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: true)
            start = 0
        }
        try wait(for: POLLIN, deadline)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count >= 0 else { throw Failure.system("recv") }
        guard let tls else {
            buffer += chunk[..<count]
            return count > 0
        }
        guard count > 0 else { return false }
        buffer += try tls.receive(Array(chunk[..<count]))
        return !tls.hasEnded
    }

    private func wait(for events: Int32, _ deadline: Deadline) throws {
        var request = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while true {
            let count = poll(&request, 1, deadline.remainingMilliseconds)
            if count > 0 { return }
            if count < 0 && errno == EINTR { continue }
            throw Failure("no \(events == POLLIN ? "answer" : "room to send") within \(seconds) s")
        }
    }
}

/// What a connection can send: texts, arrays, and slices that should not be copied.
package protocol ContiguousBytesOfTest {
    func withRawBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws -> Answer) rethrows -> Answer
}

extension [UInt8]: ContiguousBytesOfTest {
    package func withRawBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws -> Answer) rethrows -> Answer {
        try withUnsafeBytes(body)
    }
}

extension ArraySlice<UInt8>: ContiguousBytesOfTest {
    package func withRawBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws -> Answer) rethrows -> Answer {
        try withUnsafeBytes(body)
    }
}

extension String: ContiguousBytesOfTest {
    package func withRawBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws -> Answer) rethrows -> Answer {
        try Array(utf8).withUnsafeBytes(body)
    }
}

extension Failure {
    /// The system's own words for what just failed.
    static func system(_ call: String) -> Failure {
        Failure("\(call): \(String(cString: strerror(errno)).lowercased())")
    }
}

/// A port of the loopback address that nobody listens on.
package func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr = in_addr(s_addr: UInt32(INADDR_LOOPBACK).bigEndian)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
    }
    guard bound else { throw Failure.system("bind") }
    return UInt16(bigEndian: address.sin_port)
}
