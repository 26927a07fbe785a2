import PantlerInsight
import PantlerMemory
import PantlerModel

/// What stands at an address when a write comes to it.
///
/// A stale entry has as its expiry the moment since which it is stale. So where a change keeps the expiry, the entry stays as stale as it
/// was, although the change gives it a version that no mark concerns.
///
/// A negative entry stands there like any other, and can be replaced, removed and invalidated. But to whoever asks for an entry, as a condition
/// does, there is none: it is not present, and has no version.
enum Standing {
    /// Nobody has looked, because it makes no difference to the write.
    case unknown
    /// Nothing stands there that may be seen, for this reason.
    case none(MissReason)
    /// An entry in memory. A large value comes with the object that has its bytes. Valid under the shard's lock.
    case memory(EntryRef, EntryView, LargeValue?)
    case lower(Entry)
    /// An entry of the lower tier whose value nobody has asked for.
    case head(EntryHead)

    /// Whether there is an entry that may be seen, and no negative one.
    var isPresent: Bool {
        switch self {
        case .memory(_, let view, _): !view.isAbsent
        case .lower(let entry): !entry.isAbsent
        case .head(let head): !head.isAbsent
        case .unknown, .none: false
        }
    }

    /// Why there is no entry. Of a key with a negative entry, nothing was ever seen.
    var reason: MissReason {
        if case .none(let reason) = self { reason } else { .absent }
    }

    /// The version of an entry that is present.
    var version: Version? {
        guard isPresent else { return nil }
        return switch self {
        case .memory(_, let view, _): view.version
        case .lower(let entry): entry.version
        case .head(let head): head.version
        case .unknown, .none: nil
        }
    }

    /// When an entry that is present expires, or since when it is stale.
    private var expiresAt: Timestamp? {
        guard isPresent else { return nil }
        return switch self {
        case .memory(_, let view, _): view.expiresAt
        case .lower(let entry): entry.expiresAt
        case .head(let head): head.expiresAt
        case .unknown, .none: nil
        }
    }

    /// Whether a step decides the same on both, but for what time alone changes.
    func isSame(as other: Standing) -> Bool { version == other.version && expiresAt == other.expiresAt }

    /// Bytes of the value that stands there; 0 where there is none.
    var valueCount: Int {
        switch self {
        case .memory(_, let view, _): view.value.count
        case .lower(let entry): entry.value.count
        case .head, .unknown, .none: 0
        }
    }

    /// The whole entry, if one is present. Complexity: O(size) for one in memory.
    var entry: Entry? {
        guard isPresent else { return nil }
        return switch self {
        case .memory(_, let view, _): Entry(view)
        case .lower(let entry): entry
        case .head, .unknown, .none: nil
        }
    }

    /// The entry, or negative entry, without its value. Complexity: O(tags).
    var head: EntryHead? {
        switch self {
        case .memory(_, let view, _):
            EntryHead(
                version: view.version,
                expiresAt: view.expiresAt,
                staleTTL: view.staleTTL,
                tags: view.encodedTags.isEmpty ? [] : view.tags(),
                isAbsent: view.isAbsent
            )
        case .lower(let entry): EntryHead(entry)
        case .head(let head): head
        case .unknown, .none: nil
        }
    }
}
