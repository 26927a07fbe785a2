import PantlerModel

/// Changes that are in the journal and not in their rows yet: the latest of each entry, as reads have to see it.
///
/// They *gather* until they are worth it, and are then *merging* while the next ones gather. What is merging does not change any more, so
/// that the writer can go through it without the lock.
struct JournaledChanges: Sendable {
    typealias Changes = [EntryAddress: KeyedChange]

    private struct Generation {
        var changes: Changes = [:]
        /// The sum of `KeyedChange.bytes`.
        var bytes: Int64 = 0
        /// No change of it has a smaller ticket.
        var firstTicket: WriteTicket = .max
    }

    private var gathering = Generation()
    private var merging = Generation()

    /// - Parameter restored: what an earlier run left in the journal, in the order in which it came there. It is older than all tickets.
    init(_ restored: [KeyedChange] = []) {
        for keyed in restored { add(keyed, ticket: 0) }
    }

    /// Entries and bytes that gather.
    var count: Int { gathering.changes.count }
    var bytes: Int64 { gathering.bytes }
    /// Entries in all; one that was changed again while it merges counts twice.
    var countInAll: Int { merging.changes.count + gathering.changes.count }

    /// Whether all changes with this ticket or a smaller one have left the journal.
    func isMerged(_ ticket: WriteTicket) -> Bool { ticket < min(gathering.firstTicket, merging.firstTicket) }

    /// The latest change of an entry. Complexity: O(1).
    func change(of address: EntryAddress) -> EntryChange? {
        (gathering.changes[address] ?? merging.changes[address])?.change
    }

    /// The changes of an entry, the latest first. Complexity: O(1).
    func changes(of address: EntryAddress) -> (EntryChange?, EntryChange?) {
        (gathering.changes[address]?.change, merging.changes[address]?.change)
    }

    /// One change for each entry, which does what all its changes do. Complexity: O(n).
    var latest: Changes {
        if merging.changes.isEmpty { return gathering.changes }
        return merging.changes.merging(gathering.changes) { earlier, later in
            guard case .touch = later.change else { return later }
            return KeyedChange(later.address, later.change.following(earlier.change))
        }
    }

    /// Shows all changes, of each entry the latest one last. Complexity: O(n).
    func visit(_ body: (KeyedChange) -> Void) {
        for changes in [merging.changes, gathering.changes] { changes.values.forEach(body) }
    }

    /// Takes a change in, unless a later one is there.
    mutating func add(_ keyed: KeyedChange, ticket: WriteTicket) {
        gathering.firstTicket = min(gathering.firstTicket, ticket)
        var keyed = keyed
        if case .touch = keyed.change, let earlier = gathering.changes[keyed.address],
            earlier.version < keyed.version
        {
            keyed = KeyedChange(keyed.address, keyed.change.following(earlier.change))
        }
        let bytes = keyed.bytes
        guard let earlier = gathering.changes.updateValue(keyed, forKey: keyed.address) else {
            gathering.bytes += bytes
            return
        }
        if earlier.version > keyed.version {
            gathering.changes[keyed.address] = earlier
        } else {
            gathering.bytes += bytes - earlier.bytes
        }
    }

    /// Begins to merge what has gathered. To be called only while nothing is merging.
    ///
    /// - Returns: what is to be merged. Complexity: O(1).
    mutating func beginMerge() -> Changes {
        merging = gathering
        gathering = Generation()
        // The next ones will be about as many.
        gathering.changes.reserveCapacity(merging.changes.count)
        return merging.changes
    }

    /// Notes that all that was merging is in its rows.
    ///
    /// - Returns: the changes, for the caller to release once it holds no lock: that takes a while.
    mutating func endMerge() -> Changes {
        defer { merging = Generation() }
        return merging.changes
    }

    /// Notes that nothing is in the journal any more.
    ///
    /// - Returns: all that was there, for the caller to release once it holds no lock.
    mutating func removeAll() -> JournaledChanges {
        defer { self = JournaledChanges() }
        return self
    }
}
