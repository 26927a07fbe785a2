@testable import PantlerHTTP

/// The body reader and SwiftNIO's decoder over one message, whole and in pieces. The first byte says how the body's length is told,
/// the second how large the pieces are.
enum BodyTarget {
    // One thread, libFuzzer's.
    nonisolated(unsafe) private static let bench = try? DecoderBench(headLimit: 1024)

    static func run(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard bytes.count >= 2, let bench else { return 0 }
        let body = Array(bytes[2...])
        let length = bytes[0] < 128 ? nil : Int(bytes[0] & 127)
        let field = length.map { "Content-Length: \($0)" } ?? "Transfer-Encoding: chunked"
        let head = Array("PUT /v1/x HTTP/1.1\r\nHost: a\r\n\(field)\r\n\r\n".utf8)
        // Whoever reads the message asks the decoder after each piece whether it has seen the same; a fault ends the connection.
        let decoded = (try? bench.message(head + body)).flatMap { $0 }
        let whole = read(body, length, pieces: body.count)
        let pieces = read(body, length, pieces: Int(bytes[1]) + 1)
        must(whole == pieces, "in pieces of \(bytes[1] + 1) it reads \(pieces), at once \(whole)")
        if let decoded {
            must(
                whole == .ended(decoded.body, head.count + body.count - (decoded.length - head.count) - head.count),
                "\(decoded), and \(whole)"
            )
            if let length { must(decoded.body == Array(body[..<length]), "another body than its length says") }
        }
        return 0
    }

    private enum End: Equatable {
        /// With the body, and how many bytes are left.
        case ended([UInt8], Int)
        case needsMore
        case malformed
    }

    /// The body as the reader sees it that is given so many bytes more at a time.
    private static func read(_ bytes: [UInt8], _ length: Int?, pieces: Int) -> End {
        var reader = BodyReader(length: length, lineLimit: 1024)
        var body: [UInt8] = []
        var (offset, end) = (0, 0)
        while !reader.hasEnded {
            let step = bytes[offset..<end].withUnsafeBytes { reader.next($0) }
            switch step {
            case .malformed: return .malformed
            case .needsMore:
                if end == bytes.count { return .needsMore }
                end = min(bytes.count, end + max(1, pieces))
            case .piece(let count, let own, let ends):
                must(count > 0 && count <= end - offset && own <= count, "a piece of \(count) of \(end - offset)")
                must(ends == reader.hasEnded, "a piece that ends what goes on")
                if own > 0 { body += bytes[offset..<offset + count] }
                must(own == 0 || own == count, "a piece that is partly the body's")
                offset += count
            }
        }
        return .ended(body, bytes.count - offset)
    }
}
