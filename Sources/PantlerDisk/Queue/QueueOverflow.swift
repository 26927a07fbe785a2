import PantlerModel

/// Which of the waiting changes have to go while writing fails, so that the others are well within the bounds again: within three
/// quarters of them, so that writers have some way to go before they are slowed down the next time.
///
/// Those of the smallest versions are chosen. What is void for their sake (see `PendingWrites.voidThrough`) is then only what is older than
/// all that stays. Controls stay, and so does every change of an entry for which someone waits: of such an entry an earlier change
/// must not stay where a later one goes.
struct QueueOverflow {
    /// Places of changes that are given up altogether.
    private(set) var dropped: Set<Int> = []
    /// Places of puts whose values are given up; deletes of their keys remain.
    private(set) var shrunk: Set<Int> = []

    /// Complexity: O(items), and O(items · log items) if they are too many.
    init(_ items: [Batch.Item], limits: QueueLimits, isAwaited: (borrowing Batch.Item) -> Bool) {
        let bytes = items.reduce(0) { $0 + $1.bytes }
        let excess = items.count > limits.entries ? items.count - limits.entries / 4 * 3 : 0
        var excessBytes = bytes > limits.bytes ? bytes - limits.bytes / 4 * 3 : 0
        guard excess > 0 || excessBytes > 0 else { return }
        var awaited: Set<EntryAddress> = []
        for item in items where isAwaited(item) {
            if case .entry(let keyed) = item.change { awaited.insert(keyed.address) }
        }
        var candidates: [(version: Version, place: Int)] = []
        for (place, item) in items.enumerated() {
            guard case .entry(let keyed) = item.change, !awaited.contains(keyed.address) else { continue }
            candidates.append((keyed.version, place))
        }
        candidates.sort { ($0.version, $0.place) < ($1.version, $1.place) }
        for (_, place) in candidates.prefix(excess) {
            dropped.insert(place)
            excessBytes -= items[place].bytes
        }
        let others = candidates.dropFirst(excess)
        for (_, place) in others where excessBytes > 0 && items[place].isPut {
            shrunk.insert(place)
            excessBytes -= items[place].bytes - Self.bytesWithoutValue(items[place])
        }
        // Where the keys alone are too many bytes, changes are given up altogether.
        for (_, place) in others where excessBytes > 0 {
            let left = shrunk.remove(place) == nil ? items[place].bytes : Self.bytesWithoutValue(items[place])
            dropped.insert(place)
            excessBytes -= left
        }
    }

    private static func bytesWithoutValue(_ item: Batch.Item) -> Int64 {
        var item = item
        item.giveUpValue()
        return item.bytes
    }
}
