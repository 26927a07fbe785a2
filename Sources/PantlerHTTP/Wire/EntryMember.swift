internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

/// An entry as a member of an object: its key and its value alone, measured before it is written. A value of bytes is an object itself,
/// with `value_base64` and `content_type`, as in the envelope.
struct EntryMember {
    /// The key as a JSON string.
    private let key: [UInt8]
    /// The media type as a JSON string; empty for a JSON value.
    private let mediaType: [UInt8]
    /// Bytes of the whole member.
    let count: Int
    /// Bytes of the member without those of a large value.
    let textCount: Int

    private static let opening: StaticString = "{\"value_base64\":\""
    private static let middle: StaticString = "\",\"content_type\":"
    /// Bytes of these two texts, and of `}`.
    private static let bytesMembers = 17 + 17 + 1

    init(_ found: Found) {
        let entry = found.entry
        var key: [UInt8] = []
        var mediaType: [UInt8] = []
        JSON.appendString(entry.key, to: &key)
        var count = key.count + 1
        let valueCount: Int
        if entry.isJSON {
            valueCount = entry.value.count
        } else {
            JSON.appendString(entry.mediaType, to: &mediaType)
            count += Self.bytesMembers + mediaType.count
            valueCount = Base64.encodedCount(entry.value.count)
        }
        self.key = key
        self.mediaType = mediaType
        self.count = count + valueCount
        textCount = found.isLarge ? count : count + valueCount
    }

    /// Appends the member and a comma. Returns the place of a large value.
    ///
    /// - Parameter found: what this was made for.
    func append(_ found: Found, to output: inout ByteBuffer) -> ValueGap? {
        let isBase64 = !found.entry.isJSON
        output.writeBytes(key)
        output.writeStaticString(":")
        if isBase64 { output.writeStaticString(Self.opening) }
        var gap: ValueGap?
        if let large = found.large {
            gap = ValueGap(large: large, isBase64: isBase64, offset: output.writerIndex)
        } else if isBase64 {
            var text: [UInt8] = []
            Base64.encode(found.entry.value, into: &text)
            output.writeBytes(text)
        } else {
            output.writeBytes(found.entry.value)
        }
        if isBase64 {
            output.writeStaticString(Self.middle)
            output.writeBytes(mediaType)
            output.writeStaticString("}")
        }
        output.writeStaticString(",")
        return gap
    }
}
