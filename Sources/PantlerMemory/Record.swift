import PantlerModel

/// The fixed part of an entry: 48 bytes.
///
/// What an entry costs, in bytes:
///
///     48 (record) + 4 (bucket) + roundUp4(4 (back reference) + key + value [+ 12 + media type + tags])
///
/// The part in brackets is there for entries with a media type, tags or a stale TTL. Of a value over `MemoryTier.largeValueBytes` the log
/// keeps an 8-byte pointer; the value has an allocation of its own. Beside all that the tier holds what the pieces of `Geometry` leave
/// empty, and what was freed and is not compacted yet.
struct Record {
    var hash: UInt64
    /// Next record in the bucket's chain; 0 = last.
    var next: UInt32
    /// Where the payload is, in units of 4 bytes within the shard's log.
    var payload: UInt32
    /// Neighbours in the recency list, or in the list of free records; 0 = none.
    var newer: UInt32
    var older: UInt32
    /// Version (53 bits) and key length (11 bits). 0 = the record is free, since no key is empty.
    private var versionAndKey: UInt64
    /// Expiry in milliseconds (44 bits, all set = never), length of a value that is not large (16), flags (4).
    private var expiryAndValue: UInt64
    /// Microseconds of the last access (50 bits: 35 years), slot (14 bits).
    private var stampAndSlot: UInt64

    static let slotLimit = Limits.namespaces
    static let largestStamp: UInt64 = (1 << 50) - 1
    private static let never: UInt64 = (1 << 44) - 1

    struct Flags {
        static let json: UInt64 = 1
        static let plainKey: UInt64 = 2
        static let extras: UInt64 = 4
        static let large: UInt64 = 8
    }

    /// - Parameter valueLength: 0 for a large value.
    init(
        hash: UInt64,
        slot: NamespaceSlot,
        keyLength: Int,
        version: Version,
        expiresAt: Timestamp,
        valueLength: Int,
        flags: UInt64
    ) {
        self.hash = hash
        (next, payload, newer, older) = (0, 0, 0, 0)
        versionAndKey = version << 11 | UInt64(keyLength)
        expiryAndValue = Self.encode(expiresAt) << 20 | UInt64(valueLength) << 4 | flags
        stampAndSlot = UInt64(slot)
    }

    var isLive: Bool { versionAndKey != 0 }
    mutating func markFree() { versionAndKey = 0 }

    var keyLength: Int { Int(versionAndKey & 0x7ff) }
    var version: Version {
        get { versionAndKey >> 11 }
        set { versionAndKey = newValue << 11 | versionAndKey & 0x7ff }
    }

    /// Moments before 1970 are kept as 1970, those after the year 2527 as never.
    var expiresAt: Timestamp {
        get {
            let milliseconds = expiryAndValue >> 20
            return milliseconds == Self.never ? .never : Timestamp(milliseconds: Int64(milliseconds))
        }
        set { expiryAndValue = Self.encode(newValue) << 20 | expiryAndValue & 0xf_ffff }
    }

    var valueLength: Int { Int(expiryAndValue >> 4 & 0xffff) }
    var isJSON: Bool { expiryAndValue & Flags.json != 0 }
    var hasPlainKey: Bool { expiryAndValue & Flags.plainKey != 0 }
    var hasExtras: Bool { expiryAndValue & Flags.extras != 0 }
    var isLarge: Bool { expiryAndValue & Flags.large != 0 }

    var slot: NamespaceSlot { NamespaceSlot(stampAndSlot & 0x3fff) }
    var stamp: UInt64 {
        get { stampAndSlot >> 14 }
        set { stampAndSlot = newValue << 14 | stampAndSlot & 0x3fff }
    }

    private static func encode(_ moment: Timestamp) -> UInt64 {
        UInt64(clamping: max(0, min(moment.milliseconds, Int64(never))))
    }
}
