package import PantlerModel

/// What happened in one namespace since the start, as plain counters that only grow.
///
/// It holds no reference, so that a counter is one addition in memory. It has no synchronisation of its own: whoever
/// owns one counts under its own lock, and `+=` sums the parts for a reader.
package struct NamespaceTally: Sendable, Hashable {
    /// Gets answered by a fresh entry that was in memory.
    package var hitsMemory: UInt64 = 0
    /// Gets answered by a fresh entry that had to be read from disk.
    package var hitsDisk: UInt64 = 0
    /// Gets answered by a fresh entry that had to be read from the shared tier.
    package var hitsShared: UInt64 = 0
    /// Gets answered by an entry past its TTL, within its stale TTL, whatever tier it was in.
    package var hitsStale: UInt64 = 0
    /// Gets answered by a negative entry, whatever tier it was in: neither hits nor misses.
    package var hitsAbsent: UInt64 = 0

    /// Gets of keys that nothing is remembered of.
    package var missAbsent: UInt64 = 0
    /// Gets of keys whose entry ran out of its TTL and its stale TTL.
    package var missExpired: UInt64 = 0
    /// Gets of keys whose entry had made room for others.
    package var missEvicted: UInt64 = 0
    /// Gets of keys that had been deleted.
    package var missDeleted: UInt64 = 0
    /// Gets of keys whose entry a tag, a prefix or a flush had ended.
    package var missInvalidated: UInt64 = 0
    /// Gets of keys whose value had been too large for the tier that was to hold it.
    package var missRejected: UInt64 = 0

    /// Entries written with a value: made, replaced or merged. A batch counts each of its entries.
    package var puts: UInt64 = 0
    /// Entries removed by a delete that names their key; none for a key without an entry.
    package var deletes: UInt64 = 0
    /// Patches that left the value as it was and changed TTL, stale TTL or tags.
    package var touches: UInt64 = 0
    /// Counters that were made or added to.
    package var counters: UInt64 = 0
    /// Calls of invalidate that were carried out; one each, however many entries it ended.
    package var invalidations: UInt64 = 0

    /// Entries whose TTL and stale TTL ran out, when they were removed from memory.
    package var expirations: UInt64 = 0
    /// Calls of a lower tier that ended in a fault. A get among them is a miss as well.
    package var tierFaults: UInt64 = 0

    /// Leases that were given: each is the right to load a key's value and fill the key. Some of them to those who had waited for one, and
    /// some for a key whose entry is stale, or about to be (`earlyRefreshes`).
    package var leasesGiven: UInt64 = 0
    /// Leases that ended with their fill.
    package var leasesFilled: UInt64 = 0
    /// Lease requests that got neither an entry nor a lease.
    package var leasesRefused: UInt64 = 0
    /// Fills, prolongations and releases of leases that had ended before.
    package var leasesLost: UInt64 = 0
    /// Leases that ran out.
    package var leasesExpired: UInt64 = 0
    /// Leases that were given up without a fill; not because the load had failed, which is `leasesFailed`.
    package var leasesReleased: UInt64 = 0
    package var leasesFailed: UInt64 = 0
    /// Leases that were given for an entry that was still fresh.
    package var earlyRefreshes: UInt64 = 0
    /// Leases that are held now.
    package var leasesRunning: UInt64 = 0
    /// Microseconds from lease to fill, of all that were filled.
    package var loadMicroseconds: UInt64 = 0
    /// Waits for a lease of somebody else that have ended, however they did, and how long they took together.
    package var waits: UInt64 = 0
    package var waitMicroseconds: UInt64 = 0

    package init() {}

    /// Gets answered by an entry, fresh or stale. A conditional get answered "not modified" is one of them.
    package var hits: UInt64 { hitsMemory &+ hitsDisk &+ hitsShared &+ hitsStale }

    /// Gets that found nothing: the sum over all reasons.
    package var misses: UInt64 {
        missAbsent &+ missExpired &+ missEvicted &+ missDeleted &+ missInvalidated &+ missRejected
    }

    /// Hits and misses: there is no get that is neither, but for those that a negative entry answered.
    package var gets: UInt64 { hits &+ misses }

    /// How long a load takes on average, from lease to fill; `nil` where none is known.
    package var meanLoadSeconds: Double? {
        leasesFilled > 0 ? Double(loadMicroseconds) / Double(leasesFilled) / 1e6 : nil
    }

    /// Counts a fresh hit in a tier.
    package mutating func countHit(_ tier: Tier) {
        switch tier {
        case .memory: hitsMemory &+= 1
        case .disk: hitsDisk &+= 1
        case .shared: hitsShared &+= 1
        }
    }

    /// Fresh hits in a tier.
    package func hits(_ tier: Tier) -> UInt64 {
        switch tier {
        case .memory: hitsMemory
        case .disk: hitsDisk
        case .shared: hitsShared
        }
    }

    package mutating func countMiss(_ reason: MissReason) {
        switch reason {
        case .absent: missAbsent &+= 1
        case .expired: missExpired &+= 1
        case .evicted: missEvicted &+= 1
        case .deleted: missDeleted &+= 1
        case .invalidated: missInvalidated &+= 1
        case .rejected: missRejected &+= 1
        }
    }

    /// Misses for one reason.
    package func misses(_ reason: MissReason) -> UInt64 {
        switch reason {
        case .absent: missAbsent
        case .expired: missExpired
        case .evicted: missEvicted
        case .deleted: missDeleted
        case .invalidated: missInvalidated
        case .rejected: missRejected
        }
    }

    package static func += (left: inout NamespaceTally, right: NamespaceTally) {
        left.hitsMemory &+= right.hitsMemory
        left.hitsDisk &+= right.hitsDisk
        left.hitsShared &+= right.hitsShared
        left.hitsStale &+= right.hitsStale
        left.hitsAbsent &+= right.hitsAbsent
        left.missAbsent &+= right.missAbsent
        left.missExpired &+= right.missExpired
        left.missEvicted &+= right.missEvicted
        left.missDeleted &+= right.missDeleted
        left.missInvalidated &+= right.missInvalidated
        left.missRejected &+= right.missRejected
        left.puts &+= right.puts
        left.deletes &+= right.deletes
        left.touches &+= right.touches
        left.counters &+= right.counters
        left.invalidations &+= right.invalidations
        left.expirations &+= right.expirations
        left.tierFaults &+= right.tierFaults
        left.leasesGiven &+= right.leasesGiven
        left.leasesFilled &+= right.leasesFilled
        left.leasesRefused &+= right.leasesRefused
        left.leasesLost &+= right.leasesLost
        left.leasesExpired &+= right.leasesExpired
        left.leasesReleased &+= right.leasesReleased
        left.leasesFailed &+= right.leasesFailed
        left.earlyRefreshes &+= right.earlyRefreshes
        left.leasesRunning &+= right.leasesRunning
        left.loadMicroseconds &+= right.loadMicroseconds
        left.waits &+= right.waits
        left.waitMicroseconds &+= right.waitMicroseconds
    }
}
