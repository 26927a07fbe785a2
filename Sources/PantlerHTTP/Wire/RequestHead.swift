internal import NIOCore
internal import NIOHTTP1
import PantlerModel

/// A request's head in the slow lane, judged as HTTP: all that does not depend on what is asked for.
struct RequestHead {
    let method: Method
    /// Path and query, or `*`.
    let target: [UInt8]
    private(set) var headers: HTTPHeaders
    /// What the answer is marked by.
    let requestID: RequestID
    let isHTTP10: Bool
    /// Whether the client wants the connection to be kept.
    let isKeptAlive: Bool
    /// Bytes of the body; `nil` = chunked.
    let length: Int?
    /// Whether the client waits for a 100 before it sends the body.
    let expectsContinue: Bool
    /// Whether the decoder takes what follows for another protocol.
    let isUpgrade: Bool
    /// Whether it is to change something, and comes from a page of another site.
    let isCrossSite: Bool

    /// - Parameter method: as `readable` found it.
    /// - Throws: a problem after which no connection goes on.
    init(_ head: HTTPRequestHead, _ method: Method, _ hosts: ServedHosts, _ limits: HTTPLimits) throws(Problem) {
        guard head.version.major == 1, head.version.minor <= 1 else { throw Self.versionNotSupported }
        self.method = method
        headers = head.headers
        requestID = RequestID(head.headers)
        isHTTP10 = head.version.minor == 0
        isKeptAlive = head.isKeepAlive
        isUpgrade = headers.contains(name: "upgrade")
        if head.uri.utf8.count > limits.targetSize { throw Self.targetTooLong(limits) }
        let (target, authority) = try Self.target(head.uri)
        self.target = target
        length = try Self.length(headers, isHTTP10: isHTTP10)
        try Self.checkHost(headers, authority, target, isHTTP10: isHTTP10, hosts)
        isCrossSite = !method.isSafe && Self.isCrossSite(headers, authority)
        expectsContinue = try Self.expectsContinue(headers, isHTTP10: isHTTP10)
    }

    /// Lets go of all fields but the one that the log tells of.
    mutating func dropFields() {
        var kept = HTTPHeaders()
        if let trace = headers["traceparent"].first { kept.add(name: "traceparent", value: trace) }
        headers = kept
    }

    /// Path and query, and the authority of a target in absolute form (RFC 9112, section 3.2).
    private static func target(_ uri: String) throws(Problem) -> (target: [UInt8], authority: String?) {
        let bytes = Array(uri.utf8)
        // The decoder has made U+FFFD of bytes that are not UTF-8, so that nobody can tell any more what they were.
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

    /// Bytes of the body; `nil` = chunked. The decoder refuses most of what is refused here, but where a message ends is looked at twice.
    private static func length(_ headers: HTTPHeaders, isHTTP10: Bool) throws(Problem) -> Int? {
        let lengths = values(headers, "content-length")
        let codings = values(headers, "transfer-encoding")
        guard codings.isEmpty else {
            guard lengths.isEmpty else {
                throw Problem(.badRequest, "The request has a Content-Length and a Transfer-Encoding.")
            }
            guard !isHTTP10, codings.count == 1, codings[0].asciiLowercased == "chunked" else {
                throw unknownCoding(codings)
                    ?? Problem(.badRequest, "Transfer-Encoding is 'chunked', once, in HTTP/1.1.")
            }
            return nil
        }
        guard let text = lengths.first else { return 0 }
        guard lengths.count == 1, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text) else {
            throw Problem(.badRequest, "The Content-Length is no number.")
        }
        return length
    }

    /// The problem to tell if one of the transfer codings is not known here. It is `nil` where another coding follows `chunked`, because
    /// that frames no message (RFC 9112, sections 6.1 and 6.3).
    private static func unknownCoding(_ fields: [String]) -> Problem? {
        let codings = fields.flatMap { $0.split(separator: ",").map { trimmed($0).asciiLowercased } }
        guard let unknown = codings.first(where: { $0 != "chunked" }), !codings.dropLast().contains("chunked"),
            unknown.utf8.allSatisfy(MediaType.isTokenByte)
        else { return nil }
        return Problem(
            .transferCodingNotSupported,
            "The transfer coding \(Problem.quoted(unknown)) is not known here; 'chunked' is."
        )
    }

    /// Whether a target is served whatever the client calls the server. Probes and metrics are, because they show nothing of any entry.
    private static func isForAnyHost(_ target: [UInt8]) -> Bool {
        let path = target.prefix { $0 != UInt8(ascii: "?") }.count
        switch target.withUnsafeBytes({ Route($0, path: 0..<path) })?.resource {
        case .livez, .readyz, .metrics: return true
        default: return false
        }
    }

    private static func checkHost(
        _ headers: HTTPHeaders,
        _ authority: String?,
        _ target: [UInt8],
        isHTTP10: Bool,
        _ hosts: ServedHosts
    ) throws(Problem) {
        let fields = values(headers, "host")
        guard fields.count <= 1, isHTTP10 || fields.first?.isEmpty == false else {
            throw Problem(.badRequest, "The request needs one Host field.")
        }
        for name in [authority, fields.first].compactMap(\.self) where !hosts.serves(name) && !isForAnyHost(target) {
            throw Problem(
                .hostNotServed,
                "The name \(Problem.quoted(name)) is not served here: the setting server.allowed_hosts lists those that are."
            )
        }
    }

    /// Whether a browser says that a page of another site sends the request (Fetch Metadata Request Headers, section 2.3; RFC 6454, section
    /// 7). Programs say nothing of a page. A page's own name and port are those that the request is for.
    private static func isCrossSite(_ headers: HTTPHeaders, _ authority: String?) -> Bool {
        if values(headers, "sec-fetch-site").contains(where: { $0.asciiLowercased == "cross-site" }) { return true }
        let origins = values(headers, "origin")
        if origins.isEmpty { return false }
        guard origins.count == 1, let host = authority ?? values(headers, "host").first else { return true }
        return !Origin.isOrigin(origins[0], of: host)
    }

    /// Whether the client waits for a 100 (RFC 9110, section 10.1.1).
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
    /// The decoder knows only the registered methods, and takes some of them for another protocol's. But a client is to be told of any
    /// method that the path does not take it. So a method that is not known here is read as a POST: where a request ends does not depend on
    /// its method.
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

    private static let versionNotSupported = Problem(
        .versionNotSupported,
        "The request speaks another HTTP than 1.0 and 1.1."
    )

    /// Whether a head that is not whole yet can become one: it begins like a method, and its first line, once that is there, ends with a
    /// version. So a client that speaks something else, like TLS, is told at once, and not after a timeout.
    static func canBecomeHead(_ bytes: UnsafeRawBufferPointer, from start: Int = 0) -> Bool {
        guard let first = bytes.first, MediaType.isTokenByte(first) else { return false }
        guard bytes[start...].contains(UInt8(ascii: "\n")), let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            return true
        }
        let line = bytes[..<end].dropLast(end > 0 && bytes[end - 1] == UInt8(ascii: "\r") ? 1 : 0)
        return line.count > 9 && line.suffix(9).starts(with: " HTTP/".utf8)
    }

    static func bodyTooLarge(_ limit: Int) -> Problem {
        Problem(.bodyTooLarge, "The body is too large; at most \(limit) bytes are taken.")
    }

    private static func targetTooLong(_ limits: HTTPLimits) -> Problem {
        Problem(.uriTooLong, "The request's target is too long; at most \(limits.targetSize) bytes are taken.")
    }

    /// The problem to tell of a head that is longer than the limit.
    ///
    /// - Parameter start: as much of the head as is allowed.
    static func tooLong(_ start: some Sequence<UInt8>, _ limits: HTTPLimits) -> Problem {
        let line = start.prefix { $0 != UInt8(ascii: "\n") }
        let target = line.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix { $0 != UInt8(ascii: " ") }
        return target.reduce(0) { count, _ in count + 1 } > limits.targetSize
            ? targetTooLong(limits) : headersTooLarge(limits)
    }

    private static func headersTooLarge(_ limits: HTTPLimits) -> Problem {
        Problem(.headersTooLarge, "The request's head is too large; at most \(limits.headSize) bytes are taken.")
    }

    /// The problem that a client is told of an error of the decoder.
    ///
    /// - Parameter head: what the decoder was given, where it was a head.
    static func problem(_ error: any Error, head: ByteBuffer = ByteBuffer()) -> Problem {
        switch error {
        case let problem as Problem: problem
        case HTTPParserError.headerOverflow:
            Problem(.headersTooLarge, "The request has too many header fields, or too large ones.")
        case HTTPParserError.invalidVersion where saysVersion(head): versionNotSupported
        // The decoder has this error for many faults, of which an unknown transfer coding is one.
        case HTTPParserError.unknown: unknownCoding(in: head) ?? unreadable
        default: unreadable
        }
    }

    /// Whether the first line ends with a well-formed version. The decoder takes many other faults there for an invalid version.
    private static func saysVersion(_ head: ByteBuffer) -> Bool {
        let line = String(decoding: head.readableBytesView.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        return line.wholeMatch(of: /.* HTTP\/[0-9]\.[0-9]\r/) != nil
    }

    private static func unknownCoding(in head: ByteBuffer) -> Problem? {
        let lines = String(decoding: head.readableBytesView, as: UTF8.self).split(separator: "\r\n")
        let name = "transfer-encoding:"
        let fields = lines.filter { $0.asciiLowercased.hasPrefix(name) }.map { String($0.dropFirst(name.count)) }
        return fields.isEmpty ? nil : unknownCoding(fields)
    }
}
