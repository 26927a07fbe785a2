internal import NIOCore
internal import PantlerInsight

/// An answer of the slow lane. The connection adds what belongs to the wire: `Date`, `Content-Length` and `Connection`.
struct Response: Sendable {
    var status: Int
    /// `nil` without a body.
    var contentType: String?
    /// Further fields, in their order: ETag, Cache-Control, Cache-Status, Allow, Retry-After… Values hold no line breaks.
    var headers: [(String, String)]
    /// An answer to HEAD has the body that GET would have. On the wire the body is left out, and its length is told.
    var body: ByteBuffer?
    /// What the request is counted as.
    var operation: Operation
    /// What the audit log tells of it; `nil` = nothing.
    var change: AuditedChange?

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
    /// Bytes of a text that is not worth compressing.
    private static let shortText = 1024

    /// Whether the body is so long that gzip makes it much shorter. All bodies here are texts, because entries are answered otherwise.
    var isLong: Bool { (body?.readableBytes ?? 0) > Self.shortText }

    /// The response with a `Vary` field, by which it says that the answer depends on that field of the request.
    func varying(by field: String) -> Response {
        var response = self
        response.headers.append(("Vary", field))
        return response
    }

    /// The response with its body compressed, if that makes it shorter. Takes about a millisecond for 64 KiB.
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
