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
