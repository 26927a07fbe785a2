import PantlerInsight
import PantlerModel
import Synchronization

/// Whoever waits until a key is filled.
protocol LeaseWaiter: AnyObject, Sendable {
    /// How long a lease is to last that the waiter is given, in milliseconds.
    var leaseTTL: Int64 { get }
    /// When the wait began, in microseconds of the clock's monotonic time.
    var waitBegan: UInt64 { get }
    /// Whether the wait is a get, which ends as a hit or a miss.
    var countsGet: Bool { get }

    /// Called once, without a lock, when the wait has ended.
    func wake(_ wake: LeaseWake)
}

/// What has come of a wait.
enum LeaseWake: Equatable {
    /// The key was written: whoever has waited looks again.
    case written
    /// The lease is the waiter's now.
    case given(GivenLease)
    case held(LeaseRefusal)
    /// The namespace was dropped.
    case dropped
}

/// A lease that was just given.
struct GivenLease: Equatable, Sendable {
    let token: LeaseToken
    let endsAt: Timestamp
    /// Why there is no entry.
    let reason: MissReason
}

/// Why no lease is given.
package struct LeaseRefusal: Hashable, Sendable {
    package enum Reason: String, Sendable {
        /// Somebody else fills the key.
        case filling
        /// The last load failed, and the source is left alone for a while.
        case failed
        /// Somebody else fills the key, and no more callers can wait.
        case crowded
    }

    package let reason: Reason
    /// When it is worth asking again at the latest, in milliseconds from now; > 0.
    package let retryAfter: Int64

    /// There is no room for a lease now.
    package static let overloaded = LeaseRefusal(.crowded, retryAfter: 1000)

    init(_ reason: Reason, retryAfter: Int64) {
        self.reason = reason
        self.retryAfter = retryAfter
    }

    init(_ reason: Reason, until end: Timestamp, at now: Timestamp) {
        self.init(reason, retryAfter: max(1, end.milliseconds(since: now)))
    }
}

/// Those who were waiting, to be told once the shard's lock is released.
struct LeaseWakeups {
    private var written: [WaitQueue] = []
    private var others: [(any LeaseWaiter, LeaseWake)] = []

    mutating func add(_ waiter: any LeaseWaiter, _ wake: LeaseWake) { others.append((waiter, wake)) }

    /// Adds all who wait for a key that was written, of whom there may be thousands. Complexity: O(1).
    mutating func addWritten(_ queue: WaitQueue) { written.append(queue) }

    func tell() {
        for queue in written {
            for waiter in queue.waiters { waiter.wake(.written) }
        }
        for (waiter, wake) in others { waiter.wake(wake) }
    }
}

/// How many leases and waiters there are in all shards, and may be.
final class LeaseRoom: Sendable {
    private let leaseCount = Atomic(0)
    private let waiterCount = Atomic(0)
    private let leaseLimit: Atomic<Int>
    private let waiterLimit: Atomic<Int>

    init(_ limits: LeaseLimits) {
        leaseLimit = Atomic(limits.leases)
        waiterLimit = Atomic(limits.waiters)
    }

    func setLimits(_ limits: LeaseLimits) {
        leaseLimit.store(limits.leases, ordering: .relaxed)
        waiterLimit.store(limits.waiters, ordering: .relaxed)
    }

    var waiters: Int { waiterCount.load(ordering: .relaxed) }

    func takeLease() -> Bool { Self.take(leaseCount, leaseLimit) }
    func takeWaiter() -> Bool { Self.take(waiterCount, waiterLimit) }
    func giveBackLease() { leaseCount.wrappingSubtract(1, ordering: .relaxed) }
    func giveBackWaiters(_ count: Int) { waiterCount.wrappingSubtract(count, ordering: .relaxed) }

    private static func take(_ count: borrowing Atomic<Int>, _ limit: borrowing Atomic<Int>) -> Bool {
        if count.wrappingAdd(1, ordering: .relaxed).newValue <= limit.load(ordering: .relaxed) { return true }
        count.wrappingSubtract(1, ordering: .relaxed)
        return false
    }
}

/// The bounds of what leases may take.
package struct LeaseLimits: Hashable, Sendable {
    /// Leases that are held, and failures that are remembered.
    package var leases = 100_000
    /// Callers that wait until somebody else has filled a key.
    package var waiters = 20_000

    package init() {}
}

/// The leases of one shard's keys, and those who wait for them. This is a value, without clock and lock: its owner guards it, and tells it
/// the time.
///
/// A lease is given to one caller, who loads the key's value and fills the key (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013,
/// section 3.2.1). Whatever changes the key in between ends the lease, so that no load fills the key with what was true before. The others
/// wait in the order in which they came. When a lease ends without a fill, the next of them is given it; when the key is written, all of
/// them look again.
struct LeaseTable {
    struct Lease {
        let address: EntryAddress
        let slot: Int
        let token: LeaseToken
        /// The newest version that had been given when the lease was: an invalidation with a later version ends the lease.
        let since: Version
        let began: Timestamp
        /// `began` in microseconds of the clock's monotonic time.
        let beganMicroseconds: UInt64
        var endsAt: Timestamp
        /// Whether there was an entry to show meanwhile, so that nobody has to wait.
        let hasEntry: Bool
        let reason: MissReason
        var queue = WaitQueue()
    }

    /// A load that has failed, after which nobody is given the key's lease for a while.
    private struct Failure {
        let address: EntryAddress
        /// Milliseconds that the source is left alone.
        let pause: Int64
        let endsAt: Timestamp
        let hasEntry: Bool

        /// A failure within this time after the last one's pause belongs to the same row.
        static let rowMilliseconds: Int64 = 60_000
        static let longestPause: Int64 = 60_000

        var forgottenAt: Timestamp { endsAt.advanced(byMilliseconds: Self.rowMilliseconds) }
    }

    /// What there is about a key.
    enum Standing: Equatable {
        /// Whoever asks may have the lease.
        case free
        /// `hasEntry`: see `Lease`.
        case refused(LeaseRefusal, hasEntry: Bool)
    }

    /// Why a lease ends without a fill.
    enum End {
        /// The key was written.
        case written
        /// What was to be filled is gone or out of date by now.
        case removed(MissReason)
        /// Its time ran out.
        case expired
        case released
        /// The load failed: nobody is given the lease for so many milliseconds.
        case failed(pause: Int64)
        /// The namespace was dropped.
        case dropped
    }

    /// The counters of each namespace in this shard, by slot.
    private let tally: UnsafeMutablePointer<NamespaceTally>
    private let room: LeaseRoom
    private var leases: [UInt64: Lease] = [:]
    private var failures: [UInt64: Failure] = [:]
    /// The keys for whose leases somebody waits.
    private var awaited: Set<UInt64> = []
    private var nextNumber: UInt64 = 0
    private(set) var loadTimes = LoadTimes()
    /// How long each wait took that has ended, whatever its namespace.
    private(set) var waitLengths = LatencyHistogram()

    /// - Parameter tally: has to live as long as the table.
    init(_ tally: UnsafeMutablePointer<NamespaceTally>, _ room: LeaseRoom) {
        self.tally = tally
        self.room = room
    }

    /// Whether nothing is known of any key. Complexity: O(1).
    var isEmpty: Bool { leases.isEmpty && failures.isEmpty }

    // MARK: Asking

    /// Whether a key's lease may be given. A lease that has run out is passed on first.
    mutating func standing(
        _ hash: UInt64,
        _ latest: Version,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> Standing {
        if leases[hash].map({ $0.endsAt <= moment.now }) == true { end(hash, .expired, latest, moment, &wakeups) }
        if let lease = leases[hash] {
            return .refused(LeaseRefusal(.filling, until: lease.endsAt, at: moment.now), hasEntry: lease.hasEntry)
        }
        if let failure = failures[hash], failure.endsAt > moment.now {
            return .refused(LeaseRefusal(.failed, until: failure.endsAt, at: moment.now), hasEntry: failure.hasEntry)
        }
        return .free
    }

    /// Gives a key's lease, which has to be free. Returns `nil` where there are too many leases.
    ///
    /// - Parameters:
    ///   - ttl: milliseconds.
    ///   - hasEntry: whether there is an entry to show meanwhile.
    mutating func give(
        _ address: EntryAddress,
        _ slot: Int,
        ttl: Int64,
        hasEntry: Bool,
        _ reason: MissReason,
        _ latest: Version,
        _ moment: Moment
    ) -> GivenLease? {
        // A failure that is remembered for the key has its room already.
        guard failures[address.hash] != nil || room.takeLease() else { return nil }
        return add(address, slot, ttl: ttl, hasEntry: hasEntry, reason, latest, moment, WaitQueue())
    }

    private mutating func add(
        _ address: EntryAddress,
        _ slot: Int,
        ttl: Int64,
        hasEntry: Bool,
        _ reason: MissReason,
        _ latest: Version,
        _ moment: Moment,
        _ queue: consuming WaitQueue
    ) -> GivenLease {
        let lease = Lease(
            address: address,
            slot: slot,
            token: LeaseToken(),
            since: latest,
            began: moment.now,
            beganMicroseconds: moment.access,
            endsAt: moment.now.advanced(byMilliseconds: ttl),
            hasEntry: hasEntry,
            reason: reason,
            queue: queue
        )
        leases[address.hash] = lease
        tally[slot].leasesGiven &+= 1
        tally[slot].leasesRunning &+= 1
        return GivenLease(token: lease.token, endsAt: lease.endsAt, reason: reason)
    }

    /// Has a caller wait for a key's lease, which somebody holds.
    ///
    /// - Returns: the waiter's number, and when the wait or the lease ends; `nil` where there are too many waiters.
    mutating func wait(
        _ hash: UInt64,
        until deadline: Timestamp,
        _ waiter: any LeaseWaiter
    ) -> (number: UInt64, nextEnd: Timestamp)? {
        guard leases[hash] != nil, room.takeWaiter() else { return nil }
        let number = nextNumber
        nextNumber += 1
        leases[hash]?.queue.append(number, until: deadline, waiter)
        awaited.insert(hash)
        return (number, min(deadline, leases[hash]?.endsAt ?? deadline))
    }

    /// Ends a wait whose caller is gone.
    mutating func cancel(_ hash: UInt64, _ number: UInt64, _ moment: Moment) {
        guard let waiter = leases[hash]?.queue.remove(number) else { return }
        noteWaitEnd(waiter, leases[hash]?.slot, moment)
        if leases[hash]?.queue.isEmpty == true { awaited.remove(hash) }
    }

    // MARK: Holding

    /// Since which version the lease is held that a token stands for; `nil` if it is lost. A lease that has run out is passed on.
    mutating func lease(
        _ address: EntryAddress,
        _ token: LeaseToken,
        _ latest: Version,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> Version? {
        guard let lease = leases[address.hash], lease.address == address, lease.token == token else { return nil }
        guard lease.endsAt <= moment.now else { return lease.since }
        end(address.hash, .expired, latest, moment, &wakeups)
        return nil
    }

    /// Lets a lease last for `ttl` milliseconds from now. Returns when it ends.
    mutating func prolong(_ hash: UInt64, ttl: Int64, _ moment: Moment) -> Timestamp? {
        leases[hash]?.endsAt = moment.now.advanced(byMilliseconds: ttl)
        return leases[hash]?.endsAt
    }

    /// Ends a lease with the fill that it was for. The key is written after this, under the same lock.
    mutating func fill(_ hash: UInt64, _ moment: Moment, _ wakeups: inout LeaseWakeups) {
        guard let (slot, began) = leases[hash].map({ ($0.slot, $0.beganMicroseconds) }) else { return }
        let microseconds = moment.access - min(moment.access, began)
        tally[slot].leasesFilled &+= 1
        tally[slot].loadMicroseconds &+= microseconds
        loadTimes.note(hash, milliseconds: UInt32(clamping: (microseconds + 500) / 1000))
        end(hash, .written, 0, moment, &wakeups)
    }

    /// Ends whatever lease of a key there is.
    ///
    /// - Parameter latest: the newest version that has been given, for the next holder.
    mutating func end(
        _ hash: UInt64,
        _ why: End,
        _ latest: Version,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) {
        if case .written = why { forgetFailure(hash) }
        guard var lease = leases.removeValue(forKey: hash) else { return }
        // The queue is moved, so that it is not copied when the first is taken out.
        var queue = WaitQueue()
        swap(&queue, &lease.queue)
        awaited.remove(hash)
        tally[lease.slot].leasesRunning &-= 1
        switch why {
        case .written:
            room.giveBackLease()
            noteWaitEnds(queue, lease.slot, moment)
            wakeups.addWritten(queue)
        case .removed(let reason): passOn(lease, queue, reason, latest, moment, &wakeups)
        case .expired:
            tally[lease.slot].leasesExpired &+= 1
            passOn(lease, queue, lease.reason, latest, moment, &wakeups)
        case .released:
            tally[lease.slot].leasesReleased &+= 1
            passOn(lease, queue, lease.reason, latest, moment, &wakeups)
        case .failed(let pause):
            tally[lease.slot].leasesFailed &+= 1
            let ends = noteFailure(of: lease, pause, moment)
            let refusal = LeaseRefusal(.failed, until: ends, at: moment.now)
            noteWaitEnds(queue, lease.slot, moment)
            for waiter in queue.waiters {
                noteRefusal(lease.slot, lease.reason, countsGet: waiter.countsGet)
                wakeups.add(waiter, .held(refusal))
            }
        case .dropped:
            // A failure of the key has the same room.
            failures[hash] = nil
            room.giveBackLease()
            noteWaitEnds(queue, lease.slot, moment)
            for waiter in queue.waiters { wakeups.add(waiter, .dropped) }
        }
    }

    /// Gives a lease that has ended to the next in its queue.
    private mutating func passOn(
        _ lease: Lease,
        _ queue: consuming WaitQueue,
        _ reason: MissReason,
        _ latest: Version,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) {
        let hash = lease.address.hash
        guard let next = queue.takeFirst() else {
            // What is remembered of a failure keeps the room.
            if failures[hash] == nil { room.giveBackLease() }
            return
        }
        noteWaitEnd(next, lease.slot, moment)
        if !queue.isEmpty { awaited.insert(hash) }
        let given = add(
            lease.address,
            lease.slot,
            ttl: next.leaseTTL,
            hasEntry: false,
            reason,
            latest,
            moment,
            queue
        )
        if next.countsGet { tally[lease.slot].countMiss(reason) }
        wakeups.add(next, .given(given))
    }

    /// Ends the leases of a namespace whose keys and versions `isConcerned` picks, because what they are to fill is out of date.
    ///
    /// Complexity: O(leases of the shard).
    mutating func end(
        of namespace: NamespaceID,
        _ why: End,
        _ latest: Version,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups,
        where isConcerned: (Lease) -> Bool = { _ in true }
    ) {
        let hashes = leases.values.filter { $0.address.namespace == namespace && isConcerned($0) }.map(\.address.hash)
        for hash in hashes { end(hash, why, latest, moment, &wakeups) }
        if case .dropped = why {
            for (hash, failure) in failures where failure.address.namespace == namespace { forgetFailure(hash) }
        }
    }

    // MARK: Failures

    /// Remembers that a load has failed. Returns until when the source is left alone.
    private mutating func noteFailure(of lease: Lease, _ pause: Int64, _ moment: Moment) -> Timestamp {
        let hash = lease.address.hash
        var length = pause
        if let last = failures[hash], last.forgottenAt > moment.now { length = max(pause, 2 * last.pause) }
        length = min(length, Failure.longestPause)
        let failure = Failure(
            address: lease.address,
            pause: length,
            endsAt: moment.now.advanced(byMilliseconds: length),
            hasEntry: lease.hasEntry
        )
        failures[hash] = failure
        return failure.endsAt
    }

    private mutating func forgetFailure(_ hash: UInt64) {
        guard !failures.isEmpty, failures.removeValue(forKey: hash) != nil else { return }
        // A lease of the key has the same room.
        if leases[hash] == nil { room.giveBackLease() }
    }

    // MARK: Time

    /// When the next wait, or a lease that somebody waits for, ends. Complexity: O(keys that are awaited, and those who wait).
    var nextEnd: Timestamp {
        awaited.reduce(Timestamp.never) { next, hash in
            guard let lease = leases[hash] else { return next }
            return min(next, lease.endsAt, lease.queue.nextDeadline)
        }
    }

    /// Ends the waits and the awaited leases whose time has come.
    mutating func endWaits(_ latest: Version, _ moment: Moment, _ wakeups: inout LeaseWakeups) {
        for hash in awaited {
            guard let (slot, reason, ends) = leases[hash].map({ ($0.slot, $0.reason, $0.endsAt) }) else { continue }
            let refusal = LeaseRefusal(.filling, until: ends, at: moment.now)
            for waiter in leases[hash]?.queue.takeDue(moment.now) ?? [] {
                noteWaitEnd(waiter, slot, moment)
                noteRefusal(slot, reason, countsGet: waiter.countsGet)
                wakeups.add(waiter, .held(refusal))
            }
            if leases[hash]?.queue.isEmpty == true { awaited.remove(hash) }
            if ends <= moment.now { end(hash, .expired, latest, moment, &wakeups) }
        }
    }

    /// Ends all leases that have run out, and forgets old failures. Complexity: O(leases and failures).
    mutating func sweep(_ latest: Version, _ moment: Moment, _ wakeups: inout LeaseWakeups) {
        if isEmpty { return }
        for hash in leases.values.filter({ $0.endsAt <= moment.now }).map(\.address.hash) {
            end(hash, .expired, latest, moment, &wakeups)
        }
        for hash in failures.filter({ $0.value.forgottenAt <= moment.now }).map(\.key) { forgetFailure(hash) }
    }

    // MARK: Figures

    /// The leases of a namespace. Complexity: O(leases of the shard).
    func leases(of namespace: NamespaceID) -> some Sequence<Lease> {
        leases.values.lazy.filter { $0.address.namespace == namespace }
    }

    /// Takes the `since` of each lease into the smallest of its namespace. Complexity: O(leases of the shard).
    func noteOldest(_ oldest: inout [NamespaceID: Version]) {
        for lease in leases.values {
            oldest[lease.address.namespace] = min(oldest[lease.address.namespace] ?? .max, lease.since)
        }
    }

    /// Milliseconds that a load of a key takes: as its last one did, or as the namespace's do on average; `nil` where no load is known.
    func loadMilliseconds(_ hash: UInt64, _ slot: Int) -> Double? {
        if let last = loadTimes.milliseconds(hash) { return Double(last) }
        let loads = tally[slot].leasesFilled
        return loads > 0 ? Double(tally[slot].loadMicroseconds) / Double(loads) / 1000 : nil
    }

    /// Counts a caller who is given no lease, and has no entry either.
    ///
    /// - Parameter countsGet: whether that is a get as well, and so a miss.
    func noteRefusal(_ slot: Int, _ reason: MissReason, countsGet: Bool = true) {
        tally[slot].leasesRefused &+= 1
        if countsGet { tally[slot].countMiss(reason) }
    }

    private mutating func noteWaitEnds(_ queue: borrowing WaitQueue, _ slot: Int, _ moment: Moment) {
        for waiter in queue.waiters { noteWait(waiter, slot, moment) }
        room.giveBackWaiters(queue.count)
    }

    private mutating func noteWaitEnd(_ waiter: any LeaseWaiter, _ slot: Int?, _ moment: Moment) {
        room.giveBackWaiters(1)
        if let slot { noteWait(waiter, slot, moment) }
    }

    private mutating func noteWait(_ waiter: any LeaseWaiter, _ slot: Int, _ moment: Moment) {
        let microseconds = moment.access - min(moment.access, waiter.waitBegan)
        tally[slot].waits &+= 1
        tally[slot].waitMicroseconds &+= microseconds
        waitLengths.record(nanoseconds: microseconds * 1000)
    }
}

// The counters that a table points at are its shard's, which lives longer; whoever has the shard has the table.
extension LeaseTable: @unchecked Sendable {}
