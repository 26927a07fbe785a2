import PantlerModel
import Synchronization

/// The marks that invalidations have left, by which a namespace's entries are judged: its watermark, the marks of its tags, and the
/// prefixes that are being removed.
///
/// Marks and entries are compared by their versions. So marks hold for one partition: for the keys whose versions come out of one sequence.
/// Over a disk these are all keys, and a namespace has one `Marks`.
final class Marks: Sendable {
    private struct State {
        var watermark: Watermark
        /// The marks of tags that were invalidated. A mark stays while there may be entries that it concerns.
        var tags = TagMarks()
        /// How many times marks were forgotten, and how many tags had marks left the last time.
        var forgets = 0
        var tagsKept = 0
        /// The marks that entries still need, as far as the pass over all entries has found out; `nil` while no pass is under way.
        var needed: NeededMarks?
        /// Prefixes whose removal is under way, with the version below which entries are gone.
        var prefixes: [(prefix: [UInt8], before: Version)] = []
        /// Prefixes that are being invalidated, with the version before which leases are lost. A fence stays until no such lease is left.
        var fences: [(prefix: [UInt8], before: Version)] = []
        /// Prefixes that a walk makes stale, with the version below which entries are concerned.
        var stalePrefixes: [(prefix: [UInt8], before: Version)] = []
    }

    private let state: Mutex<State>

    // Copies of what a hit looks at in `state`. They are written under `state`'s lock and read without it: a get that runs at the same time
    // as a flush may see either side of it, and one that starts after the flush was answered sees it, because the answer went through a
    // socket.
    private let goneBefore: Atomic<Version>
    /// The version of the newest mark that made entries stale. For an entry with a smaller version, `state` has to be looked at.
    private let newestStale: Atomic<Version>
    /// The version of the newest invalidation of any tag: entries written later need no look at `tags`.
    private let newestTagMark = Atomic<Version>(0)
    /// Whether a pass is under way: whether `state.needed` is not `nil`.
    private let isForgetting = Atomic(false)
    private let hasPrefixes = Atomic(false)
    private let hasStalePrefixes = Atomic(false)

    init(_ watermark: Watermark) {
        goneBefore = Atomic(watermark.goneBefore)
        newestStale = Atomic(watermark.newestStale)
        state = Mutex(State(watermark: watermark))
    }

    // MARK: Marking

    /// The mark of all entries.
    var watermark: Watermark { state.withLock { $0.watermark } }

    /// Marks all entries.
    ///
    /// - Parameter makeMark: makes the mark. It is called under the lock, so that the horizon of `beginForgetting` never lies between a
    ///   mark's version and its mark.
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

    /// Marks tags. Each tag's marks, the new one included, are handed to `queue`.
    ///
    /// - Parameters:
    ///   - makeMark: makes the mark, under the lock; see the `mark` above.
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

    /// Sets a mark that the previous run has left.
    func restore(_ tag: EntryTag, _ mark: Watermark) { state.withLock { _ = add(mark, to: tag, &$0) } }

    private func add(_ mark: Watermark, to tag: EntryTag, _ state: inout State) -> Watermark {
        let merged = (state.tags[tag] ?? Watermark()).merged(mark)
        state.tags[tag] = merged
        if merged.newest > newestTagMark.load(ordering: .relaxed) {
            newestTagMark.store(merged.newest, ordering: .releasing)
        }
        return merged
    }

    /// Shows the marks of all tags to `body` under the lock, which is released again and again meanwhile. A mark that changes meanwhile is
    /// shown either as it was or as it is.
    func withTags(_ body: (EntryTag, Watermark) -> Void) {
        for part in 0..<TagMarks.partCount {
            state.withLock { for (tag, mark) in $0.tags.part(part) { body(tag, mark) } }
        }
    }

    // MARK: Forgetting

    /// Marks of tags that a namespace may have before a pass to forget them is worth its cost.
    private static let manyTags = 1000

    /// Whether there are so many marks of tags that they should be forgotten soon.
    var hasManyTags: Bool { state.withLock { $0.tags.count > max(Self.manyTags, 2 * $0.tagsKept) } }

    /// Begins a pass over all entries, which finds out what marks are still needed.
    ///
    /// - Returns: a horizon: each mark that is there has a smaller version, and no later mark has.
    func beginForgetting(_ versions: VersionAllocator) -> Version {
        state.withLock {
            $0.needed = NeededMarks()
            isForgetting.store(true, ordering: .releasing)
            return versions.latest + 1
        }
    }

    /// Ends a pass: forgets the marks from before `horizon` that no entry needs.
    ///
    /// - Parameter isWhole: whether the pass has come to all entries; otherwise nothing is forgotten.
    /// - Returns: the tags whose marks stay; `nil` if no mark of a tag was forgotten.
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
        // The lock is taken for one part at a time, so that a get that waits for it does not wait for all of them.
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

    /// A number that grows whenever marks are forgotten. What was read from the lower tier before that can then not be judged any more.
    var forgets: Int { state.withLock { $0.forgets } }

    var tagCount: Int { state.withLock { $0.tags.count } }

    // MARK: Prefixes

    /// Begins the invalidation of a prefix, with a fence, and hides the entries where they are to be gone.
    ///
    /// - Parameter allocate: makes the version below which entries and leases are concerned. It is called under the lock, so that a fill with
    ///   a later version finds the fence: see `fences`.
    /// - Returns: that version; `nil` where there was none.
    func begin(prefix: [UInt8], hides: Bool, with allocate: () -> Version?) -> Version? {
        state.withLock { state in
            guard let version = allocate() else { return nil }
            state.fences.append((prefix, version))
            if hides {
                state.prefixes.append((prefix, version))
                hasPrefixes.store(true, ordering: .releasing)
            } else {
                state.stalePrefixes.append((prefix, version))
                hasStalePrefixes.store(true, ordering: .releasing)
            }
            return version
        }
    }

    /// Ends the marking of entries that a walk has made stale.
    func endStale(prefix: [UInt8], before version: Version) {
        state.withLock {
            $0.stalePrefixes.removeAll { $0.before == version && $0.prefix == prefix }
            hasStalePrefixes.store(!$0.stalePrefixes.isEmpty, ordering: .releasing)
        }
    }

    /// Whether a walk that is under way has still to make an entry with this key and version stale.
    func isBeingMadeStale(_ key: [UInt8], version: Version) -> Bool {
        guard hasStalePrefixes.load(ordering: .acquiring) else { return false }
        return state.withLock { state in
            state.stalePrefixes.contains { version < $0.before && key.starts(with: $0.prefix) }
        }
    }

    /// Returns once every mark can be seen whose version was given before this call.
    func settle() { state.withLock { _ in } }

    /// Ends a fence: no lease from before the version is left.
    func endFence(prefix: [UInt8], before version: Version) {
        state.withLock { $0.fences.removeAll { $0.before == version && $0.prefix == prefix } }
    }

    /// Whether something was invalidated since a lease was given that concerns what the lease is to fill.
    ///
    /// To be called after the fill has its version. An invalidation that this does not see has a later one, so that it ends the entry like
    /// any other.
    ///
    /// - Parameter since: the newest version that had been given when the lease was.
    func fences(_ key: [UInt8], _ tags: [EntryTag], since: Version) -> Bool {
        state.withLock { state in
            state.watermark.newest > since || tags.contains { (state.tags[$0]?.newest ?? 0) > since }
                || state.fences.contains { $0.before > since && key.starts(with: $0.prefix) }
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

    /// Whether the removal of a prefix that is under way concerns an entry with this key and version.
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

    /// When marks end an entry; `nil` if they do not. Where the end is still ahead, a pass that is under way notes that these marks are
    /// needed.
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

    /// Has a pass that is under way keep the marks of an entry that comes into memory.
    func keepMarks(of entry: Entry, at now: Timestamp) {
        guard isForgetting.load(ordering: .acquiring) else { return }
        _ = markedEnd(version: entry.version, staleTTL: entry.staleTTL, at: now) { entry.tags }
    }

    /// Has a pass that is under way keep the marks of an entry that is in memory and may be seen.
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

/// The marks that a pass has found to be needed, by their versions: each made some entry stale before any other mark did.
private struct NeededMarks {
    var ofNamespace: Set<Version> = []
    var ofTags: [EntryTag: Set<Version>] = [:]
}
