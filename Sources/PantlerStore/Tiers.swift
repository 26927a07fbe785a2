import PantlerMemory
package import PantlerModel

/// A store's two tiers and what both go by: the clock, the versions, and the hash of a key.
struct Tiers: Sendable {
    let shards: ShardTable
    /// `nil` = memory alone.
    let lower: (any LowerTier)?
    let clock: any Clock
    let versions: VersionAllocator
    private let entryHash: EntryHash

    init(_ shards: ShardTable, lower: (any LowerTier)?, clock: any Clock, state: PersistedState) {
        self.shards = shards
        self.lower = lower
        self.clock = clock
        versions = VersionAllocator(start: max(1, state.versionCeiling), lower: lower)
        entryHash = EntryHash(seed: state.hashSeed)
    }

    var memory: MemoryTier { shards.memory }

    func moment() -> Moment {
        Moment(now: clock.now(), access: clock.monotonicMicroseconds(), wallOffset: clock.wallOffset)
    }

    /// A moment of the service's time line as callers are told it.
    func wallTime(_ moment: Timestamp) -> WallTime { moment.wallTime(aheadBy: clock.wallOffset) }

    func hash(_ namespace: Namespace, _ key: UnsafeRawBufferPointer) -> UInt64 {
        entryHash.hash(namespace: namespace.id, key: key)
    }

    func address(_ namespace: Namespace, _ key: [UInt8]) -> EntryAddress {
        EntryAddress(namespace: namespace.id, key: key, hash: entryHash.hash(namespace: namespace.id, key: key))
    }

    func nextVersion() throws(Problem) -> Version {
        guard let version = versions.allocate() else { throw .noVersion }
        return version
    }

    /// Answers once all changes with these tickets are as durable as they are to be; with a problem if any of them has failed.
    func settle<Answer: Sendable>(
        _ tickets: [WriteTicket],
        _ durability: Durability,
        _ answer: Answer,
        _ completion: @escaping @Sendable (Result<Answer, Problem>) -> Void
    ) {
        guard let lower else { return completion(.success(answer)) }
        let countdown = Countdown(tickets.count) { completion($0.map { _ in answer }) }
        for ticket in tickets {
            let isSettled = lower.settle(ticket, durability) { fault in
                countdown.count(fault.map { .failure(.storage($0)) } ?? .success(true))
            }
            if isSettled { countdown.count(.success(true)) }
        }
    }

    /// Ends the leases of a namespace that `isConcerned` picks, in all shards.
    func endLeases(
        of namespace: NamespaceID,
        _ why: LeaseTable.End,
        where isConcerned: (LeaseTable.Lease) -> Bool = { _ in true }
    ) {
        for number in 0..<shards.count { endLeases(of: namespace, inShard: number, why, where: isConcerned) }
    }

    /// Ends the leases of a namespace in one shard, like the `endLeases` above.
    func endLeases(
        of namespace: NamespaceID,
        inShard number: Int,
        _ why: LeaseTable.End,
        where isConcerned: (LeaseTable.Lease) -> Bool
    ) {
        let moment = moment()
        var wakeups = LeaseWakeups()
        shards.withShard(number: number) { shard in
            if shard.leases.isEmpty { return }
            shard.leases.end(of: namespace, why, versions.latest, moment, &wakeups, where: isConcerned)
        }
        wakeups.tell()
    }

    /// Marks the reads of the lower tier that are under way for keys with a prefix as outdated, so that they are done again.
    func outdateReads(of namespace: Namespace, prefix: [UInt8] = []) {
        shards.withEachShard { _, shard in shard.loads.invalidate(namespace.id, prefix: prefix) }
    }
}

/// The time, read once for a burst of requests.
package struct Moment: Sendable {
    package var now: Timestamp
    /// Microseconds of the monotonic clock, for the order of accesses.
    package var access: UInt64
    /// Milliseconds that the wall clock is ahead of the service's time line.
    package var wallOffset: Int64

    package init(now: Timestamp, access: UInt64, wallOffset: Int64 = 0) {
        self.now = now
        self.access = access
        self.wallOffset = wallOffset
    }

    /// The same moment by the wall clock.
    package var wall: WallTime { now.wallTime(aheadBy: wallOffset) }
}

extension Problem {
    /// The reserved block of versions is used up, and the lower tier cannot reserve another.
    static let noVersion = Problem(
        .storageUnavailable,
        "The disk tier does not answer: no more versions can be given, and nothing was changed."
    )
}
