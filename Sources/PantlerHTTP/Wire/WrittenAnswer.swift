internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

/// The answer to a write that left an entry: `{"key":…,"version":…,"expires_at":…}`, with the version as its ETag. With a plain key
/// nothing is allocated for it.
enum WrittenAnswer {
    static func status(_ written: Written) -> Int { written.isNew ? 201 : 200 }

    /// Appends the whole answer.
    static func write(
        _ written: Written,
        _ key: UnsafeRawBufferPointer,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) {
        if JSON.needsEscaping(key) {
            var escaped: [UInt8] = []
            JSON.appendString(key, to: &escaped)
            escaped.withUnsafeBytes { quoted in
                let literal = UnsafeRawBufferPointer(rebasing: quoted.dropFirst().dropLast())
                write(written, literal: literal, frame, to: &output)
            }
        } else {
            write(written, literal: key, frame, to: &output)
        }
    }

    /// - Parameter literal: the key as a JSON string has it between its quotes.
    private static func write(
        _ written: Written,
        literal: UnsafeRawBufferPointer,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) {
        let bodyCount =
            keyMember.utf8CodeUnitCount + literal.count + versionMember.utf8CodeUnitCount
            + ByteCursor.decimalDigits(of: written.version) + expiryMember.utf8CodeUnitCount
            + ByteCursor.jsonBytes(of: written.expiresAt) + 1
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: headBytes + bodyCount) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write(written.isNew ? "HTTP/1.1 201 Created\r\n" : "HTTP/1.1 200 OK\r\n")
            frame.write(to: &cursor)
            cursor.write("content-type: application/json\r\ncontent-length: ")
            cursor.write(decimal: bodyCount)
            cursor.write("\r\netag: \"")
            cursor.write(decimal: written.version)
            cursor.write("\"\r\n\r\n")
            cursor.write(keyMember)
            cursor.write(literal)
            cursor.write(versionMember)
            cursor.write(decimal: written.version)
            cursor.write(expiryMember)
            cursor.writeJSON(written.expiresAt)
            cursor.write(UInt8(ascii: "}"))
            return cursor.count
        }
    }

    /// Bytes that a head takes at most.
    private static let headBytes = 160 + AnswerFrame.bytes

    private static let keyMember: StaticString = "{\"key\":\""
    private static let versionMember: StaticString = "\",\"version\":"
    private static let expiryMember: StaticString = ",\"expires_at\":"
}
