/// Everything older than a moment, declared gone or stale at once: the marks of a flush, or of a tag's invalidations.
///
/// An entry is measured by its version, so that one comparison judges it. What is declared stale is stale since the *first* mark that came
/// after it was written: later ones neither prolong its life nor bring it back. So several marks of different moments have to be kept, as
/// long as there are entries that lie between them.
package struct Watermark: Hashable, Sendable {
    /// Entries with a smaller version are gone.
    package private(set) var goneBefore: Version
    /// Ascending, both in version and in time. See `staleSince`.
    package private(set) var staleMarks: [StaleMark]

    /// Most marks of a watermark. Beyond, the two that lie closest in time become one, of the earlier moment: what was written between them
    /// is stale a little sooner than it should be, and never longer.
    package static let staleLimit = 128

    package init(goneBefore: Version = 0, staleMarks: [StaleMark] = []) {
        self.goneBefore = goneBefore
        self.staleMarks = []
        add(staleMarks)
    }

    /// Entries of this version or a later one are not concerned.
    package var newest: Version { max(goneBefore, newestStale) }

    /// No entry of this version or a later one was declared stale.
    package var newestStale: Version { staleMarks.last?.before ?? 0 }

    /// Since when an entry of a version is stale; `nil` if nobody has declared it so. Complexity: O(log marks).
    package func staleSince(_ version: Version) -> Timestamp? { staleMark(for: version)?.since }

    /// The first mark that came after an entry of a version.
    package func staleMark(for version: Version) -> StaleMark? {
        guard version < newestStale else { return nil }
        var (low, high) = (0, staleMarks.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if version < staleMarks[middle].before { high = middle } else { low = middle + 1 }
        }
        return staleMarks[low]
    }

    /// The marks of two watermarks together.
    package func merged(_ other: Watermark) -> Watermark {
        var merged = self
        merged.goneBefore = max(goneBefore, other.goneBefore)
        merged.add(other.staleMarks)
        return merged
    }

    /// Forgets stale marks that no entry needs any more.
    ///
    /// - Parameters:
    ///   - version: marks of this version or a later one stay.
    ///   - isNeeded: whether there may be an entry whose first mark it is.
    package mutating func forgetStale(before version: Version, unless isNeeded: (StaleMark) -> Bool) {
        staleMarks.removeAll { $0.before < version && !isNeeded($0) }
    }

    private mutating func add(_ marks: [StaleMark]) {
        let gone = goneBefore
        var later: [StaleMark] = []
        // From the latest version to the earliest: a mark counts if it came before all that are good for its entries too.
        for mark in (staleMarks + marks).sorted(by: { ($0.before, $1.since) > ($1.before, $0.since) })
        where mark.before > gone && later.last.map({ mark.since < $0.since }) ?? true {
            later.append(mark)
        }
        staleMarks = later.reversed()
        while staleMarks.count > Self.staleLimit { joinClosest() }
    }

    private mutating func joinClosest() {
        let gaps = (1..<staleMarks.count).map { staleMarks[$0].since.milliseconds(since: staleMarks[$0 - 1].since) }
        guard let least = gaps.min(), let place = gaps.firstIndex(of: least) else { return }
        staleMarks[place].before = staleMarks[place + 1].before
        staleMarks.remove(at: place + 1)
    }
}

/// Everything older than a version, declared stale at a moment.
package struct StaleMark: Hashable, Sendable {
    /// Entries with a smaller version are concerned.
    package var before: Version
    package var since: Timestamp

    package init(before: Version, since: Timestamp) {
        self.before = before
        self.since = since
    }
}
