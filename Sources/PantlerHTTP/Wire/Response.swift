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

extension Response {
    /// Bytes of a text that is not worth being made shorter.
    private static let shortText = 1024

    /// Whether it has a text that gzip makes much shorter. All bodies here are texts: entries are answered otherwise.
    var isLong: Bool { (body?.readableBytes ?? 0) > Self.shortText }

    /// The same, saying that another request could be answered otherwise.
    func varying(by field: String) -> Response {
        var response = self
        response.headers.append(("Vary", field))
        return response
    }

    /// The same with its text shorter, if it is that. Takes about a millisecond for 64 KiB.
    func encoded(_ gzip: (UnsafeRawBufferPointer) -> [UInt8]?) -> Response {
        guard let bytes = body?.withUnsafeReadableBytes({ gzip($0) }), bytes.count < body?.readableBytes ?? 0 else {
            return self
        }
        var response = self
        response.headers.append(("Content-Encoding", "gzip"))
        response.body = ByteBuffer(bytes: bytes)
        return response
    }
}
