import PantlerModel

/// What waits in the queue.
enum Change: Sendable {
    case entry(KeyedChange)
    case control(Control)

    init(_ mutation: consuming Mutation) {
        switch consume mutation {
        case .put(let address, let entry, let options): self = .entry(KeyedChange(address, .put(entry, options)))
        case .touch(let address, let touch): self = .entry(KeyedChange(address, .touch(touch)))
        case .delete(let address, let version): self = .entry(KeyedChange(address, .delete(version: version)))
        case .namespace(let record): self = .control(.namespace(record))
        case .tag(let namespace, let tag, let mark): self = .control(.tag(namespace, tag, mark))
        case .forgetTags(let namespace, let before, let kept):
            self = .control(.forgetTags(namespace, before: before, except: kept))
        case .dropNamespace(let namespace): self = .control(.dropNamespace(namespace))
        case .token(let record): self = .control(.token(record))
        case .removeToken(let id): self = .control(.removeToken(id))
        }
    }

    /// The bytes that it counts for in the queue; see `KeyedChange.bytes`.
    var bytes: Int64 {
        switch self {
        case .entry(let keyed): keyed.bytes
        case .control(.hotSet(let hashes)): Int64(hashes.count) * 8 + 128
        case .control(.token(let record)): Int64(record.note.utf8.count + 96 * record.grant.namespaces.count) + 512
        case .control: 512
        }
    }
}

/// A change of the entry at an address.
///
/// An object, since it is handed on: from the queue to a batch, from there to the journal's changes, and to the thread that writes. As a
/// value each step would count the references to key, value and tags, and on two cores these counts are what the steps cost.
final class KeyedChange: Sendable {
    let address: EntryAddress
    let change: EntryChange
    /// The bytes of key and value, and about as many as the objects and the dictionary around them take. Stored, since to ask the arrays for
    /// their lengths would fetch memory that another core has written.
    let bytes: Int64
    /// How its value is deflated, where a thread of the `DeflaterPool` does so.
    let deflation: Deflation?

    init(_ address: consuming EntryAddress, _ change: consuming EntryChange) {
        switch change {
        case .put(let entry, let options):
            bytes = Int64(address.key.count + entry.value.count) + 256
            deflation = Deflation(of: entry.value, options)
        case .touch, .delete:
            bytes = Int64(address.key.count) + 192
            deflation = nil
        }
        self.address = address
        self.change = change
    }

    var version: Version { change.version }
}

/// What is to become of an entry.
enum EntryChange: Sendable {
    case put(Entry, PutOptions)
    /// The value is that of an earlier change, or of the row.
    case touch(Touch)
    case delete(version: Version)

    var version: Version {
        switch self {
        case .put(let entry, _): entry.version
        case .touch(let touch): touch.head.version
        case .delete(let version): version
        }
    }

    /// The entry that reads see while the change waits; `nil` too where it has to be told by what is below.
    var entry: Entry? {
        switch self {
        case .put(let entry, _): entry
        case .touch, .delete: nil
        }
    }

    /// The change that does what an earlier one and this one do, one after the other. The value of an earlier put is not copied.
    ///
    /// - Parameter earlier: may be this one itself, or a later one that has taken account of it, where a change is met twice on its way.
    func following(_ earlier: EntryChange?) -> EntryChange {
        guard case .touch(var touch) = self, let earlier else { return self }
        if earlier.version >= version { return earlier }
        switch earlier {
        case .put(let entry, let options):
            return touch.applied(to: entry).map { .put($0, options) } ?? .delete(version: version)
        case .touch(let first):
            guard touch.bases.contains(first.head.version) else { return .delete(version: version) }
            touch.bases += first.bases
            return .touch(touch)
        case .delete: return .delete(version: version)
        }
    }
}

/// A change of what is not an entry. These are never given up while the tier lives.
enum Control: Sendable {
    case namespace(NamespaceRecord)
    case tag(NamespaceID, EntryTag, Watermark)
    case forgetTags(NamespaceID, before: Version, except: Set<EntryTag>)
    case dropNamespace(NamespaceID)
    case token(TokenRecord)
    case removeToken(TokenID)
    case versionCeiling(Version)
    case hotSet([UInt64])
    /// A row was found damaged. It is removed unless it has been rewritten since.
    case removeDamaged(row: Int64, checksum: Int64)
    /// Changes of the namespace up to this version were given up: what the file has of it up to there must not be seen any more.
    case void(NamespaceID, through: Version)

    /// Of two controls with the same name the later one says all that the earlier one did.
    enum Name: Hashable {
        case namespace(NamespaceID)
        case tag(NamespaceID, EntryTag)
        case token(TokenID)
        case versionCeiling
        case hotSet
        case void(NamespaceID)
    }

    var name: Name? {
        switch self {
        case .namespace(let record): .namespace(record.id)
        case .tag(let namespace, let tag, _): .tag(namespace, tag)
        case .token(let record): .token(record.id)
        case .removeToken(let id): .token(id)
        case .versionCeiling: .versionCeiling
        case .hotSet: .hotSet
        case .void(let namespace, _): .void(namespace)
        case .forgetTags, .dropNamespace, .removeDamaged: nil
        }
    }
}
