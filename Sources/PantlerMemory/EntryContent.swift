package import PantlerModel

/// A small number that stands for a namespace in this process. `MemoryTier.takeSlot` gives it, and may give it again after `giveBack`.
package typealias NamespaceSlot = Int

/// An entry of a shard. It is valid until the shard is changed the next time; `promote` leaves it valid, and so does `setLife` where it
/// changes the entry in place.
package struct EntryRef: Equatable {
    let number: UInt32
}

package enum InsertOutcome: Equatable, Sendable {
    case stored
    /// The entry could never fit the namespace's quota or the tier, its slot is closed, or there is no memory. An older entry of the key is
    /// removed.
    case rejected
}

/// The parts of an entry that is inserted. The pointers are read only during the call, and may point into the same shard.
package struct EntryContent {
    package var value: UnsafeRawBufferPointer
    package var isJSON: Bool
    /// At most 65,535 bytes; empty for JSON, and for a negative entry, which is not JSON.
    package var mediaType: UnsafeRawBufferPointer
    /// Each tag has 1 to 255 bytes. All of them, with one byte of length each, have at most 65,535.
    package var tags: [EntryTag]
    package var version: Version
    package var expiresAt: Timestamp
    /// Milliseconds.
    package var staleTTL: Int64
    /// A copy of `value` that was made before the lock was taken, so that nobody waits while megabytes are copied. It is used only for a
    /// value of more than `MemoryTier.largeValueBytes`; where it is `nil`, the insert makes the copy.
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
