import PantlerJSON
import PantlerMemory
import PantlerModel
import PantlerStore

/// An entry's JSON object, measured before it is written. Without tags and with a plain key and a JSON value it allocates
/// nothing. Nothing in it changes without a write.
struct EntryObject {
    private let found: Found
    /// The key as a JSON string; `nil` for one that can stand as it is.
    private let escapedKey: [UInt8]?
    /// The media type of a value of bytes as a JSON string.
    private let mediaType: [UInt8]
    /// The member with its comma; empty without tags.
    private let tags: [UInt8]
    private let valueCount: Int
    /// Bytes of the whole object.
    let count: Int

    init(_ found: Found) {
        let entry = found.entry
        self.found = found
        escapedKey = entry.keyIsPlain ? nil : Self.string(entry.key)
        mediaType = entry.isJSON ? [] : Self.string(entry.mediaType)
        tags = entry.encodedTags.isEmpty ? [] : Self.tags(entry)
        valueCount = entry.isJSON ? entry.value.count : Base64.encodedCount(entry.value.count)
        let valueMembers = entry.isJSON ? Self.jsonMember.utf8CodeUnitCount : Self.bytesMembers + mediaType.count
        let expiry = entry.expiresAt == .never ? 4 : RFC3339.writtenBytes + 2
        count =
            Self.keyMember.utf8CodeUnitCount + (escapedKey?.count ?? entry.key.count + 2) + valueMembers + valueCount
            + Self.versionMember.utf8CodeUnitCount + ByteCursor.decimalDigits(of: entry.version)
            + Self.expiryMember.utf8CodeUnitCount + expiry + tags.count + 1
    }

    /// Writes `count` bytes, but for those of a large value, whose place is returned.
    func write(to cursor: inout ByteCursor) -> ValueGap? {
        let entry = found.entry
        cursor.write(Self.keyMember)
        if let escapedKey {
            cursor.write(escapedKey)
        } else {
            cursor.write(UInt8(ascii: "\""))
            cursor.write(entry.key)
            cursor.write(UInt8(ascii: "\""))
        }
        let gap: ValueGap?
        if entry.isJSON {
            cursor.write(Self.jsonMember)
            gap = writeValue(isBase64: false, &cursor)
        } else {
            cursor.write(Self.base64Member)
            gap = writeValue(isBase64: true, &cursor)
            cursor.write(Self.typeMember)
            cursor.write(mediaType)
        }
        cursor.write(Self.versionMember)
        cursor.write(decimal: entry.version)
        cursor.write(Self.expiryMember)
        if entry.expiresAt == .never {
            cursor.write("null")
        } else {
            cursor.write(UInt8(ascii: "\""))
            cursor.write(entry.expiresAt)
            cursor.write(UInt8(ascii: "\""))
        }
        cursor.write(tags)
        cursor.write(UInt8(ascii: "}"))
        return gap
    }

    private func writeValue(isBase64: Bool, _ cursor: inout ByteCursor) -> ValueGap? {
        if let large = found.large {
            defer { cursor.skip(valueCount) }
            return ValueGap(large: large, isBase64: isBase64, offset: cursor.count)
        }
        if isBase64 {
            var text: [UInt8] = []
            Base64.encode(found.entry.value, into: &text)
            cursor.write(text)
        } else {
            cursor.write(found.entry.value)
        }
        return nil
    }

    private static let keyMember: StaticString = "{\"key\":"
    private static let jsonMember: StaticString = ",\"value\":"
    private static let base64Member: StaticString = ",\"value_base64\":\""
    private static let typeMember: StaticString = "\",\"content_type\":"
    private static let versionMember: StaticString = ",\"version\":"
    private static let expiryMember: StaticString = ",\"expires_at\":"
    private static let bytesMembers = base64Member.utf8CodeUnitCount + typeMember.utf8CodeUnitCount

    private static func string(_ characters: UnsafeRawBufferPointer) -> [UInt8] {
        var literal: [UInt8] = []
        JSON.appendString(characters, to: &literal)
        return literal
    }

    private static func tags(_ entry: EntryView) -> [UInt8] {
        var member = Array(",\"tags\":[".utf8)
        for (number, tag) in entry.tags().enumerated() {
            if number > 0 { member.append(UInt8(ascii: ",")) }
            JSON.appendString(tag, to: &member)
        }
        member.append(UInt8(ascii: "]"))
        return member
    }
}
