internal import NIOCore
internal import NIOHTTP1

/// A request's method, as the routes see it. Case matters: `get` is `other`.
enum Method: Equatable, Sendable {
    case get, head, put, post, patch, delete, options
    /// Any other token, which no path takes.
    case other

    /// Whether a caller that sends it asks for no change (RFC 9110, section 9.2.1).
    var isSafe: Bool {
        switch self {
        case .get, .head, .options: true
        case .put, .post, .patch, .delete, .other: false
        }
    }
}

/// A request of the slow lane. Its head was read and judged by SwiftNIO's decoder; its body is whole when it is answered.
struct Request: Sendable {
    let method: Method
    /// The path and the query as they were sent, still encoded: of a target in absolute form (RFC 9112 section 3.2.2) what
    /// follows the authority. UTF-8, no control characters, no fragment; begins with `/`, or is `*`.
    let target: [UInt8]
    /// Where in `target` the path stands.
    let path: Range<Int>
    /// Where in `target` the query stands, without its `?`; `nil` without one.
    let query: Range<Int>?
    var headers: HTTPHeaders
    /// Empty where there is none, and while the head is being admitted.
    var body: ByteBuffer

    init(method: Method, target: [UInt8], headers: HTTPHeaders, body: ByteBuffer = ByteBuffer()) {
        self.method = method
        self.target = target
        let end = target.firstIndex(of: UInt8(ascii: "?"))
        path = 0..<(end ?? target.count)
        query = end.map { $0 + 1..<target.count }
        self.headers = headers
        self.body = body
    }
}
