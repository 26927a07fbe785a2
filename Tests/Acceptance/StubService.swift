import Glibc
import Support
import Synchronization

/// Answers calls as it was told to, and keeps what was asked: for commands whose calls are to be seen byte by byte.
final class StubService: Sendable {
    struct Request: Sendable {
        /// `GET /v1/token`
        var call: String
        /// In lower case.
        var head: String
        var body: String
    }

    let url: String
    private let listener: Int32
    private let requests = Mutex<[Request]>([])
    private let answers: [String: (status: Int, body: String)]

    /// - Parameter answers: by call, as `GET /v1/token`; 404 for every other one.
    init(_ answers: [String: (status: Int, body: String)]) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 8) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isBound else { throw Failure("no port for a stub: errno \(errno)") }
        self.listener = listener
        self.answers = answers
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        _ = BackgroundThreads(1) { [weak self] _ in
            while true {
                let peer = accept(listener, nil, nil)
                guard peer >= 0 else { break }
                self?.answer(peer)
                close(peer)
            }
            close(listener)
        }
    }

    deinit { shutdown(listener, Int32(SHUT_RDWR)) }

    var asked: [Request] { requests.withLock { $0 } }

    private func answer(_ peer: Int32) {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(peer, &chunk, chunk.count)
            guard count > 0 else { return }
            bytes += chunk[..<count]
            let text = String(decoding: bytes, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { continue }
            let head = text[..<end.lowerBound].lowercased()
            let body = text[end.upperBound...]
            let length = head.split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                .flatMap { Int($0.dropFirst("content-length:".count).drop { $0 == " " }) }
            guard body.utf8.count >= length ?? 0 else { continue }
            let call = text.prefix { $0 != "\r\n" }.split(separator: " ").prefix(2).joined(separator: " ")
            requests.withLock { $0.append(Request(call: call, head: head, body: String(body))) }
            let answer = answers[call] ?? (404, #"{"code":"token_not_found","detail":"There is none."}"#)
            let reply =
                "HTTP/1.1 \(answer.status) Stub\r\nContent-Type: application/json\r\nContent-Length: \(answer.body.utf8.count)\r\n"
                + "Date: Mon, 30 Nov 2026 15:00:00 GMT\r\nConnection: close\r\n\r\n" + answer.body
            _ = Array(reply.utf8).withUnsafeBytes { write(peer, $0.baseAddress, $0.count) }
            return
        }
    }
}
