import PantlerInsight
package import PantlerMemory
package import PantlerModel
import Synchronization

/// A namespace at work: what each request needs of it without a lock, and the rest behind one.
package final class Namespace: Sendable {
    package let id: NamespaceID
    package let name: NamespaceName
    package let slot: NamespaceSlot
    package let createdAt: Timestamp

    struct State {
        var record: NamespaceRecord
        /// Tags that were invalidated, while entries may be left that this concerns.
        var tags: [EntryTag: Watermark] = [:]
        /// How many times some of them were forgotten.
        var forgets = 0
        /// Prefixes whose removal is under way, with the version below which entries are gone.
        var prefixes: [(prefix: [UInt8], before: Version)] = []
        var windows = RateWindows()
    }

    /// Guards policy, marks and windows. Taken inside a shard's lock at times, never the other way round.
    let state: Mutex<State>

    // What a hit looks at, mirrored out of `state.record.watermark`. Each is written under `state`'s lock and read without: a get
    // that runs at the same time as a flush may see either side of it, and one that starts after the flush was answered
    // sees it, because the answer went through a socket.
    private let goneBefore: Atomic<Version>
    private let staleBefore: Atomic<Version>
    private let staleSince: Atomic<Int64>
    /// The version of the newest invalidation of any tag: entries written later need no look at `tags`.
    private let newestTagMark = Atomic<Version>(0)
    private let usesLowerFlag: Atomic<Bool>
    private let hasPrefixes = Atomic(false)
    private let droppedFlag = Atomic(false)
    private let lowerEvictionCount = Atomic<UInt64>(0)

    init(record: NamespaceRecord, slot: NamespaceSlot) {
        id = record.id
        name = record.name
        self.slot = slot
        createdAt = record.createdAt
        goneBefore = Atomic(record.watermark.goneBefore)
        staleBefore = Atomic(record.watermark.staleBefore)
        staleSince = Atomic(record.watermark.staleSince.milliseconds)
        usesLowerFlag = Atomic(record.policy.durability != .memory)
        state = Mutex(State(record: record))
    }

    package var record: NamespaceRecord { state.withLock { $0.record } }
    package var policy: Policy { state.withLock { $0.record.policy } }

    /// Whether entries live in the lower tier too.
    package var usesLower: Bool { usesLowerFlag.load(ordering: .relaxed) }

    /// Whether the namespace was deleted. Nothing is put into it any more.
    package var isDropped: Bool { droppedFlag.load(ordering: .acquiring) }

    func drop() { droppedFlag.store(true, ordering: .releasing) }

    func setUsesLower(_ uses: Bool) { usesLowerFlag.store(uses, ordering: .relaxed) }

    /// Entries that left the lower tier to make room for others.
    var lowerEvictions: UInt64 { lowerEvictionCount.load(ordering: .relaxed) }

    func countLowerEviction() { lowerEvictionCount.wrappingAdd(1, ordering: .relaxed) }

    // MARK: Invalidation

    /// Changes the record under the lock, mirrors its watermark, and returns it as it is then.
    func update(_ change: (inout NamespaceRecord) -> Void) -> NamespaceRecord {
        state.withLock {
            change(&$0.record)
            let mark = $0.record.watermark
            staleSince.store(mark.staleSince.milliseconds, ordering: .relaxed)
            staleBefore.store(mark.staleBefore, ordering: .releasing)
            goneBefore.store(mark.goneBefore, ordering: .releasing)
            return $0.record
        }
    }

    /// Marks tags; returns their marks as they are then, or `nil` if there is no mark to be had.
    ///
    /// - Parameter makeMark: called under the lock, so that `markHorizon` never lies between a mark's version and its mark.
    @discardableResult
    func mark(tags: [EntryTag], with makeMark: () -> Watermark?) -> [(tag: EntryTag, mark: Watermark)]? {
        state.withLock { state in
            guard let mark = makeMark() else { return nil }
            return tags.map { tag in
                let merged = (state.tags[tag] ?? Watermark()).merged(mark)
                state.tags[tag] = merged
                if merged.newest > newestTagMark.load(ordering: .relaxed) {
                    newestTagMark.store(merged.newest, ordering: .releasing)
                }
                return (tag, merged)
            }
        }
    }

    /// Every mark that is there has a version below it, every later one has not.
    func markHorizon(_ versions: VersionAllocator) -> Version { state.withLock { _ in versions.latest + 1 } }

    /// Forgets invalidations of tags from before `version`, once no older entry is left that they end; returns before which
    /// version that holds for all of them, or `nil` if there was nothing to forget.
    ///
    /// What a tag has made stale may be there for as long as its stale TTL, so such marks stay, and all later ones with them.
    func forgetTags(before version: Version) -> Version? {
        state.withLock { state in
            var end = version
            for mark in state.tags.values where mark.staleBefore > 0 { end = min(end, mark.newest) }
            let kept = state.tags.filter { $0.value.newest >= end }
            guard kept.count < state.tags.count else { return nil }
            state.tags = kept
            state.forgets += 1
            return end
        }
    }

    /// Moves when marks of tags are forgotten: what was read of the lower tier before can then not be judged any more.
    var forgets: Int { state.withLock { $0.forgets } }

    var tagCount: Int { state.withLock { $0.tags.count } }

    func begin(prefix: [UInt8], before version: Version) {
        state.withLock {
            $0.prefixes.append((prefix, version))
            hasPrefixes.store(true, ordering: .releasing)
        }
    }

    func end(prefix: [UInt8], before version: Version) {
        state.withLock {
            $0.prefixes.removeAll { $0.before == version && $0.prefix == prefix }
            hasPrefixes.store(!$0.prefixes.isEmpty, ordering: .releasing)
        }
    }

    /// Whether the removal of a prefix that is under way concerns an entry that was read from the lower tier.
    func isBeingRemoved(_ key: [UInt8], version: Version) -> Bool {
        guard hasPrefixes.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            state.prefixes.contains { version < $0.before && key.starts(with: $0.prefix) }
        }
    }

    /// Judges an entry. Complexity: O(1) without tags, or when no tag was invalidated since it was written; otherwise
    /// O(tags of the entry).
    func freshness(
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64,
        at now: Timestamp,
        tags: () -> [EntryTag]
    ) -> Freshness {
        var mark = Watermark()
        mark.goneBefore = goneBefore.load(ordering: .acquiring)
        mark.staleBefore = staleBefore.load(ordering: .acquiring)
        mark.staleSince = Timestamp(milliseconds: staleSince.load(ordering: .relaxed))
        if version < newestTagMark.load(ordering: .acquiring) {
            let names = tags()
            if !names.isEmpty {
                state.withLock { state in
                    for name in names {
                        if let tagMark = state.tags[name] { mark = mark.stricter(tagMark, for: version) }
                    }
                }
            }
        }
        return Life(version: version, expiresAt: expiresAt, staleTTL: staleTTL).freshness(at: now, under: mark)
    }

    func freshness(of entry: Entry, at now: Timestamp) -> Freshness {
        freshness(version: entry.version, expiresAt: entry.expiresAt, staleTTL: entry.staleTTL, at: now) { entry.tags }
    }

    func freshness(of view: EntryView, at now: Timestamp) -> Freshness {
        freshness(version: view.version, expiresAt: view.expiresAt, staleTTL: view.staleTTL, at: now) {
            view.encodedTags.isEmpty ? [] : view.tags()
        }
    }
}

extension Watermark {
    /// Entries of this version or a later one are not concerned.
    fileprivate var newest: Version { max(goneBefore, staleBefore) }

    /// The mark that ends an entry of `version` soonest.
    fileprivate func stricter(_ other: Watermark, for version: Version) -> Watermark {
        var result = self
        result.goneBefore = max(goneBefore, other.goneBefore)
        if version < other.staleBefore, version >= staleBefore || other.staleSince < staleSince {
            result.staleBefore = other.staleBefore
            result.staleSince = other.staleSince
        }
        return result
    }
}
