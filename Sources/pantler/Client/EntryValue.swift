internal import PantlerJSON

/// What an entry holds.
struct EntryValue: Hashable, Sendable {
    /// As the view of plain bytes has it, to the byte.
    let bytes: [UInt8]
    let version: String

    /// As deep as a value may be, and the answer around it.
    static let maxDepth = 1024

    /// - Parameter object: an entry as the service writes it. It writes no whitespace of its own, so what there is around a JSON value is
    ///   the value's.
    /// - Returns: `nil` for a negative entry.
    static func read(_ object: UnsafeRawBufferPointer) throws -> EntryValue? {
        var bytes: [UInt8]?
        var version = "?"
        var members = try JSONObjectReader(object, maxDepth: maxDepth)
        while let member = try members.next() {
            if member.name.says("value") {
                bytes = Array(object[withSpace(member.value.range, in: object)])
            } else if member.name.says("value_base64") {
                bytes = try JSON.stringBytes(member.value.bytes).withUnsafeBytes { Base64.decode($0) }
            } else if member.name.says("version") {
                version = String(decoding: member.value.bytes, as: UTF8.self)
            }
        }
        return bytes.map { EntryValue(bytes: $0, version: version) }
    }

    private static func withSpace(_ range: Range<Int>, in object: UnsafeRawBufferPointer) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start > 0, JSONScanner.isWhitespace(object[start - 1]) { start -= 1 }
        while end < object.count, JSONScanner.isWhitespace(object[end]) { end += 1 }
        return start..<end
    }
}
