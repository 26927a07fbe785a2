internal import Glibc

/// One connection over a blocking socket, for one request at a time or a burst of them: cheap enough for a benchmark's client.
///
/// It reads only what Pantler sends: HTTP/1.1 with a Content-Length or in chunks. Anything else is an error, not a guess. Used by one thread.
final class LeanConnection {
    /// Why a request got no answer.
    struct Failure: Error {
        let reason: String

        init(_ reason: String) {
            self.reason = reason
        }

        static func system(_ what: String, _ error: Int32) -> Failure {
            let reason =
                error == EAGAIN || error == EINPROGRESS ? "no answer in time" : String(cString: strerror(error))
            return Failure("\(what): \(reason)")
        }
    }

    struct LeanAnswer {
        let status: Int
        /// The beginning of an error's body; else empty.
        let text: String
    }

    private static let bufferSize = 1 << 16
    /// How much of an error's body is kept.
    private static let keptBytes = 1000

    private let socket: Int32
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferSize, alignment: 16)
    /// Where the bytes begin and end in the buffer that were received and not read yet.
    private var start = 0
    private var end = 0

    init(to address: ServiceAddress, timeoutMilliseconds: Int64) throws(Failure) {
        socket = try Self.connect(address, timeoutMilliseconds)
    }

    deinit {
        close(socket)
        buffer.deallocate()
    }

    /// Sends a whole request and reads its whole answer.
    func exchange(_ request: [UInt8]) throws(Failure) -> LeanAnswer {
        try send(request)
        return try receive()
    }

    /// Sends whole requests. `receive` is to be called once for each of them.
    ///
    /// The service reads on while it can write its answers: a burst with large requests and large answers would wait for itself, until
    /// the timeout ends it.
    func send(_ bytes: [UInt8]) throws(Failure) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { bytes in
                Glibc.send(socket, bytes.baseAddress?.advanced(by: offset), bytes.count - offset, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system("sending", errno) }
            offset += count
        }
    }

    /// The next answer.
    func receive() throws(Failure) -> LeanAnswer {
        let headEnd = try receiveHead()
        let head = UnsafeRawBufferPointer(rebasing: buffer[start..<headEnd])
        let (status, length) = try Self.parse(head)
        start = headEnd
        guard let length else {
            while case let size = try receiveChunkSize(), size > 0 { try skip(size + 2) }
            try skip(2)
            return LeanAnswer(status: status, text: "")
        }
        let keeps = status >= 400 && status != 404
        let text =
            keeps ? String(decoding: buffer[start..<min(end, start + min(length, Self.keptBytes))], as: UTF8.self) : ""
        try skip(length)
        return LeanAnswer(status: status, text: text)
    }

    /// - Returns: where the body begins.
    private func receiveHead() throws(Failure) -> Int { try receive { emptyLine(from: $0) } }

    /// The size of a chunk, whose line is passed.
    private func receiveChunkSize() throws(Failure) -> Int {
        let lineEnd = try receive { buffer[$0..<end].firstIndex(of: UInt8(ascii: "\n")) }
        let digits = String(decoding: buffer[start..<lineEnd].prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        guard digits.utf8.count < 12, let size = Int(digits, radix: 16), size >= 0 else {
            throw Failure("the size of a chunk is no number")
        }
        start = lineEnd + 1
        return size
    }

    /// Receives until `find` finds something in what is there from a place on.
    private func receive(until find: (Int) -> Int?) throws(Failure) -> Int {
        var searched = start
        while true {
            if let found = find(searched) { return found }
            if start > 0 {
                // The rest of an earlier read goes to the front: an answer to come has room behind it.
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
                end -= start
                start = 0
            }
            searched = max(0, end - 3)
            guard end < buffer.count else {
                throw Failure("a head or a line of the answer has over \(buffer.count) bytes")
            }
            end += try read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[end...]))
        }
    }

    /// Where the first empty line from `index` on ends.
    private func emptyLine(from index: Int) -> Int? {
        var index = index
        while end - index >= 4 {
            guard let found = buffer[index + 3..<end].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            if buffer[found - 1] == UInt8(ascii: "\r"), buffer[found - 2] == UInt8(ascii: "\n"),
                buffer[found - 3] == UInt8(ascii: "\r")
            {
                return found + 1
            }
            index = found - 2
        }
        return nil
    }

    /// Skips a body, of which a part may have come with the head.
    private func skip(_ length: Int) throws(Failure) {
        var left = length
        let present = min(left, end - start)
        start += present
        left -= present
        if start == end { (start, end) = (0, 0) }
        while left > 0 {
            left -= try read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(left, buffer.count)]))
        }
    }

    private func read(into room: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        while true {
            let count = recv(socket, room.baseAddress, room.count, 0)
            if count > 0 { return count }
            if count == 0 { throw Failure("the service ended the connection") }
            guard errno == EINTR else { throw .system("receiving", errno) }
        }
    }

    /// Status and Content-Length of a head with the empty line that ends it; no length = the body comes in chunks.
    static func parse(_ head: UnsafeRawBufferPointer) throws(Failure) -> (status: Int, length: Int?) {
        guard head.count > 13, head.starts(with: "HTTP/1.1 ".utf8) else { throw Failure("the answer is no HTTP/1.1") }
        var status = 0
        for byte in head[9..<12] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else {
                throw Failure("the answer has no status")
            }
            status = status * 10 + Int(byte - UInt8(ascii: "0"))
        }
        if status == 204 || status == 304 { return (status, 0) }
        let name = StaticString("content-length:")
        var isChunked = false
        var offset = 0
        while let lineEnd = head[offset...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = head[offset..<lineEnd]
            offset = lineEnd + 1
            if line.elementsEqual("transfer-encoding: chunked\r".utf8, by: { $0 | 0x20 == $1 | 0x20 }) {
                isChunked = true
            }
            guard line.count > name.utf8CodeUnitCount, (line.first ?? 0) | 0x20 == UInt8(ascii: "c") else { continue }
            let matches = (0..<name.utf8CodeUnitCount).allSatisfy { index in
                let byte = line[line.startIndex + index]
                let lower = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
                return lower == name.utf8Start[index]
            }
            guard matches else { continue }
            var length = 0
            var digits = 0
            for byte in line[(line.startIndex + name.utf8CodeUnitCount)...] where byte > 0x20 {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte), digits < 12 else {
                    throw Failure("the answer's Content-Length is no number")
                }
                length = length * 10 + Int(byte - UInt8(ascii: "0"))
                digits += 1
            }
            if digits > 0 { return (status, length) }
        }
        guard isChunked else { throw Failure("the answer has no Content-Length") }
        return (status, nil)
    }

    private static func connect(_ address: ServiceAddress, _ timeoutMilliseconds: Int64) throws(Failure) -> Int32 {
        if let path = address.socket { return try connect(path, timeoutMilliseconds) }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address.host, "\(address.port)", &hints, &list)
        guard code == 0 else { throw Failure("\(address.host): \(String(cString: gai_strerror(code)))") }
        defer { freeaddrinfo(list) }
        var failure = Failure("\(address.host) has no address")
        var next = list
        while let candidate = next?.pointee {
            next = candidate.ai_next
            let socket = Glibc.socket(
                candidate.ai_family,
                candidate.ai_socktype | Int32(SOCK_CLOEXEC.rawValue),
                candidate.ai_protocol
            )
            guard socket >= 0 else {
                failure = .system("connecting", errno)
                continue
            }
            var on: Int32 = 1
            setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            setTimeout(of: socket, timeoutMilliseconds)
            if Glibc.connect(socket, candidate.ai_addr, candidate.ai_addrlen) == 0 { return socket }
            failure = .system("connecting", errno)
            close(socket)
        }
        throw failure
    }

    /// The same over a Unix socket.
    private static func connect(_ path: String, _ timeoutMilliseconds: Int64) throws(Failure) -> Int32 {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw .system("connecting", errno) }
        setTimeout(of: socket, timeoutMilliseconds)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path) - 1
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(room)) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result == 0 { return socket }
        defer { close(socket) }
        throw .system("connecting", errno)
    }

    private static func setTimeout(of socket: Int32, _ timeoutMilliseconds: Int64) {
        let (seconds, milliseconds) = timeoutMilliseconds.quotientAndRemainder(dividingBy: 1000)
        var timeout = timeval(tv_sec: Int(seconds), tv_usec: Int(milliseconds) * 1000)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, size)
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, size)
    }
}
