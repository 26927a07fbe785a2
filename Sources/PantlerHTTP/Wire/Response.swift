internal import NIOCore
internal import PantlerInsight

/// An answer of the slow lane. The connection adds what belongs to the wire: `Date`, `Content-Length` and `Connection`.
struct Response: Sendable {
    var status: Int
    /// `nil` without a body.
    var contentType: String?
    /// Further fields, in their order: ETag, Cache-Control, Cache-Status, Allow, Retry-After… Values hold no line breaks.
    var headers: [(String, String)]
    /// An answer to HEAD is given with the body that GET would have: it is left out on the wire, and its length told.
    var body: ByteBuffer?
    /// What the request is counted as.
    var operation: Operation

    init(
        status: Int,
        contentType: String? = nil,
        headers: [(String, String)] = [],
        body: ByteBuffer? = nil,
        operation: Operation
    ) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        self.body = body
        self.operation = operation
    }
}
