import PantlerCodec
import PantlerModel

/// How an entry's value lies in its row. The raw values are on disk.
enum StoredForm: Int64 {
    case plain = 0
    case deflated = 1
}

/// The columns of an entry's row but for key and value, and the checksum over all of them.
///
/// The checksum is a CRC-32 over the key, then namespace, version, expiry, stale TTL, size and form as 64-bit little-endian numbers, then the media type's
/// length (-1 for JSON, 0 for a negative entry) and bytes, the encoded tags' length and bytes, and the value as it is stored.
struct RowContent {
    var namespace: NamespaceID
    var version: Int64
    var expiresAt: Int64
    var staleTTL: Int64
    var size: Int64
    var form: StoredForm
    var mediaType: String?
    var tags: [UInt8]

    func checksum(key: UnsafeRawBufferPointer, stored: UnsafeRawBufferPointer) -> Int64 {
        var sum = headChecksum(key: key)
        sum.add(stored)
        return Self.stored(sum.value)
    }

    /// A checksum as it stands in its column: as a signed number of 32 bits, which nearly all take four bytes for, so that a row does not
    /// change its length with it. An earlier version stored it unsigned.
    static func stored(_ sum: UInt32) -> Int64 { Int64(Int32(bitPattern: sum)) }

    /// Whether a column holds the checksum `sum`, in the present form or in the earlier one.
    static func isSame(_ stored: Int64, _ sum: Int64) -> Bool {
        stored >> 32 <= 0 && stored >> 31 >= -1 && UInt32(truncatingIfNeeded: stored) == UInt32(truncatingIfNeeded: sum)
    }

    /// The checksum over everything but the value.
    func headChecksum(key: UnsafeRawBufferPointer) -> Checksum {
        var sum = Checksum()
        sum.add(key)
        for number in [Int64(namespace), version, expiresAt, staleTTL, size, form.rawValue] { sum.add(number) }
        if var mediaType {
            sum.add(Int64(mediaType.utf8.count))
            mediaType.withUTF8 { sum.add(UnsafeRawBufferPointer($0)) }
        } else {
            sum.add(-1)
        }
        sum.add(Int64(tags.count))
        tags.withUnsafeBytes { sum.add($0) }
        return sum
    }
}

extension RowContent {
    init(_ entry: Entry, in namespace: NamespaceID, form: StoredForm) {
        self.namespace = namespace
        version = Int64(clamping: entry.version)
        expiresAt = entry.expiresAt.milliseconds
        staleTTL = entry.staleTTL
        size = Int64(entry.value.count)
        self.form = form
        mediaType = entry.kind.mediaType
        tags = TagList.encode(entry.tags)
    }

    /// The entry with these columns and a value.
    ///
    /// - Throws: `corrupt` if the tags cannot be decoded.
    func entry(value: [UInt8]) throws(TierFault) -> Entry {
        guard let names = tags.withUnsafeBytes({ TagList.decode($0) }) else {
            throw TierFault(.corrupt, "The tags of a row cannot be read.")
        }
        return Entry(
            value: value,
            kind: ValueKind(mediaType: mediaType),
            version: Version(clamping: version),
            expiresAt: Timestamp(milliseconds: expiresAt),
            staleTTL: staleTTL,
            tags: names
        )
    }
}
