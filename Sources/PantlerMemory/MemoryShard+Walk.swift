package import PantlerModel

/// Where a walk over a namespace's entries in one shard stands, between two holds of the shard's lock.
package struct WalkPosition: Sendable {
    /// An entry as it stood in its list.
    fileprivate struct Place {
        var number: UInt32
        var hash: UInt64
        var stamp: UInt64
    }

    /// `next` is the entry to go on with. `met` are the entries that were met last, the latest of them first: where `next` has moved, the
    /// walk goes on after one of these. Before the first step both are empty.
    fileprivate var next: Place?
    fileprivate var met: [Place] = []
    fileprivate var hasBegun = false

    /// The most entries that `met` holds.
    fileprivate static let places = 4

    /// A position before the first entry.
    package init() {}
}

/// What a walk is to do with an entry.
package enum WalkVerdict: Sendable {
    case keep
    case remove
}

extension MemoryShard {
    /// Shows a namespace's entries in this shard to `body`, at most `limit` under this hold of the lock, from the one that was used longest
    /// ago to the newest.
    ///
    /// The walk follows the namespace's recency list, so that its cost depends on the namespace's entries and not on all entries of the
    /// tier. An entry that is there the whole time is shown at least once: one that is used meanwhile moves ahead of the walk, and is shown
    /// there, perhaps for the second time. The walk ends at the end of the list, which it reaches unless more than `limit` entries are used
    /// between each two of its steps.
    ///
    /// - Parameter body: tells whether the entry is removed. It must not change the shard itself.
    /// - Returns: `false` at the end.
    /// - Complexity: O(`limit`); O(entries of the namespace) in the rare case that all entries that the position remembers have moved.
    package mutating func walk(
        _ slot: NamespaceSlot,
        _ position: inout WalkPosition,
        limit: Int,
        _ body: (EntryView) -> WalkVerdict
    ) -> Bool {
        var number = start(slot, position)
        var left = limit
        position.met.removeAll(keepingCapacity: true)
        position.hasBegun = true
        while number != 0 {
            if left == 0 {
                position.next = place(number)
                return true
            }
            left -= 1
            let record = records[number].pointee
            let newer = record.newer
            switch body(view(record)) {
            case .keep:
                if left < WalkPosition.places { position.met.insert(place(number), at: 0) }
                number = newer
            case .remove:
                let next = newer == 0 ? nil : place(newer)
                remove(EntryRef(number: number))
                // The removal may have moved the next entry's record, if that was the last one of the slab.
                number = next.map { isStill($0, slot) ? $0.number : firstUsed(since: $0.stamp, slot) } ?? 0
            }
        }
        return false
    }

    private func place(_ number: UInt32) -> WalkPosition.Place {
        let record = records[number].pointee
        return WalkPosition.Place(number: number, hash: record.hash, stamp: record.stamp)
    }

    private func start(_ slot: NamespaceSlot, _ position: WalkPosition) -> UInt32 {
        guard position.hasBegun else { return lists[slot].oldest }
        guard let next = position.next else { return 0 }
        if isStill(next, slot) { return next.number }
        for met in position.met where isStill(met, slot) { return records[met.number].pointee.newer }
        return firstUsed(since: next.stamp, slot)
    }

    private func isStill(_ place: WalkPosition.Place, _ slot: NamespaceSlot) -> Bool {
        guard place.number < records.end else { return false }
        let record = records[place.number].pointee
        return record.isLive && record.hash == place.hash && record.stamp == place.stamp && record.slot == slot
    }

    /// The oldest entry of a list that was last used at `stamp` or later; 0 = none.
    private func firstUsed(since stamp: UInt64, _ slot: NamespaceSlot) -> UInt32 {
        var number = lists[slot].oldest
        while number != 0, records[number].pointee.stamp < stamp { number = records[number].pointee.newer }
        return number
    }
}
