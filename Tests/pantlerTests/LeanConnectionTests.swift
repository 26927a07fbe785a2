import Testing

@testable import pantler

@Suite("The lean connection")
struct LeanConnectionTests {
    private func parse(_ head: String) throws -> (status: Int, length: Int?) {
        try Array(head.utf8).withUnsafeBytes { try LeanConnection.parse($0) }
    }

    @Test(
        "status and length of a head are read, whatever stands around them",
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", 200, 17),
            (
                "HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\ncontent-length:5\r\nContent-Type: x\r\n\r\n", 404,
                5
            ),
            ("HTTP/1.1 201 Created\r\nX-Content-Length: 3\r\nCONTENT-LENGTH:  0  \r\n\r\n", 201, 0),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, 0),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, 0),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, nil),
        ]
    )
    func heads(head: String, status: Int, length: Int?) throws {
        let parsed = try parse(head)
        #expect(parsed.status == status)
        #expect(parsed.length == length)
    }

    @Test(
        "what Pantler does not send is an error, not a guess",
        arguments: [
            "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "\r\n\r\n", "",
        ]
    )
    func strange(head: String) {
        #expect(throws: LeanConnection.Failure.self) { try parse(head) }
    }
}
