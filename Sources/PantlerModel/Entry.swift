/// How a value's bytes are to be read.
package enum ValueKind: Hashable, Sendable {
    /// A JSON text (RFC 8259), byte for byte as it was received.
    case json
    /// Anything, with its media type.
    case bytes(mediaType: String)
    /// A negative entry: there is no value, since the source has nothing under the key.
    case absent

    /// - Parameter mediaType: as `mediaType` writes a kind down.
    package init(mediaType: String?) {
        switch mediaType {
        case nil: self = .json
        case "": self = .absent
        case let type?: self = .bytes(mediaType: type)
        }
    }

    /// The media type by which tiers write a kind down: none for JSON, and the empty one, which is no media type of any value, for a negative
    /// entry.
    package var mediaType: String? {
        switch self {
        case .json: nil
        case .bytes(let type): type
        case .absent: ""
        }
    }
}

/// Where an entry lives: a key within a namespace, with the hash that every tier looks it up by.
package struct EntryAddress: Hashable, Sendable {
    package let namespace: NamespaceID
    package let key: [UInt8]
    /// `EntryHash.hash` of the two above; computed once a request.
    package let hash: UInt64

    package init(namespace: NamespaceID, key: [UInt8], hash: UInt64) {
        self.namespace = namespace
        self.key = key
        self.hash = hash
    }

    package static func == (left: EntryAddress, right: EntryAddress) -> Bool {
        left.hash == right.hash && left.namespace == right.namespace && left.key == right.key
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(hash)
    }

    /// Whether it is in a namespace, and its key begins with `prefix`.
    package func isIn(_ namespace: NamespaceID, prefix: [UInt8]) -> Bool {
        self.namespace == namespace && key.starts(with: prefix)
    }
}

/// A whole entry as a value: what travels between the store and a lower tier.
package struct Entry: Hashable, Sendable {
    package var value: [UInt8]
    package var kind: ValueKind
    package var version: Version
    /// `never` for an entry without a TTL.
    package var expiresAt: Timestamp
    /// How long past `expiresAt` it may be handed out as stale, in milliseconds.
    package var staleTTL: Int64
    package var tags: [EntryTag]

    package init(
        value: [UInt8],
        kind: ValueKind,
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64 = 0,
        tags: [EntryTag] = []
    ) {
        self.value = value
        self.kind = kind
        self.version = version
        self.expiresAt = expiresAt
        self.staleTTL = staleTTL
        self.tags = tags
    }

    package var isAbsent: Bool { kind == .absent }

    /// The moment from which on nobody may see it, if nothing but time ends it.
    package var deadAt: Timestamp { expiresAt.advanced(byMilliseconds: staleTTL) }
}

/// Where an entry was found.
package enum Tier: String, Sendable, CaseIterable {
    case memory, disk, shared
}

/// Why a get found nothing. The reasons add up to the misses.
package enum MissReason: UInt8, Sendable, CaseIterable {
    /// Never seen, or seen so long ago that it is forgotten.
    case absent = 0
    /// Its TTL, and its stale TTL, ran out.
    case expired = 1
    /// It made room for others.
    case evicted = 2
    case deleted = 3
    /// By tag, by prefix or by a flush.
    case invalidated = 4
    /// Too large for the tier that was to hold it.
    case rejected = 5

    package var name: String {
        switch self {
        case .absent: "absent"
        case .expired: "expired"
        case .evicted: "evicted"
        case .deleted: "deleted"
        case .invalidated: "invalidated"
        case .rejected: "rejected"
        }
    }
}
