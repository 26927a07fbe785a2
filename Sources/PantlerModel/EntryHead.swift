/// All of an entry but its value: enough to judge whether it may be seen, and to change its expiry and tags without reading the value.
package struct EntryHead: Hashable, Sendable {
    package var version: Version
    /// `never` for an entry without a TTL.
    package var expiresAt: Timestamp
    /// In milliseconds.
    package var staleTTL: Int64
    package var tags: [EntryTag]
    /// Whether it is a negative entry's.
    package var isAbsent: Bool

    package init(
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64,
        tags: [EntryTag],
        isAbsent: Bool = false
    ) {
        self.version = version
        self.expiresAt = expiresAt
        self.staleTTL = staleTTL
        self.tags = tags
        self.isAbsent = isAbsent
    }

    package init(_ entry: some Headed) {
        self.init(
            version: entry.version,
            expiresAt: entry.expiresAt,
            staleTTL: entry.staleTTL,
            tags: entry.tags,
            isAbsent: entry.isAbsent
        )
    }
}

/// What has a head that can be exchanged: an entry, with or without its value.
package protocol Headed {
    var version: Version { get set }
    var expiresAt: Timestamp { get set }
    var staleTTL: Int64 { get set }
    var tags: [EntryTag] { get set }
    /// Whether it is a negative entry. No change of a head alters that.
    var isAbsent: Bool { get }
}

extension Entry: Headed {}
extension EntryHead: Headed {}
extension ListedEntry: Headed {}

/// A change of an entry's head that leaves the value alone.
package struct Touch: Hashable, Sendable {
    /// The versions of the entry that have the value that is to stay. The touch can be done to an entry of one of these versions, and to no
    /// other.
    package var bases: [Version]
    package var head: EntryHead

    package init(bases: [Version], head: EntryHead) {
        self.bases = bases
        self.head = head
    }

    /// What becomes of an entry: itself where it is newer; `nil` where the touch was meant for another value.
    package func applied<Item: Headed>(to item: Item) -> Item? {
        if item.version >= head.version { return item }
        guard bases.contains(item.version) else { return nil }
        var item = item
        item.version = head.version
        item.expiresAt = head.expiresAt
        item.staleTTL = head.staleTTL
        item.tags = head.tags
        return item
    }
}
