import NIOCore
import PantlerInsight
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Answers")
struct WireAnswerTests {
    @Test("numbers are written with exactly their digits")
    func digits() {
        var values: [UInt64] = [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 99_999, 100_000, (1 << 53) - 1, .max]
        values += (0..<64).map { 1 << UInt64($0) }
        for value in values {
            #expect(ByteCursor.decimalDigits(of: value) == String(value).count)
            let text = String(unsafeUninitializedCapacity: 20) { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                var cursor = ByteCursor(UnsafeMutableRawPointer(base))
                cursor.write(decimal: value)
                return cursor.count
            }
            #expect(text == String(value))
        }
    }

    @Test(
        "dates are those of RFC 9110",
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"), (1_709_209_800, "Thu, 29 Feb 2024 12:30:00 GMT"),
        ]
    )
    func dates(seconds: Int64, text: String) {
        var bytes = [UInt8](repeating: 0, count: HTTPDate.lineBytes)
        bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            var cursor = ByteCursor(base)
            HTTPDate(unixSeconds: seconds).write(to: &cursor)
        }
        #expect(String(decoding: bytes, as: UTF8.self) == "date: \(text)\r\n")
    }

    @Test("the server's names are told from all others")
    func hosts() {
        let own = ServedHosts([], address: "127.0.0.1")
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost:"]
            + [
                "localhost.", "LOCALHOST.:80", "10.0.0.1", "255.255.255.255:1", "0.0.0.0", "[fd00::5]:80",
                "[::ffff:10.0.0.1]",
            ]
        {
            #expect(own.serves(host), "\(host)")
        }
        for host in [
            "", ":", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.256",
            "10.0.0", "10.0.0.1.2", "10..0.1", ".10.0.1", "10.0.0.", "1000.0.0.1", "10.0.0.x", "[evil.example]",
            "[::g]", "[]", "[:]",
            "localhost:8o", "::1", "[::1", "[::1]8",
            "localhost ", "localhos", "localhost..", ".",
        ] {
            #expect(!own.serves(host), "\(host)")
        }
        let named = ServedHosts(["Cache.internal", "::1", ""], address: "10.0.0.1")
        #expect(named.serves("cache.INTERNAL:443"))
        #expect(named.serves("[::1]"))
        #expect(named.serves("10.0.0.2"))
        #expect(!named.serves("localhost"))
        #expect(ServedHosts(["*"], address: "0.0.0.0").serves("anything"))
        #expect(!ServedHosts(["*"], address: "0.0.0.0").serves(""))
    }

    @Test("an answer to HEAD tells the length of what it leaves out, and 204 and 304 tell none")
    func lengths() {
        let response = Response(
            status: 200,
            contentType: "text/plain",
            headers: [("ETag", "\"1\"")],
            body: ByteBuffer(string: "abc"),
            operation: .get
        )
        let date = HTTPDate(unixSeconds: 0)
        func text(_ response: Response, _ frame: AnswerFrame) -> String {
            var output = ByteBuffer()
            response.write(frame, to: &output)
            return String(buffer: output).replacing("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", with: "")
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\netag: \"1\"\r\n\r\n"
        #expect(text(response, AnswerFrame(date: date)) == head + "abc")
        #expect(text(response, AnswerFrame(isHead: true, date: date)) == head)
        for status in [204, 304] {
            let empty = Response(status: status, operation: .delete)
            #expect(!text(empty, AnswerFrame(date: date)).contains("content-length"))
        }
        #expect(
            text(Response(status: 201, operation: .put), AnswerFrame(connection: .close, date: date)).contains(
                "connection: close\r\n"
            )
        )
        #expect(text(Response(status: 201, operation: .put), AnswerFrame(date: date)).contains("content-length: 0\r\n"))
    }

    @Test("a miss says its reason in its body and in Cache-Status", arguments: MissReason.allCases)
    func misses(reason: MissReason) throws {
        var output = ByteBuffer()
        MissAnswer.write(reason, AnswerFrame(date: HTTPDate(unixSeconds: 0)), to: &output)
        let (answer, length) = try #require(TestAnswer.first(in: Array(output.readableBytesView)))
        #expect(length == output.readableBytes)
        #expect(answer.status == 404)
        #expect(answer.body.contains("\"reason\":\"\(reason.name)\""))
        #expect(answer.fields["cache-control"] == "no-store")
        #expect(
            answer.fields["cache-status"]
                == "pantler; fwd=\(reason == .expired ? "stale" : "uri-miss"); detail=\(reason.name)"
        )
    }
}
