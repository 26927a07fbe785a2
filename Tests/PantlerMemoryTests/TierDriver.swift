import PantlerMemory
import PantlerModel
import Support

/// A tier with a clock that ticks at each operation, driven by keys and values as a reader of a test would write them.
final class TierDriver: @unchecked Sendable {
    // Each test uses its driver from one thread; those with several threads use the tier alone.
    let tier: LockedTier
    let hasher = EntryHash(seed: 7)
    var now: UInt64 = 1
    /// What `makeRoom` reported, in order.
    var evicted: [(hash: UInt64, slot: NamespaceSlot)] = []

    init(maxBytes: Int = 64 << 20, shards: Int = 16, maxNamespaces: Int = 8) {
        tier = LockedTier(
            maxBytes: maxBytes,
            shardCount: shards,
            maxNamespaces: maxNamespaces
        )
    }

    func hash(_ slot: NamespaceSlot, _ key: [UInt8]) -> UInt64 {
        hasher.hash(namespace: NamespaceID(slot), key: key)
    }

    @discardableResult
    func put(_ slot: NamespaceSlot, _ key: [UInt8], _ content: Content, makesRoom: Bool = true) -> InsertOutcome {
        now += 1
        var outcome = InsertOutcome.rejected
        let hash = hash(slot, key)
        tier.withShard(hash) { shard in
            key.withUnsafeBytes { key in
                content.withEntryContent { outcome = shard.insert(hash, slot, key, $0, now: now) }
            }
        }
        if makesRoom { tier.makeRoom(slot, evicted: { evicted.append(($0.hash, $0.slot)) }) }
        return outcome
    }

    @discardableResult
    func put(_ slot: NamespaceSlot, _ key: String, _ value: String = "1") -> InsertOutcome {
        put(slot, Array(key.utf8), Content(value: Array(value.utf8)))
    }

    /// What a load of the hot set does.
    func putOldest(_ slot: NamespaceSlot, _ name: String, stamp: UInt64) -> InsertOutcome {
        let key = Array(name.utf8)
        var outcome = InsertOutcome.rejected
        let hash = hash(slot, key)
        tier.withShard(hash) { shard in
            key.withUnsafeBytes { key in
                Content(value: [1]).withEntryContent {
                    outcome = shard.insertOldest(hash, slot, key, $0, stamp: stamp)
                }
            }
        }
        return outcome
    }

    /// What a hit does; `nil` = a miss.
    func get(_ slot: NamespaceSlot, _ key: [UInt8], promotes: Bool = true) -> Content? {
        now += 1
        var found: Content?
        with(slot, key) { shard, ref in
            found = Content(shard.view(ref))
            if promotes { shard.promote(ref, now: now) }
        }
        return found
    }

    func get(_ slot: NamespaceSlot, _ key: String, promotes: Bool = true) -> Content? {
        get(slot, Array(key.utf8), promotes: promotes)
    }

    @discardableResult
    func remove(_ slot: NamespaceSlot, _ key: [UInt8]) -> Bool {
        var found = false
        with(slot, key) { shard, ref in
            shard.remove(ref)
            found = true
        }
        return found
    }

    /// Runs `body` if the key is there.
    func with(_ slot: NamespaceSlot, _ key: [UInt8], _ body: (inout MemoryShard, EntryRef) -> Void) {
        let hash = hash(slot, key)
        tier.withShard(hash) { shard in
            if let ref = key.withUnsafeBytes({ shard.find(hash, slot, $0) }) { body(&shard, ref) }
        }
    }

    /// Keys of a namespace, by a walk in steps of `limit` entries.
    func keys(_ slot: NamespaceSlot, limit: Int = 7) -> Set<[UInt8]> {
        var keys: Set<[UInt8]> = []
        tier.withEachShard { _, shard in
            var position = WalkPosition()
            while shard.walk(
                slot,
                &position,
                limit: limit,
                {
                    keys.insert(Array($0.key))
                    return .keep
                }
            ) {}
        }
        return keys
    }
}

/// An entry's content as a value.
struct Content: Equatable {
    var value: [UInt8]
    var isJSON = true
    var mediaType: [UInt8] = []
    var tags: [EntryTag] = []
    var version: Version = 1
    var expiresAt = Timestamp.never
    var staleTTL: Int64 = 0

    init(value: [UInt8]) { self.value = value }

    init(_ view: EntryView) {
        value = Array(view.value)
        isJSON = view.isJSON
        mediaType = Array(view.mediaType)
        tags = view.tags()
        version = view.version
        expiresAt = view.expiresAt
        staleTTL = view.staleTTL
    }

    func withEntryContent(_ body: (EntryContent) -> Void) {
        value.withUnsafeBytes { value in
            mediaType.withUnsafeBytes { mediaType in
                body(
                    EntryContent(
                        value: value,
                        isJSON: isJSON,
                        mediaType: mediaType,
                        tags: tags,
                        version: version,
                        expiresAt: expiresAt,
                        staleTTL: staleTTL
                    )
                )
            }
        }
    }
}
