internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel

extension Response {
    /// An error as `application/problem+json` (RFC 9457), with what its code adds: `version`, `reason`, `Allow`, `Retry-After`
    /// or `WWW-Authenticate`.
    init(problem: Problem, operation: Operation) {
        var body = JSONWriter()
        body.beginObject()
        body.member("type")
        body.string("about:blank")
        body.member("title")
        body.string(Self.title(problem.code.status))
        body.member("status")
        body.integer(problem.code.status)
        body.member("code")
        body.string(problem.code.rawValue)
        body.member("detail")
        body.string(problem.detail)
        var headers = Self.notStored
        switch problem.extra {
        case .none: break
        case .version(let version):
            body.member("version")
            if let version { body.integer(version) } else { body.null() }
        case .reason(let reason):
            body.member("reason")
            body.string(reason.name)
        case .retry(let reason, let milliseconds):
            body.member("reason")
            body.string(reason)
            body.member("retry_after")
            body.seconds(milliseconds)
            headers.append(("Retry-After", "\((milliseconds + 999) / 1000)"))
        case .allow(let methods):
            headers.append(("Allow", methods))
        case .retryAfter(let seconds):
            headers.append(("Retry-After", "\(seconds)"))
        }
        if let challenge = Self.challenge(problem.code) { headers.append(("WWW-Authenticate", challenge)) }
        if problem.code == .overloaded { headers.append(("Retry-After", "1")) }
        body.endObject()
        self.init(
            status: problem.code.status,
            contentType: "application/problem+json",
            headers: headers,
            body: ByteBuffer(bytes: body.bytes),
            operation: operation
        )
    }

    /// An answer in JSON.
    init(
        _ status: Int,
        _ body: JSONWriter,
        headers: [(String, String)] = [],
        operation: Operation
    ) {
        self.init(
            status: status,
            contentType: MediaType.json,
            headers: headers,
            body: ByteBuffer(bytes: body.bytes),
            operation: operation
        )
    }

    /// What tells a client how it is to say who it is (RFC 6750, section 3).
    private static func challenge(_ code: Problem.Code) -> String? {
        let realm = #"Bearer realm="pantler""#
        return switch code {
        case .tokenRequired: realm
        case .tokenInvalid: realm + #", error="invalid_token""#
        case .forbidden: realm + #", error="insufficient_scope""#
        default: nil
        }
    }

    /// The fields of answers that change with every look: no cache on the way is to keep them.
    static let notStored = [("Cache-Control", "no-store")]

    /// A status in words (RFC 9110, section 15; RFC 6585; RFC 4918).
    static func title(_ status: Int) -> String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        case 507: "Insufficient Storage"
        default: "Internal Server Error"
        }
    }
}

extension Problem {
    /// The problem of a request whose wait nobody waits for any more.
    static func waitEnded(_ why: Cancellation) -> Problem {
        switch why {
        case .serverStops: Problem(.overloaded, "The server is stopping, and all waits have ended; try again later.")
        case .clientLeft: Problem(.requestTimeout, "The client sends no more, and the wait has ended with that.")
        case .tokenEnded: .tokenInvalid
        }
    }

    /// The problem of a connection that is one too many.
    static let allConnections = Problem(
        .overloaded,
        "The server has all the connections that it takes; try again later."
    )

    static let allConnectionsOfPeer = Problem(
        .overloaded,
        "Your address has all the connections that one may have (limits.connections_per_peer); close some, or try again later."
    )

    /// The problem of a request for which there was no room among the bytes in flight for too long.
    static let noRoom = Problem(
        .overloaded,
        "The server has as many bytes of bodies and answers under way as it takes (limits.bytes_in_flight); try again later."
    )
}
