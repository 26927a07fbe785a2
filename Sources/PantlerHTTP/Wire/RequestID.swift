internal import NIOHTTP1

/// The name that a client gives a request, and that its answer carries: `X-Request-ID`. By it a client sees that an answer is that of its
/// request, whatever stands between the two.
///
/// It is a value of a fixed size, so that it goes wherever a request's answer is made without an allocation.
struct RequestID: Sendable {
    /// The longest one that is echoed, in bytes. UUIDs, and the ids of traces and of proxies, are shorter.
    static let longest = 64
    /// Bytes of the longest line that has one.
    static let lineBytes = 14 + longest + 2

    private var bytes = InlineArray<64, UInt8>(repeating: 0)
    private var count: UInt8 = 0

    /// That of a request without one, or with one that is not echoed.
    static let none = RequestID()

    private init() {}

    /// - Parameter value: without the space around it. What is no id, or too long, is taken for none.
    init(_ value: UnsafeRawBufferPointer) {
        guard Self.isValid(value) else { return }
        for index in 0..<value.count { bytes[index] = value[index] }
        count = UInt8(value.count)
    }

    /// That of a request that has been read by the decoder. Of two nobody can tell which one is meant: they are taken for none.
    init(_ headers: HTTPHeaders) {
        let values = headers["x-request-id"]
        guard values.count == 1 else { return }
        let value = Array(trimmed(values[0]).utf8)
        self = value.withUnsafeBytes { RequestID($0) }
    }

    /// Whether a value may be echoed: visible ASCII without what quotes or escapes in a field, or in a log.
    static func isValid(_ value: UnsafeRawBufferPointer) -> Bool {
        guard (1...longest).contains(value.count) else { return false }
        return value.allSatisfy {
            (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
    }

    /// `nil` for none.
    var text: String? {
        if count == 0 { return nil }
        return bytes.span.withUnsafeBytes { String(decoding: $0.prefix(Int(count)), as: UTF8.self) }
    }

    /// Writes the field's line, if there is an id.
    func write(to cursor: inout ByteCursor) {
        guard count > 0 else { return }
        cursor.write("x-request-id: ")
        bytes.span.withUnsafeBytes { cursor.write(UnsafeRawBufferPointer(rebasing: $0.prefix(Int(count)))) }
        cursor.write("\r\n")
    }
}
