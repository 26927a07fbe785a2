internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// The answer to a get that found a negative entry: that there is no such thing. All but the entry's version and TTL is constant.
enum AbsentAnswer {
    /// Appends the answer.
    ///
    /// - Parameter status: 404, or 204 for callers that cannot deal with a 404. The fields say the same.
    static func write(
        _ found: Found,
        at now: Timestamp,
        status: Int = 404,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) {
        let (fields, body) = status == 204 ? noContent : notFound
        let room = headBytes + fields.count + body.count
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write(status == 204 ? "HTTP/1.1 204 No Content\r\n" : "HTTP/1.1 404 Not Found\r\n")
            frame.write(to: &cursor)
            cursor.write(fields)
            cursor.write("etag: \"")
            cursor.write(decimal: found.entry.version)
            cursor.write("\"\r\n")
            EntryAnswer.writeHit(found, at: now, &cursor)
            cursor.write("; detail=absent\r\n\r\n")
            if !frame.isHead { cursor.write(body) }
            return cursor.count
        }
    }

    /// Appends the answer to a request for a lease: `{"key","absent":true,"version","expires_at"}`.
    static func writeFound(_ found: Found, at now: Timestamp, _ frame: AnswerFrame, to output: inout ByteBuffer) {
        var body = JSONWriter(capacity: 96 + found.entry.key.count)
        body.beginObject()
        body.member("key")
        body.string(Array(found.entry.key))
        body.member("absent")
        body.bool(true)
        body.member("version")
        body.integer(found.entry.version)
        body.member("expires_at")
        body.moment(found.expiresAt)
        body.endObject()
        let bytes = body.bytes
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: 2 * headBytes + bytes.count) { space in
            guard let base = space.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write("HTTP/1.1 200 OK\r\n")
            frame.write(to: &cursor)
            cursor.write("content-type: application/json\r\ncontent-length: ")
            cursor.write(decimal: bytes.count)
            cursor.write("\r\netag: \"")
            cursor.write(decimal: found.entry.version)
            cursor.write("\"\r\ncache-control: private, no-cache\r\n")
            EntryAnswer.writeHit(found, at: now, &cursor)
            cursor.write("; detail=absent\r\n\r\n")
            cursor.write(bytes)
            return cursor.count
        }
    }

    /// Bytes that the status line, the frame, and what is not constant take at most.
    private static let headBytes = 192 + AnswerFrame.bytes

    private static let notFound = parts(Response(problem: .entryAbsent, operation: .get))
    private static let noContent = parts(Response(status: 204, headers: Response.notStored, operation: .get))

    /// A response's constant fields, without the empty line at their end, and its body.
    private static func parts(_ response: Response) -> (fields: [UInt8], body: [UInt8]) {
        let body = Array((response.body ?? ByteBuffer()).readableBytesView)
        return (Array(response.fields(bodyCount: body.count).utf8.dropLast(2)), body)
    }
}
