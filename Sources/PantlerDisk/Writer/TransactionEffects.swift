import PantlerModel

/// What a transaction brings about outside of the file, gathered while it is open. It takes effect once COMMIT has succeeded; of a
/// transaction that is rolled back nothing is left but the file's old state, and so nothing of this either.
struct TransactionEffects {
    /// By how much it changes the usage of namespaces.
    var moves: [NamespaceID: TierUsage] = [:]
    /// Entries that it removes without anybody having asked for that: the delegate is told.
    var departures: [(address: EntryAddress, cause: DepartureCause)] = []
    /// Entries that it was to touch and did not find.
    var missed: [(address: EntryAddress, version: Version)] = []
    /// Hashes of rows that are new, for the filters, and of rows that were rewritten: both are in recent use.
    var inserted: [UInt64] = []
    var rewritten: [UInt64] = []
    /// Namespaces that are gone, and those of which rows up to a version are void.
    var dropped: Set<NamespaceID> = []
    var voids: [NamespaceID: Version] = [:]
    /// Namespaces that are gone, whose marks of void rows nobody needs any more.
    var endedVoids: Set<NamespaceID> = []
    /// Whether the clock's anchor was written.
    var isAnchored = false

    /// A row came, went or changed its size.
    mutating func move(_ namespace: NamespaceID, by delta: TierUsage) {
        guard delta != TierUsage() else { return }
        moves[namespace, default: TierUsage()].add(delta)
    }
}

extension TierUsage {
    mutating func add(_ other: TierUsage) {
        entries += other.entries
        bytes += other.bytes
    }
}
