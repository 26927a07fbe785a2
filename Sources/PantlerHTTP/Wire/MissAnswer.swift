internal import NIOCore
import PantlerInsight
import PantlerModel

/// The answer to a get that found nothing: a constant for each reason.
enum MissAnswer {
    /// - Parameter status: 404, or 204 for callers that cannot deal with a 404. The fields say the same.
    static func response(_ reason: MissReason, status: Int = 404) -> Response {
        var response =
            status == 204
            ? Response(status: 204, headers: Response.notStored, operation: .get)
            : Response(problem: .notFound(reason), operation: .get)
        response.headers.append(("Cache-Status", cacheStatus(reason)))
        return response
    }

    /// The value of Cache-Status (RFC 9211). By `fwd` the request would have to be forwarded, if the caller has anything to forward it to.
    static func cacheStatus(_ reason: MissReason) -> String {
        "pantler; fwd=\(reason == .expired ? "stale" : "uri-miss"); detail=\(reason.name)"
    }

    /// Appends the answer to a GET.
    static func write(_ reason: MissReason, _ frame: AnswerFrame, to output: inout ByteBuffer) {
        let rest = rests[Int(reason.rawValue)]
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: 32 + AnswerFrame.bytes + rest.count) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write("HTTP/1.1 404 Not Found\r\n")
            frame.write(to: &cursor)
            cursor.write(rest)
            return cursor.count
        }
    }

    /// The bytes that come after the frame's fields, for each reason.
    private static let rests = MissReason.allCases.map { reason in
        let response = response(reason)
        let body = Array((response.body ?? ByteBuffer()).readableBytesView)
        return Array(response.fields(bodyCount: body.count).utf8) + body
    }
}
