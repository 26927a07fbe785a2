import PantlerModel
import Synchronization

/// What invalidations have left to judge a namespace's entries by: its watermark, the marks of its tags, and the prefixes that are being
/// removed.
///
/// Marks and entries are compared by their versions, so that marks hold for one partition: for the keys whose versions come out of one
/// sequence. Over a disk that is all of them, and a namespace has one `Marks`.
final class Marks: Sendable {
    private struct State {
        var watermark: Watermark
        /// Tags that were invalidated, while entries may be left that this concerns.
        var tags = TagMarks()
        /// How many times some of them were forgotten, and how many were left the last time.
        var forgets = 0
        var tagsKept = 0
        /// Marks that entries still need, as a pass over all of them finds out; `nil` while there is none.
        var needed: NeededMarks?
        /// Prefixes whose removal is under way, with the version below which entries are gone.
        var prefixes: [(prefix: [UInt8], before: Version)] = []
    }

    private let state: Mutex<State>

    // What a hit looks at, mirrored out of `state`. Each is written under `state`'s lock and read without: a get that runs at the same time as
    // a flush may see either side of it, and one that starts after the flush was answered sees it, because the answer went through a socket.
    private let goneBefore: Atomic<Version>
    /// The version of the newest mark that made entries stale: older ones have to look at `state`.
    private let newestStale: Atomic<Version>
    /// The version of the newest invalidation of any tag: entries written later need no look at `tags`.
    private let newestTagMark = Atomic<Version>(0)
    /// Whether `state.needed` is there.
    private let isForgetting = Atomic(false)
    private let hasPrefixes = Atomic(false)

    init(_ watermark: Watermark) {
        goneBefore = Atomic(watermark.goneBefore)
        newestStale = Atomic(watermark.newestStale)
        state = Mutex(State(watermark: watermark))
    }

    // MARK: Marking

    /// That of all entries.
    var watermark: Watermark { state.withLock { $0.watermark } }

    /// Marks all entries.
    ///
    /// - Parameter makeMark: called under the lock, so that the horizon of `beginForgetting` never lies between a mark's version and its mark.
    /// - Returns: whether there was a mark.
    func mark(with makeMark: () -> Watermark?) -> Bool {
        state.withLock { state in
            guard let mark = makeMark() else { return false }
            state.watermark = state.watermark.merged(mark)
            mirror(state.watermark)
            return true
        }
    }

    private func mirror(_ watermark: Watermark) {
        newestStale.store(watermark.newestStale, ordering: .releasing)
        goneBefore.store(watermark.goneBefore, ordering: .releasing)
    }

    /// Marks tags, and hands over their marks as they are then.
    ///
    /// - Parameters:
    ///   - makeMark: called under the lock, as above.
    ///   - queue: called under the lock for each tag, so that marks of one tag are queued in their order.
    /// - Returns: whether there was a mark.
    func mark(
        tags: [EntryTag],
        with makeMark: () -> Watermark?,
        queue: (EntryTag, Watermark) -> Void
    ) -> Bool {
        state.withLock { state in
            guard let mark = makeMark() else { return false }
            for tag in tags { queue(tag, add(mark, to: tag, &state)) }
            return true
        }
    }

    /// A mark that the previous run has left.
    func restore(_ tag: EntryTag, _ mark: Watermark) { state.withLock { _ = add(mark, to: tag, &$0) } }

    private func add(_ mark: Watermark, to tag: EntryTag, _ state: inout State) -> Watermark {
        let merged = (state.tags[tag] ?? Watermark()).merged(mark)
        state.tags[tag] = merged
        if merged.newest > newestTagMark.load(ordering: .relaxed) {
            newestTagMark.store(merged.newest, ordering: .releasing)
        }
        return merged
    }

    /// Shows all marks of tags under the lock, which is given back again and again meanwhile. One that changes is shown as it was, or as it
    /// is.
    func withTags(_ body: (EntryTag, Watermark) -> Void) {
        for part in 0..<TagMarks.partCount {
            state.withLock { for (tag, mark) in $0.tags.part(part) { body(tag, mark) } }
        }
    }

    // MARK: Forgetting

    /// Marks of tags that a namespace may keep before a pass is worth its while.
    private static let manyTags = 1000

    /// Whether there are so many marks of tags that they should be forgotten soon.
    var hasManyTags: Bool { state.withLock { $0.tags.count > max(Self.manyTags, 2 * $0.tagsKept) } }

    /// Begins a pass over all entries, which finds out what marks are still needed.
    ///
    /// - Returns: every mark that is there has a version below it, every later one has not.
    func beginForgetting(_ versions: VersionAllocator) -> Version {
        state.withLock {
            $0.needed = NeededMarks()
            isForgetting.store(true, ordering: .releasing)
            return versions.latest + 1
        }
    }

    /// The pass has ended: forgets marks from before `horizon` that no entry needs.
    ///
    /// - Parameter isWhole: whether it has come to all entries; else nothing is forgotten.
    /// - Returns: tags whose marks stay; `nil` if no mark of a tag was forgotten.
    func endForgetting(before horizon: Version, isWhole: Bool) -> Set<EntryTag>? {
        let found: NeededMarks? = state.withLock { state in
            let found = state.needed
            state.needed = nil
            isForgetting.store(false, ordering: .releasing)
            guard isWhole, let found else { return nil }
            state.watermark.forgetStale(before: horizon) { found.ofNamespace.contains($0.before) }
            mirror(state.watermark)
            state.forgets += 1
            return found
        }
        guard let needed = found else { return nil }
        var kept: Set<EntryTag> = []
        var forgotten = 0
        // A part at a time: a get that waits for the lock is not to wait for all of them.
        for part in 0..<TagMarks.partCount {
            state.withLock { state in
                for (tag, mark) in state.tags.part(part) {
                    guard mark.newest < horizon else {
                        kept.insert(tag)
                        continue
                    }
                    guard let marks = needed.ofTags[tag] else {
                        state.tags[tag] = nil
                        forgotten += 1
                        continue
                    }
                    state.tags[tag]?.forgetStale(before: horizon) { marks.contains($0.before) }
                    kept.insert(tag)
                }
            }
        }
        return state.withLock { state in
            state.tagsKept = state.tags.count
            guard forgotten > 0 else { return nil }
            state.forgets += 1
            return kept
        }
    }

    /// Moves when marks of tags are forgotten: what was read of the lower tier before can then not be judged any more.
    var forgets: Int { state.withLock { $0.forgets } }

    var tagCount: Int { state.withLock { $0.tags.count } }

    // MARK: Prefixes

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

    /// The removals under way that may concern entries with one of these prefixes. Complexity: O(removals × prefixes).
    func removals(touching prefixes: [[UInt8]]) -> [(prefix: [UInt8], before: Version)] {
        guard hasPrefixes.load(ordering: .acquiring) else { return [] }
        return state.withLock { state in
            state.prefixes.filter { removal in
                prefixes.contains { $0.starts(with: removal.prefix) || removal.prefix.starts(with: $0) }
            }
        }
    }

    /// Whether the removal of a prefix that is under way concerns an entry that was read from the lower tier.
    func isBeingRemoved(_ key: [UInt8], version: Version) -> Bool {
        guard hasPrefixes.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            state.prefixes.contains { version < $0.before && key.starts(with: $0.prefix) }
        }
    }

    // MARK: Judging

    /// Judges an entry. Complexity: O(1) where nothing was declared stale and no tag invalidated since it was written; otherwise O(tags of
    /// the entry).
    func freshness(
        version: Version,
        expiresAt: Timestamp,
        staleTTL: Int64,
        at now: Timestamp,
        tags: () -> [EntryTag]
    ) -> Freshness {
        judgement(version, tags).freshness(expiresAt: expiresAt, staleTTL: staleTTL, at: now)
    }

    private func judgement(_ version: Version, _ tags: () -> [EntryTag]) -> Judgement {
        var judgement = Judgement()
        if version < goneBefore.load(ordering: .acquiring) {
            judgement.isGone = true
            return judgement
        }
        let isStale = version < newestStale.load(ordering: .acquiring)
        let names = version < newestTagMark.load(ordering: .acquiring) ? tags() : []
        guard isStale || !names.isEmpty else { return judgement }
        state.withLock { state in
            if isStale { judgement.add(state.watermark, version) }
            for name in names {
                if let mark = state.tags[name] { judgement.add(mark, version) }
            }
        }
        return judgement
    }

    func freshness(of item: some Headed, at now: Timestamp) -> Freshness {
        freshness(version: item.version, expiresAt: item.expiresAt, staleTTL: item.staleTTL, at: now) { item.tags }
    }

    func freshness(of view: EntryView, at now: Timestamp) -> Freshness {
        freshness(version: view.version, expiresAt: view.expiresAt, staleTTL: view.staleTTL, at: now) {
            view.encodedTags.isEmpty ? [] : view.tags()
        }
    }

    /// When marks end an entry; `nil` if they do not. While a pass looks for what marks are needed, those that it will live under for a
    /// while are.
    func markedEnd(
        version: Version,
        staleTTL: Int64,
        at now: Timestamp,
        tags: () -> [EntryTag]
    ) -> Timestamp? {
        guard let end = judgement(version, tags).end(staleTTL: staleTTL) else { return nil }
        if end > now { keepMarks(of: version, tags()) }
        return end
    }

    /// The same of an entry on its way into memory.
    func keepMarks(of entry: Entry, at now: Timestamp) {
        guard isForgetting.load(ordering: .acquiring) else { return }
        _ = markedEnd(version: entry.version, staleTTL: entry.staleTTL, at: now) { entry.tags }
    }

    /// The same of an entry in memory, which may be seen.
    func keepMarks(of view: EntryView, at now: Timestamp) {
        guard isForgetting.load(ordering: .acquiring) else { return }
        _ = markedEnd(version: view.version, staleTTL: view.staleTTL, at: now) {
            view.encodedTags.isEmpty ? [] : view.tags()
        }
    }

    private func keepMarks(of version: Version, _ tags: [EntryTag]) {
        state.withLock { state in
            guard state.needed != nil else { return }
            if let mark = state.watermark.staleMark(for: version) {
                state.needed?.ofNamespace.insert(mark.before)
            }
            for tag in tags {
                guard let mark = state.tags[tag]?.staleMark(for: version) else { continue }
                state.needed?.ofTags[tag, default: []].insert(mark.before)
            }
        }
    }
}

/// Stale marks, by their versions, that are the first for some entry.
private struct NeededMarks {
    var ofNamespace: Set<Version> = []
    var ofTags: [EntryTag: Set<Version>] = [:]
}
