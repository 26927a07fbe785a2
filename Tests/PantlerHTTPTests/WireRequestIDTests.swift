import NIOHTTP1
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("X-Request-ID")
struct WireRequestIDTests {
    /// Values of the field, with what is echoed of each; `nil` = nothing.
    static let values: [(sent: String, echoed: String?)] =
        [
            ("7", "7"), (" 7 ", "7"), ("\t7\t ", "7"),
            ("3f0e7f6d-2f3d-4c5b-8f0a-4f5c3a1f7d11", "3f0e7f6d-2f3d-4c5b-8f0a-4f5c3a1f7d11"),
            ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
            ("Root=1-67891233-abcdef012345678912345678", "Root=1-67891233-abcdef012345678912345678"),
            ("", nil), (" ", nil), ("a b", nil), ("a\tb", nil), ("\"a\"", nil), ("a\\b", nil), ("é", nil),
            ("a\u{ff}", nil),
            (String(repeating: "x", count: 64), String(repeating: "x", count: 64)),
            (String(repeating: "x", count: 65), nil), (String(repeating: "x", count: 2000), nil),
        ]

    private func laneID(_ fields: String, method: String = "GET") throws -> String? {
        let text =
            "\(method) /v1/namespaces/shop/\(method == "POST" ? "leases" : "entries")/a HTTP/1.1\r\nHost: localhost\r\n\(fields)"
            + (method == "GET" ? "" : "Content-Type: application/json\r\nContent-Length: 2\r\n") + "\r\n{}"
        let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.keyBytes, alignment: 1)
        defer { scratch.deallocate() }
        return try Array(text.utf8).withUnsafeBytes { bytes in
            let bounds = FastLane.Bounds(head: 16 << 10, body: 1000, awaitedBody: 500)
            switch FastLane.parse(bytes, ServedHosts([], address: "127.0.0.1"), bounds, scratch: scratch) {
            case .get(let request), .put(let request, _), .lease(let request, _):
                return RequestID(request.requestID).text
            case .awaitsBody, .incomplete, .other: throw MessageDecoder.Fault()
            }
        }
    }

    @Test(
        "is read alike in either lane, and one that is out of form is no reason to leave the fast one",
        arguments: values
    )
    func reading(sent: String, echoed: String?) throws {
        #expect(RequestID(HTTPHeaders([("X-Request-ID", sent)])).text == echoed)
        for method in ["GET", "PUT", "POST"] {
            #expect(try laneID("x-REQUEST-id:\(sent)\r\n", method: method) == echoed)
        }
    }

    @Test("that comes twice, or not at all, is none")
    func twice() throws {
        #expect(RequestID(HTTPHeaders([])).text == nil)
        #expect(try laneID("") == nil)
        for (first, second) in [("a", "a"), ("a", "b"), ("", "b"), ("a", "\""), ("\"", "b")] {
            #expect(RequestID(HTTPHeaders([("X-Request-ID", first), ("x-request-id", second)])).text == nil)
            #expect(try laneID("X-Request-ID: \(first)\r\nAccept: */*\r\nx-request-id: \(second)\r\n") == nil)
            #expect(try laneID("X-Request-ID: \(first)\r\nx-request-id: \(second)\r\nX-Request-Id: c\r\n") == nil)
        }
    }

    @Test("the longest one has its room in every answer that measures its own")
    func room() {
        let longest = String(repeating: "x", count: RequestID.longest)
        var frame = AnswerFrame(connection: .keepAlive, date: HTTPDate(unixSeconds: 0))
        frame.requestID = Array(longest.utf8).withUnsafeBytes { RequestID($0) }
        let text = [UInt8](unsafeUninitializedCapacity: AnswerFrame.bytes) { bytes, count in
            guard let base = bytes.baseAddress else { return }
            var cursor = ByteCursor(base)
            frame.write(to: &cursor)
            count = cursor.count
        }
        #expect(text.count <= AnswerFrame.bytes)
        #expect(String(decoding: text, as: UTF8.self).hasSuffix("\r\nx-request-id: \(longest)\r\n"))
    }
}
