/// A namespace's number within a data folder: given once, never given again, so that whatever a deleted namespace left
/// behind belongs to nobody.
package typealias NamespaceID = UInt32

/// A 53-bit integer that every write is given: grows strictly within a node, across restarts, and is never used twice.
package typealias Version = UInt64

/// A namespace's name: `[a-z0-9][a-z0-9._-]{0,62}`.
package struct NamespaceName: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    /// - Throws: `namespace_invalid`.
    package init(_ name: String) throws(Problem) {
        guard Self.isValid(name.utf8) else { throw Problem.namespaceInvalid(name) }
        description = name
    }

    /// Whether the bytes are a name. Complexity: O(length).
    package static func isValid(_ bytes: some Collection<UInt8>) -> Bool {
        guard let first = bytes.first, bytes.count <= Limits.namespaceNameBytes, isAlphanumeric(first) else {
            return false
        }
        return bytes.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

/// When a write counts as done.
package enum Durability: String, Sendable, CaseIterable {
    /// Never on disk.
    case memory
    /// Answered at once, on disk within 50 ms, or once the value is deflated where that takes longer.
    case behind
    /// Answered once committed and synced.
    case through
}

/// Which entry leaves a full memory tier.
package enum Eviction: String, Sendable, CaseIterable {
    /// The one that was used longest ago.
    case lru
}

/// What a namespace promises about its entries. Durations are in milliseconds here and in seconds on the wire.
package struct Policy: Hashable, Sendable {
    /// TTL of an entry that names none; `nil` = never expires.
    package var defaultTTL: Int64?
    /// Longest TTL; longer ones, and never, are clamped to it. `nil` = no limit.
    package var maxTTL: Int64?
    /// Stale TTL of an entry that names none.
    package var staleTTL: Int64 = 0
    /// TTL of a negative entry that names none, and the longest that one may have.
    package var negativeTTL: Int64 = 60_000
    /// Fraction of the TTL, 0...1, by which each expiry is brought forward at random, so that entries written together do not
    /// expire together.
    package var ttlJitter: Double = 0
    /// How early an entry that still is fresh is refreshed, 0...10, as the beta of XFetch ("Optimal Probabilistic Cache Stampede Prevention",
    /// VLDB 2015); 0 = never.
    package var earlyRefresh: Double = 0
    /// Bytes of memory that the namespace may hold; `nil` = the server's whole memory tier.
    package var maxMemory: Int64?
    /// Entries that the namespace may hold in memory; `nil` = as many as fit.
    package var maxEntries: Int64?
    /// Bytes on disk; `nil` = the server's whole disk tier.
    package var maxDisk: Int64?
    /// Largest value, in bytes.
    package var maxValueSize: Int64 = 8 << 20
    package var eviction: Eviction = .lru
    package var durability: Durability = .behind
    /// Values of at least this many bytes are deflated on disk when that pays.
    package var compressionThreshold: Int64 = 1024
    /// zlib's level, 1 (fast) to 9 (small); 0 = never deflate.
    package var compressionLevel: Int = 6

    package init() {}
}

/// A namespace as it is kept on disk.
package struct NamespaceRecord: Hashable, Sendable {
    package var id: NamespaceID
    package var name: NamespaceName
    package var policy: Policy
    /// How many times it was flushed.
    package var generation: UInt64 = 0
    package var watermark = Watermark()
    /// Entries of the namespace with a smaller version are void in the lower tier: they were written before the namespace last left that tier.
    package var lowerFrom: Version = 0
    package var createdAt: Timestamp

    package init(id: NamespaceID, name: NamespaceName, policy: Policy, createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.policy = policy
        self.createdAt = createdAt
    }
}
