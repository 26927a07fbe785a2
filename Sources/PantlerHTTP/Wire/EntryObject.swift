internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

/// An entry's JSON object, measured before it is written. Without tags and with a plain key and a JSON value it allocates nothing. The
/// object changes with a write alone.
struct EntryObject {
    /// `nil` for an entry whose parts can all stand as they are.
    private let spelled: Spelled?
    private let valueCount: Int
    /// Bytes of the whole object.
    let count: Int
    /// Bytes of the object without those of a large value.
    let textCount: Int

    /// The parts that have to be encoded for JSON.
    private struct Spelled {
        /// The key as a JSON string; empty for one that can stand as it is.
        var key: [UInt8] = []
        /// The media type of a value of bytes as a JSON string.
        var mediaType: [UInt8] = []
        /// The member `tags` with its comma; empty without tags.
        var tags: [UInt8] = []
    }

    init(_ found: Found) {
        let entry = found.entry
        var count = Self.plainBytes + ByteCursor.decimalDigits(of: entry.version)
        count += entry.expiresAt == .never ? 4 : RFC3339.writtenBytes + 2
        if entry.keyIsPlain, entry.isJSON, entry.encodedTags.isEmpty {
            spelled = nil
            valueCount = entry.value.count
            count += entry.key.count + 2
        } else {
            let spelled = Self.spelled(entry)
            self.spelled = spelled
            count += spelled.key.isEmpty ? entry.key.count + 2 : spelled.key.count
            count += spelled.mediaType.count + spelled.tags.count
            if entry.isJSON {
                valueCount = entry.value.count
            } else {
                valueCount = Base64.encodedCount(entry.value.count)
                count += Self.bytesMembers - Self.jsonMember
            }
        }
        self.count = count + valueCount
        textCount = found.isLarge ? count : count + valueCount
    }

    private static func spelled(_ entry: EntryView) -> Spelled {
        var spelled = Spelled()
        if !entry.keyIsPlain { JSON.appendString(entry.key, to: &spelled.key) }
        if !entry.isJSON { JSON.appendString(entry.mediaType, to: &spelled.mediaType) }
        if !entry.encodedTags.isEmpty { spelled.tags = tags(entry) }
        return spelled
    }

    /// Bytes of `,"value":`.
    private static let jsonMember = 9
    /// Bytes of `,"value_base64":"` and `","content_type":`.
    private static let bytesMembers = 17 + 17
    /// Bytes of `{"key":,"value":,"version":,"expires_at":}`.
    private static let plainBytes = 42

    /// Writes `textCount` bytes. Returns the place of a large value.
    ///
    /// - Parameter found: what the object was made for.
    func write(_ found: Found, to cursor: inout ByteCursor) -> ValueGap? {
        let entry = found.entry
        cursor.write("{\"key\":")
        if let spelled, !spelled.key.isEmpty {
            cursor.write(spelled.key)
        } else {
            cursor.write("\"")
            cursor.write(entry.key)
            cursor.write("\"")
        }
        let gap: ValueGap?
        if entry.isJSON {
            cursor.write(",\"value\":")
            gap = writeValue(found, isBase64: false, &cursor)
        } else {
            cursor.write(",\"value_base64\":\"")
            gap = writeValue(found, isBase64: true, &cursor)
            cursor.write("\",\"content_type\":")
            if let spelled { cursor.write(spelled.mediaType) }
        }
        cursor.write(",\"version\":")
        cursor.write(decimal: entry.version)
        cursor.write(",\"expires_at\":")
        if entry.expiresAt == .never {
            cursor.write("null")
        } else {
            cursor.write("\"")
            cursor.write(found.expiresAt)
            cursor.write("\"")
        }
        if let spelled { cursor.write(spelled.tags) }
        cursor.write("}")
        return gap
    }

    /// Appends the object and a comma. Returns the place of a large value.
    func append(_ found: Found, to output: inout ByteBuffer) -> ValueGap? {
        var gap: ValueGap?
        let start = output.writerIndex
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: textCount + 1) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            gap = write(found, to: &cursor)
            cursor.write(",")
            return cursor.count
        }
        gap?.offset += start
        return gap
    }

    private func writeValue(_ found: Found, isBase64: Bool, _ cursor: inout ByteCursor) -> ValueGap? {
        if let large = found.large { return ValueGap(large: large, isBase64: isBase64, offset: cursor.count) }
        if isBase64 {
            var text: [UInt8] = []
            Base64.encode(found.entry.value, into: &text)
            cursor.write(text)
        } else {
            cursor.write(found.entry.value)
        }
        return nil
    }

    private static func tags(_ entry: EntryView) -> [UInt8] {
        var member = Array(",\"tags\":[".utf8)
        for (number, tag) in entry.tags().enumerated() {
            if number > 0 { member.append(UInt8(ascii: ",")) }
            JSON.appendString(tag.text, to: &member)
        }
        member.append(UInt8(ascii: "]"))
        return member
    }
}
