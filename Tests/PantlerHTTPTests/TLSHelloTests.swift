import Support
import Testing

@testable import PantlerHTTP

@Suite("A client's first message")
struct TLSHelloTests {
    /// - Parameter protocols: that the client names; `nil` = it names none.
    private static func message(_ protocols: [String]?) -> [UInt8] {
        func counted(_ bytes: [UInt8], by size: Int = 2) -> [UInt8] {
            (0..<size).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
        }
        var extensions: [UInt8] = [0, 23] + counted([])
        if let protocols {
            extensions += [0, 16] + counted(counted(protocols.flatMap { counted(Array($0.utf8), by: 1) }))
        }
        let random = [UInt8](repeating: 7, count: 32)
        let body =
            [3, 3] + random + counted([1, 2, 3], by: 1) + counted([0x13, 1]) + counted([0], by: 1) + counted(extensions)
        return [1] + counted(body, by: 3)
    }

    /// The message in records of `size` bytes.
    private static func records(_ message: [UInt8], of size: Int = 1 << 14) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start -> [UInt8] in
            let part = message[start..<min(start + size, message.count)]
            return [22, 3, 1, UInt8(part.count >> 8), UInt8(truncatingIfNeeded: part.count)] + part
        }
    }

    @Test("a message in very many records is none: all of them would be read again with each byte")
    func manyRecords() {
        // The beginning of a message of 16,000 bytes, a byte a record.
        let message: [UInt8] = [1, 0, 0x3e, 0x80] + [UInt8](repeating: 3, count: 60)
        let records = message.map { [22, 3, 1, 0, 1, $0] as [UInt8] }
        #expect(judge(Array(records.prefix(32).joined())) == .incomplete)
        #expect(judge(Array(records.prefix(33).joined())) == .foreign)
    }

    private func judge(_ bytes: [UInt8]) -> ClientHello.Verdict { bytes.withUnsafeBytes { ClientHello.judge($0) } }

    @Test(
        "is worth an answer unless it names protocols and not ours",
        arguments: [
            (nil, ClientHello.Verdict.whole), (["http/1.1"], .whole), (["h2", "http/1.1"], .whole),
            (["h2"], .otherProtocol),
            (["http/1.0", "h2"], .otherProtocol), ([], .otherProtocol),
        ] as [([String]?, ClientHello.Verdict)]
    )
    func protocols(_ protocols: [String]?, _ verdict: ClientHello.Verdict) {
        #expect(judge(Self.records(Self.message(protocols))) == verdict)
    }

    @Test("is not whole before its last byte, in one record or in many", arguments: [7, 64, 1 << 14])
    func pieces(size: Int) {
        let bytes = Self.records(Self.message(["h2", "http/1.1"]), of: size)
        for count in 0..<bytes.count { #expect(judge(Array(bytes.prefix(count))) == .incomplete, "\(count)") }
        #expect(judge(bytes) == .whole)
        #expect(judge(bytes + [22, 3, 3]) == .whole)
    }

    @Test(
        "that is a request of plain HTTP is told from other bytes",
        arguments: ["GET / HTTP/1.1\r\n", "PUT /", "OPTIONS * HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    )
    func plain(_ text: String) {
        let bytes = Array(text.utf8)
        let method = bytes.firstIndex(of: UInt8(ascii: " ")).map { $0 + 1 } ?? 0
        for count in 1..<method { #expect(judge(Array(bytes.prefix(count))) == .incomplete) }
        #expect(judge(bytes) == .plainHTTP)
    }

    @Test(
        "that can be no first message is foreign",
        arguments: [
            Array("SSH-2.0-OpenSSH_9.2\r\n".utf8), Array("GEt ".utf8), [0x80, 0x2e, 1, 3, 1], [0],
            [21, 3, 1, 0, 2, 1, 0],
            // A record of another version, an empty one, one that is too long, another message, one that is too long.
            [22, 2, 0, 0, 5, 1], [22, 3, 1, 0, 0, 1], [22, 3, 1, 0x40, 1, 1], [22, 3, 1, 0, 4, 2, 0, 0, 0],
            [22, 3, 1, 0, 4, 1, 1, 0, 0],
        ] as [[UInt8]]
    )
    func foreign(_ bytes: [UInt8]) {
        #expect(judge(bytes) == .foreign)
    }

    @Test("of any bytes is read without a trap")
    func random() {
        var generator = SeededGenerator()
        let whole = Self.records(Self.message(["h2"]))
        for _ in 0..<20_000 {
            var bytes = Array(whole.prefix(Int(generator.next() % UInt64(whole.count + 1))))
            for _ in 0..<generator.next() % 4 where !bytes.isEmpty {
                bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            _ = judge(bytes)
        }
    }
}
