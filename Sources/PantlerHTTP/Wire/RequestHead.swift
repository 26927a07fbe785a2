internal import NIOCore
internal import NIOHTTP1
import PantlerModel

/// A head of the slow lane, judged as HTTP: everything that does not depend on what is asked for.
struct RequestHead {
    let method: Method
    /// Path and query, or `*`.
    let target: [UInt8]
    let headers: HTTPHeaders
    let isHTTP10: Bool
    /// Whether the client wants the connection to be kept.
    let isKeptAlive: Bool
    /// Bytes of the body; `nil` = chunked.
    let length: Int?
    /// Whether the client waits for a 100 before it sends the body.
    let expectsContinue: Bool
    /// Whether the decoder takes what follows for another protocol.
    let isUpgrade: Bool

    /// - Parameter method: as `readable` found it.
    /// - Throws: what no connection goes on after.
    init(_ head: HTTPRequestHead, _ method: Method, _ hosts: ServedHosts, _ limits: HTTPLimits) throws(Problem) {
        self.method = method
        headers = head.headers
        isHTTP10 = head.version.minor == 0
        isKeptAlive = head.isKeepAlive
        isUpgrade = headers.contains(name: "upgrade")
        if head.uri.utf8.count > limits.targetSize { throw Self.targetTooLong(limits) }
        let (target, authority) = try Self.target(head.uri)
        self.target = target
        length = try Self.length(headers, isHTTP10: isHTTP10)
        try Self.checkHost(headers, authority, isHTTP10: isHTTP10, hosts)
        expectsContinue = try Self.expectsContinue(headers, isHTTP10: isHTTP10)
    }

    /// Path and query, and the authority of a target in absolute form (RFC 9112, section 3.2).
    private static func target(_ uri: String) throws(Problem) -> (target: [UInt8], authority: String?) {
        let bytes = Array(uri.utf8)
        // What is not UTF-8 came out of the decoder as U+FFFD. Nobody can tell any more what it was.
        if uri.unicodeScalars.contains("\u{fffd}") {
            throw Problem(.badRequest, "The request's target is not UTF-8; bytes beyond it can be percent-encoded.")
        }
        if bytes.contains(UInt8(ascii: "#")) {
            throw Problem(.badRequest, "The request's target has a '#'; in a key it is written '%23'.")
        }
        if bytes.first == UInt8(ascii: "/") || uri == "*" { return (bytes, nil) }
        for scheme in ["http://", "https://"] where uri.asciiLowercased.hasPrefix(scheme) {
            let rest = bytes.dropFirst(scheme.utf8.count)
            let authority = rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
            let target = Array(rest.dropFirst(authority.count))
            let path = target.first == UInt8(ascii: "/") ? target : [UInt8(ascii: "/")] + target
            return (path, String(decoding: authority, as: UTF8.self))
        }
        throw Problem(.badRequest, "The request's target is no path.")
    }

    /// A field's values, line by line. The decoder leaves the space that may stand behind a value.
    private static func values(_ headers: HTTPHeaders, _ name: String) -> [String] {
        headers[name].map { String(trimmed($0)) }
    }

    /// The decoder refuses most of what is refused here; where a message ends is looked at twice.
    private static func length(_ headers: HTTPHeaders, isHTTP10: Bool) throws(Problem) -> Int? {
        let lengths = values(headers, "content-length")
        let codings = values(headers, "transfer-encoding")
        guard codings.isEmpty else {
            guard lengths.isEmpty else {
                throw Problem(.badRequest, "The request has a Content-Length and a Transfer-Encoding.")
            }
            guard !isHTTP10, codings.count == 1, codings[0].asciiLowercased == "chunked" else {
                throw Problem(.badRequest, "The only Transfer-Encoding taken is 'chunked', in HTTP/1.1.")
            }
            return nil
        }
        guard let text = lengths.first else { return 0 }
        guard lengths.count == 1, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text) else {
            throw Problem(.badRequest, "The Content-Length is no number.")
        }
        return length
    }

    private static func checkHost(
        _ headers: HTTPHeaders,
        _ authority: String?,
        isHTTP10: Bool,
        _ hosts: ServedHosts
    ) throws(Problem) {
        let fields = values(headers, "host")
        guard fields.count <= 1, isHTTP10 || fields.first?.isEmpty == false else {
            throw Problem(.badRequest, "The request needs one Host field.")
        }
        for name in [authority, fields.first].compactMap(\.self) where !hosts.serves(name) {
            throw Problem(.hostNotServed, "The name \(Problem.quoted(name)) is not served here.")
        }
    }

    /// RFC 9110, section 10.1.1.
    private static func expectsContinue(_ headers: HTTPHeaders, isHTTP10: Bool) throws(Problem) -> Bool {
        let expectations = values(headers, "expect")
        guard !expectations.isEmpty, !isHTTP10 else { return false }
        guard expectations.allSatisfy({ $0.asciiLowercased == "100-continue" }) else {
            let expected = Problem.quoted(expectations.joined(separator: ", "))
            throw Problem(.expectationFailed, "The expectation \(expected) cannot be met; '100-continue' can.")
        }
        return true
    }
}

// MARK: Methods

extension RequestHead {
    private static let methods: [(name: [UInt8], method: Method)] = [
        ("GET", .get), ("HEAD", .head), ("PUT", .put), ("POST", .post), ("PATCH", .patch), ("DELETE", .delete),
        ("OPTIONS", .options),
    ].map { (Array(($0 as String).utf8), $1) }

    /// A head as the decoder can read it, and its method.
    ///
    /// The decoder knows the registered methods alone, and takes some of them for another protocol's. A path tells about any that it
    /// does not take. So what is none of ours is read as a POST: where a request ends does not depend on its method.
    static func readable(_ head: ByteBuffer) -> (head: ByteBuffer, method: Method) {
        let token = head.readableBytesView.prefix { MediaType.isTokenByte($0) }
        if let known = methods.first(where: { token.elementsEqual($0.name) }) { return (head, known.method) }
        guard (1...64).contains(token.count) else { return (head, .other) }
        var readable = ByteBuffer(string: "POST")
        readable.writeBytes(head.readableBytesView.dropFirst(token.count))
        return (readable, .other)
    }
}

// MARK: Problems

extension RequestHead {
    static let unreadable = Problem(.badRequest, "What came is no HTTP/1.1 request.")

    static func bodyTooLarge(_ limit: Int) -> Problem {
        Problem(.bodyTooLarge, "The body is too large; at most \(limit) bytes are taken.")
    }

    private static func targetTooLong(_ limits: HTTPLimits) -> Problem {
        Problem(.uriTooLong, "The request's target is too long; at most \(limits.targetSize) bytes are taken.")
    }

    /// What to say of a head that goes on beyond the limit.
    ///
    /// - Parameter start: as much of it as may be.
    static func tooLong(_ start: some Sequence<UInt8>, _ limits: HTTPLimits) -> Problem {
        let line = start.prefix { $0 != UInt8(ascii: "\n") }
        let target = line.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix { $0 != UInt8(ascii: " ") }
        return target.reduce(0) { count, _ in count + 1 } > limits.targetSize
            ? targetTooLong(limits) : headersTooLarge(limits)
    }

    private static func headersTooLarge(_ limits: HTTPLimits) -> Problem {
        Problem(.headersTooLarge, "The request's head is too large; at most \(limits.headSize) bytes are taken.")
    }

    /// What the decoder's errors are to a client.
    static func problem(_ error: any Error) -> Problem {
        switch error {
        case let problem as Problem: problem
        case HTTPParserError.headerOverflow:
            Problem(.headersTooLarge, "The request has too many header fields, or too large ones.")
        case HTTPParserError.invalidVersion: Problem(.badRequest, "The request speaks another HTTP than 1.0 and 1.1.")
        default: unreadable
        }
    }
}
