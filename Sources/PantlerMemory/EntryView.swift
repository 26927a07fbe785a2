package import PantlerModel

/// Dense number of a namespace within this process; given by `MemoryTier.takeSlot`, reused after `giveBack`.
package typealias NamespaceSlot = Int

/// An entry of a shard. Valid until the shard's next mutation that is not `promote` or `setLife` without extras.
package struct EntryRef: Equatable {
    let number: UInt32
}

package enum InsertOutcome: Equatable, Sendable {
    case stored
    /// It could never fit the namespace's quota or the tier, or there is no memory; an older entry of the key is
    /// removed.
    case rejected
}

/// What an entry is made of on its way in. Pointers are read during the call only, and may point into the same shard.
package struct EntryContent {
    package var value: UnsafeRawBufferPointer
    package var isJSON: Bool
    /// At most 65,535 bytes; empty for JSON.
    package var mediaType: UnsafeRawBufferPointer
    /// Each of 1 to 255 bytes, 65,535 bytes in all with a byte of length each.
    package var tags: [EntryTag]
    package var version: Version
    package var expiresAt: Timestamp
    /// Milliseconds.
    package var staleTTL: Int64
    /// A copy of `value`, made before the lock was taken so that nobody waits for megabytes to be copied. Looked at
    /// only for a value over `MemoryTier.largeValueBytes`, where without it the insert makes its own.
    package var largeValue: LargeValue?

    package init(
        value: UnsafeRawBufferPointer,
        isJSON: Bool,
        mediaType: UnsafeRawBufferPointer,
        tags: [EntryTag],
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64,
        largeValue: LargeValue? = nil
    ) {
        self.value = value
        self.isJSON = isJSON
        self.mediaType = mediaType
        self.tags = tags
        self.version = version
        self.expiresAt = expiresAt
        self.staleTTL = staleTTL
        self.largeValue = largeValue
    }
}

/// An entry in place: pointers into the shard's memory, valid under its lock until its next mutation.
package struct EntryView {
    package let key: UnsafeRawBufferPointer
    package let value: UnsafeRawBufferPointer
    package let isJSON: Bool
    /// Whether the key needs no escaping in a JSON string: it has no `"`, no `\` and no control bytes.
    package let keyIsPlain: Bool
    /// Whether `MemoryShard.largeValue` has the value.
    package let isLarge: Bool
    package let mediaType: UnsafeRawBufferPointer
    /// Tags, each after a byte of its length.
    package let encodedTags: UnsafeRawBufferPointer
    package let hash: UInt64
    package let version: Version
    package let expiresAt: Timestamp
    /// Milliseconds.
    package let staleTTL: Int64

    init(
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
            keyIsPlain: isPlain(key),
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
    package func expiring(at moment: Timestamp) -> EntryView {
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

    /// Complexity: O(tags), one allocation each that has more than 15 bytes.
    package func tags() -> [EntryTag] {
        var tags: [EntryTag] = []
        var offset = 0
        while offset < encodedTags.count {
            let length = Int(encodedTags[offset])
            let bytes = UnsafeRawBufferPointer(rebasing: encodedTags[(offset + 1)..<(offset + 1 + length)])
            tags.append(EntryTag(bytes: bytes))
            offset += 1 + length
        }
        return tags
    }
}

/// Whether a key can stand in a JSON string as it is. Complexity: O(length).
func isPlain(_ key: UnsafeRawBufferPointer) -> Bool {
    for byte in key where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return false }
    return true
}
