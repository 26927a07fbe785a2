internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

/// A value of bytes in a framed batch, measured before it is written: a member of `bytes` with its media type and its length, and the bytes
/// themselves, which stand elsewhere.
struct BytesMember {
    /// The key and the media type as JSON strings.
    private let key: [UInt8]
    private let mediaType: [UInt8]
    /// Bytes of the member, and of the value.
    let count: Int
    /// The same without those of a large value.
    let textCount: Int

    private static let opening: StaticString = ":{\"content_type\":"
    private static let middle: StaticString = ",\"length\":"
    /// Bytes of these two texts, and of `}`.
    private static let members = 17 + 10 + 1

    init(_ found: Found) {
        let entry = found.entry
        var key: [UInt8] = []
        var mediaType: [UInt8] = []
        JSON.appendString(entry.key, to: &key)
        JSON.appendString(entry.mediaType, to: &mediaType)
        self.key = key
        self.mediaType = mediaType
        let length = entry.value.count
        let text = key.count + Self.members + mediaType.count + ByteCursor.decimalDigits(of: UInt64(length))
        count = text + length
        textCount = found.isLarge ? text : text + length
    }

    /// Appends the member and a comma to `members`, and the value to `bytes`. Returns the place of a large value.
    ///
    /// - Parameter found: what this was made for.
    func append(_ found: Found, to members: inout ByteBuffer, _ bytes: inout ByteBuffer) -> ValueGap? {
        members.writeBytes(key)
        members.writeStaticString(Self.opening)
        members.writeBytes(mediaType)
        members.writeStaticString(Self.middle)
        members.writeString(String(found.entry.value.count))
        members.writeStaticString("},")
        if let large = found.large { return ValueGap(large: large, isBase64: false, offset: bytes.writerIndex) }
        bytes.writeBytes(found.entry.value)
        return nil
    }
}
