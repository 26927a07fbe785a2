internal import NIOCore

/// The part of an answer that does not depend on what is answered: what it says about its connection, when it was made, and which request's
/// it is.
struct AnswerFrame: Sendable {
    enum Connection: Sendable {
        /// The connection is kept, which goes without saying in HTTP/1.1.
        case unsaid
        case close
        /// The connection is kept, for a client of HTTP/1.0 that asked for that.
        case keepAlive
    }

    /// Whether the body is left out, because the request was HEAD.
    var isHead = false
    var connection = Connection.unsaid
    var date: HTTPDate
    var requestID = RequestID.none

    /// The frame of the answer to a plain request.
    func answering(_ request: FastLane.FastRequest) -> AnswerFrame {
        if !request.closes, request.requestID.isEmpty { return self }
        var frame = self
        if request.closes { frame.connection = .close }
        frame.requestID = RequestID(request.requestID)
        return frame
    }

    /// Bytes that `write` takes at most.
    static let bytes = HTTPDate.lineBytes + 24 + RequestID.lineBytes

    func write(to cursor: inout ByteCursor) {
        date.write(to: &cursor)
        switch connection {
        case .unsaid: break
        case .close: cursor.write("connection: close\r\n")
        case .keepAlive: cursor.write("connection: keep-alive\r\n")
        }
        requestID.write(to: &cursor)
    }
}

extension Response {
    /// Appends the answer as it goes over the wire.
    func write(_ frame: AnswerFrame, to output: inout ByteBuffer) {
        writeHead(frame, bodyCount: body?.readableBytes ?? 0, to: &output)
        if let body, mayHaveBody, !frame.isHead { output.writeImmutableBuffer(body) }
    }

    /// The answer as it goes over the wire. A long body is not copied for that.
    func wireAnswer(_ frame: AnswerFrame) -> WireAnswer {
        var answer = WireAnswer()
        if let body, body.readableBytes > Flight.free, mayHaveBody, !frame.isHead {
            writeHead(frame, bodyCount: body.readableBytes, to: &answer.head)
            answer.text = body
        } else {
            write(frame, to: &answer.text)
        }
        return answer
    }

    /// Appends all but the body.
    ///
    /// - Parameter bodyCount: bytes of the body; `nil` = it comes in chunks.
    func writeHead(_ frame: AnswerFrame, bodyCount: Int?, to output: inout ByteBuffer) {
        output.writeString("HTTP/1.1 \(status) \(Self.reason(status))\r\n")
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: AnswerFrame.bytes) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            frame.write(to: &cursor)
            return cursor.count
        }
        output.writeString(fields(bodyCount: bodyCount))
    }

    /// The fields that come after the frame's, and the empty line at their end.
    func fields(bodyCount: Int?) -> String {
        var fields = ""
        if let contentType { fields += "content-type: \(contentType)\r\n" }
        if let bodyCount {
            if mayHaveBody { fields += "content-length: \(bodyCount)\r\n" }
        } else {
            fields += "transfer-encoding: chunked\r\n"
        }
        for (name, value) in headers { fields += "\(name.lowercased()): \(value)\r\n" }
        return fields + "\r\n"
    }

    /// Whether an answer with this status has content, and tells its length (RFC 9110, sections 6.4.1 and 8.6).
    private var mayHaveBody: Bool { status >= 200 && status != 204 && status != 304 }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 204: "No Content"
        case 304: "Not Modified"
        default: title(status)
        }
    }
}
