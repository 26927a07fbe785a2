/// An entry in place: pointers into memory, valid for as long as whoever shows it says.
package struct EntryView {
    package let key: UnsafeRawBufferPointer
    package let value: UnsafeRawBufferPointer
    package let isJSON: Bool
    /// Whether the key needs no escaping in a JSON string: it has no `"`, no `\` and no control bytes.
    package let keyIsPlain: Bool
    /// Whether the value is one that memory keeps in an allocation of its own.
    package let isLarge: Bool
    /// Empty for JSON, and for a negative entry, which is not JSON.
    package let mediaType: UnsafeRawBufferPointer
    /// Tags, each after a byte of its length.
    package let encodedTags: UnsafeRawBufferPointer
    package let hash: UInt64
    package let version: Version
    package let expiresAt: Timestamp
    /// Milliseconds.
    package let staleTTL: Int64

    // Inlined: it is made for every hit.
    @inlinable package init(
        key: UnsafeRawBufferPointer,
        value: UnsafeRawBufferPointer,
        isJSON: Bool,
        keyIsPlain: Bool,
        isLarge: Bool,
        mediaType: UnsafeRawBufferPointer,
        encodedTags: UnsafeRawBufferPointer,
        hash: UInt64,
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64
    ) {
        self.key = key
        self.value = value
        self.isJSON = isJSON
        self.keyIsPlain = keyIsPlain
        self.isLarge = isLarge
        self.mediaType = mediaType
        self.encodedTags = encodedTags
        self.hash = hash
        self.version = version
        self.expiresAt = expiresAt
        self.staleTTL = staleTTL
    }

    /// Of an entry that is somewhere else, and looks as if it were here. Complexity: O(length of the key).
    package init(
        key: UnsafeRawBufferPointer,
        value: UnsafeRawBufferPointer,
        isJSON: Bool,
        mediaType: UnsafeRawBufferPointer,
        encodedTags: UnsafeRawBufferPointer,
        hash: UInt64,
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64
    ) {
        self.init(
            key: key,
            value: value,
            isJSON: isJSON,
            keyIsPlain: Self.isPlain(key),
            isLarge: false,
            mediaType: mediaType,
            encodedTags: encodedTags,
            hash: hash,
            version: version,
            expiresAt: expiresAt,
            staleTTL: staleTTL
        )
    }

    /// The same entry, as if it expired at another moment.
    @inlinable package func expiring(at moment: Timestamp) -> EntryView {
        EntryView(
            key: key,
            value: value,
            isJSON: isJSON,
            keyIsPlain: keyIsPlain,
            isLarge: isLarge,
            mediaType: mediaType,
            encodedTags: encodedTags,
            hash: hash,
            version: version,
            expiresAt: moment,
            staleTTL: staleTTL
        )
    }

    /// Whether it is a negative entry, which has no value.
    @inlinable package var isAbsent: Bool { !isJSON && mediaType.isEmpty }

    /// Complexity: O(tags), one allocation each that has more than 15 bytes.
    package func tags() -> [EntryTag] {
        TagList.decode(encodedTags) ?? []
    }

    /// Whether a key can stand in a JSON string as it is. Complexity: O(length).
    @inlinable package static func isPlain(_ key: UnsafeRawBufferPointer) -> Bool {
        for byte in key where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return false }
        return true
    }
}
