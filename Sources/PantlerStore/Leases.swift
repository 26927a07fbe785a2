import Glibc
import PantlerInsight
import PantlerMemory
package import PantlerModel
import Synchronization

/// What a caller asks for who wants an entry, or else the right to fill its key.
package struct LeaseAsk: Sendable {
    /// How long a lease is to last, in milliseconds.
    package var ttl: Int64
    /// How long the caller waits for somebody else's fill, in milliseconds.
    package var wait: Int64
    /// Whether a refusal is counted. A caller who will ask again for the same get leaves that to the last time, or to `countRefusals`.
    package var countsRefusal: Bool
    /// Whether the call is a get, which is a hit or a miss. That of a caller who was told of the miss just before is none.
    package var countsGet: Bool

    package init(ttl: Int64 = 10_000, wait: Int64 = 0, countsRefusal: Bool = true, countsGet: Bool = true) {
        self.ttl = ttl
        self.wait = wait
        self.countsRefusal = countsRefusal
        self.countsGet = countsGet
    }
}

/// A lease, as its holder is told of it.
package struct Lease: Sendable {
    package let token: LeaseToken
    package let expiresAt: WallTime
}

package enum LeaseAnswer: Sendable {
    /// The entry, fresh or stale.
    case hit(LoadedHit)
    /// A negative entry: the source has nothing.
    case absent(LoadedHit)
    /// There is no entry, for this reason, and the caller fills the key.
    case given(Lease, MissReason)
    /// There is an entry to show meanwhile, and the caller fills the key again. The entry is stale, or fresh and about to expire.
    case refresh(Lease, LoadedHit)
    /// There is no entry, and somebody else has the lease, or nobody may have it.
    case refused(LeaseRefusal)
    /// The value, of so many bytes, is larger than was admitted; nothing is counted.
    case larger(Int64)
    case failed(Problem)
}

/// A lease in a list.
package struct ListedLease: Sendable {
    package let key: [UInt8]
    package let token: LeaseToken
    package let since: WallTime
    package let expiresAt: WallTime
    package let waiters: Int
    /// Whether there is an entry to show meanwhile.
    package let hasEntry: Bool
}

/// Gives callers leases, has others wait for them, and wakes those when the time has come.
///
/// What is known of a key's lease lies in its shard (`LeaseTable`). A wait costs memory alone: one timer, for the wait that ends first, is
/// all that runs.
final class Leases: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let lookups: Lookups
    private let reads: LowerReads
    /// The moment for which the timer is set.
    private let alarm = Mutex(Timestamp.never)
    private let waits = WorkerPool("waits")

    init(_ tiers: Tiers, _ catalogue: Catalogue, _ lookups: Lookups, _ reads: LowerReads) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.lookups = lookups
        self.reads = reads
    }

    // MARK: Asking

    /// See `Store.hit`.
    func hit(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        _ body: (Found) -> Void
    ) -> Bool {
        var isHit = false
        var wakeups = LeaseWakeups()
        tiers.shards.withShard(hash) { shard in
            let election = election(&shard, namespace, hash, moment, draws: false, &wakeups)
            let lookup = lookups.look(
                &shard,
                namespace,
                hash,
                key,
                moment,
                counts: true,
                countsMisses: false,
                fits: { !election.elects($0, at: moment.now) },
                absent: body,
                body
            )
            switch lookup {
            case .hit, .absent: isHit = true
            case .missing, .below, .omitted: break
            }
        }
        wakeups.tell()
        return isHit
    }

    /// Looks for the entry again and again until the call has an answer.
    fileprivate func look(_ call: LeaseCall) {
        let moment = tiers.moment()
        var outcome = Outcome.nothing
        var wakeups = LeaseWakeups()
        tiers.shards.withShard(call.address.hash) { outcome = look(call, &$0, moment, &wakeups) }
        wakeups.tell()
        carryOut(outcome, call)
    }

    private enum Outcome {
        case nothing
        case answer(LeaseAnswer)
        /// Only the lower tier can tell.
        case below
        /// The call waits; the next wait ends at this moment.
        case waits(Timestamp)
    }

    private func carryOut(_ outcome: Outcome, _ call: LeaseCall) {
        switch outcome {
        case .nothing: break
        case .answer(let answer): call.end(with: answer)
        case .below: lookBelow(call)
        case .waits(let end): setAlarm(for: end)
        }
    }

    private func look(
        _ call: LeaseCall,
        _ shard: inout Shard,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> Outcome {
        let (namespace, address) = (call.namespace, call.address)
        let election = election(&shard, namespace, address.hash, moment, &wakeups)
        var found: LoadedHit?
        var tooLarge: Int64?
        var isElected = false
        let lookup = address.key.withUnsafeBytes { key in
            lookups.look(
                &shard,
                namespace,
                address.hash,
                key,
                moment,
                counts: true,
                countsHits: call.countsGet,
                countsMisses: false,
                fits: {
                    let size = Int64($0.entry.value.count)
                    guard call.admits?(size) ?? true else {
                        tooLarge = size
                        return false
                    }
                    let hit = LoadedHit($0)
                    found = hit
                    isElected = election.elects($0, at: moment.now)
                    return !isElected && call.wants?(hit) ?? true
                },
                absent: { found = LoadedHit($0) },
                { _ in }
            )
        }
        if let tooLarge { return .answer(.larger(tooLarge)) }
        switch (lookup, found) {
        case (.omitted, let hit?) where isElected: return .answer(refresh(hit, election, call, &shard, moment))
        // An entry that is not wanted is handed over all the same, so that its caller can say why.
        case (.hit, let hit?), (.omitted, let hit?): return .answer(.hit(hit))
        case (.absent, let hit?): return .answer(.absent(hit))
        case (.missing(let reason), _): return take(reason, election, call, &shard, moment)
        case (.below, _):
            // While a lease is held for a key without an entry, the lower tier has none either: a write would have ended the lease.
            if case .refused(_, hasEntry: false) = election.standing {
                let reason = shard.missMemory.reason(for: address.hash) ?? .absent
                return take(reason, election, call, &shard, moment)
            }
            return .below
        case (.hit, nil), (.absent, nil), (.omitted, nil): return .below
        }
    }

    private func lookBelow(_ call: LeaseCall) {
        reads.awaitEntry(call.namespace, call.address, fillsMemory: true, admits: call.admits) { [self] shard, loaded in
            let moment = tiers.moment()
            var wakeups = LeaseWakeups()
            let outcome = judge(loaded, call, &shard, moment, &wakeups)
            return { [wakeups] in
                wakeups.tell()
                if let outcome { self.carryOut(outcome, call) } else { self.look(call) }
            }
        }
    }

    /// - Returns: `nil` where memory and the lower tier have to be looked at again.
    private func judge(
        _ loaded: LoadedEntry,
        _ call: LeaseCall,
        _ shard: inout Shard,
        _ moment: Moment,
        _ wakeups: inout LeaseWakeups
    ) -> Outcome? {
        let (namespace, address) = (call.namespace, call.address)
        if namespace.isDropped { return .answer(.failed(dropped(namespace, call))) }
        let election = election(&shard, namespace, address.hash, moment, &wakeups)
        guard let result = lookups.result(of: loaded, &shard, namespace, address, counts: true) else { return nil }
        switch result {
        case .larger(let size): return .answer(.larger(size))
        case .absent(let hit):
            if call.countsGet { shard.tally[namespace.slot].count(result) }
            return .answer(.absent(hit))
        case .missing(let reason): return take(reason, election, call, &shard, moment)
        case .hit(let hit):
            var isElected = false
            hit.withFound(address) { isElected = election.elects($0, at: moment.now) }
            if isElected { return .answer(refresh(hit, election, call, &shard, moment)) }
            if call.countsGet, call.wants?(hit) ?? true { shard.tally[namespace.slot].count(result) }
            return .answer(.hit(hit))
        }
    }

    /// - Parameter draws: whether a fresh entry may be refreshed early.
    private func election(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ hash: UInt64,
        _ moment: Moment,
        draws: Bool = true,
        _ wakeups: inout LeaseWakeups
    ) -> RefreshElection {
        // This is read before anybody looks at the entry: what is invalidated after the look is then later than the lease.
        let since = tiers.versions.latest
        var standing = LeaseTable.Standing.free
        if !shard.leases.isEmpty {
            standing = shard.leases.standing(hash, tiers.versions.latest, moment, &wakeups)
        }
        let eagerness = namespace.earlyRefresh
        var head = 0.0
        if draws, eagerness > 0, standing == .free, let load = shard.leases.loadMilliseconds(hash, namespace.slot) {
            head = RefreshElection.head(load: load, eagerness: eagerness)
        }
        return RefreshElection(standing: standing, head: head, since: since)
    }

    /// Gives the lease of a key whose entry is there. Where that fails, the entry is there all the same.
    private func refresh(
        _ hit: LoadedHit,
        _ election: RefreshElection,
        _ call: LeaseCall,
        _ shard: inout Shard,
        _ moment: Moment
    ) -> LeaseAnswer {
        let slot = call.namespace.slot
        guard let lease = give(.expired, hasEntry: true, election, call, &shard, moment) else {
            if call.countsGet { shard.tally[slot].count(.hit(hit)) }
            return .hit(hit)
        }
        if hit.staleSince == nil {
            if call.countsGet { shard.tally[slot].count(.hit(hit)) }
            shard.tally[slot].earlyRefreshes &+= 1
        } else if call.countsGet {
            shard.tally[slot].countMiss(.expired)
        }
        return .refresh(lease, hit)
    }

    /// Gives the lease of a key without an entry, has the call wait, or refuses it.
    private func take(
        _ reason: MissReason,
        _ election: RefreshElection,
        _ call: LeaseCall,
        _ shard: inout Shard,
        _ moment: Moment
    ) -> Outcome {
        if call.namespace.isDropped { return .answer(.failed(dropped(call.namespace, call))) }
        let slot = call.namespace.slot
        switch election.standing {
        case .free:
            let lease = give(reason, hasEntry: false, election, call, &shard, moment)
            if call.countsGet { shard.tally[slot].countMiss(reason) }
            return .answer(lease.map { .given($0, reason) } ?? .failed(.tooManyLeases))
        case .refused(let refusal, _):
            if refusal.reason == .filling, call.deadline > moment.now {
                if let wait = shard.leases.wait(call.address.hash, until: call.deadline, call) {
                    if call.waits(as: wait.number) { return .waits(wait.nextEnd) }
                    shard.leases.cancel(call.address.hash, wait.number, moment)
                    return .nothing
                }
                shard.leases.noteRefusal(slot, reason, countsGet: call.countsGet)
                return .answer(.refused(refusal.because(.crowded)))
            }
            if call.countsRefusal { shard.leases.noteRefusal(slot, reason, countsGet: call.countsGet) }
            return .answer(.refused(refusal))
        }
    }

    private func give(
        _ reason: MissReason,
        hasEntry: Bool,
        _ election: RefreshElection,
        _ call: LeaseCall,
        _ shard: inout Shard,
        _ moment: Moment
    ) -> Lease? {
        let given = shard.leases.give(
            call.address,
            call.namespace.slot,
            ttl: call.leaseTTL,
            hasEntry: hasEntry,
            reason,
            election.since,
            moment
        )
        return given.map { lease($0) }
    }

    fileprivate func lease(_ given: GivenLease) -> Lease {
        Lease(token: given.token, expiresAt: tiers.wallTime(given.endsAt))
    }

    fileprivate func dropped(_ namespace: Namespace, _ call: LeaseCall) -> Problem {
        if call.countsGet { catalogue.countLost(1) }
        return .namespaceNotFound(namespace.name.description)
    }

    /// See `Store.countRefusals`.
    func countRefusals(_ namespace: Namespace, _ addresses: [EntryAddress]) {
        for address in addresses {
            tiers.shards.withShard(address.hash) { shard in
                if namespace.isDropped { return catalogue.countLost(1) }
                shard.leases.noteRefusal(namespace.slot, shard.missMemory.reason(for: address.hash) ?? .absent)
            }
        }
    }

    // MARK: Holding

    /// See `Store.prolong`.
    func prolong(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ token: LeaseToken,
        ttl: Int64
    ) throws(Problem) -> Lease {
        var end: Timestamp?
        withLease(namespace, address, token) { shard, moment, _ in
            end = shard.leases.prolong(address.hash, ttl: ttl, moment)
        }
        guard let end else { throw .leaseLost }
        return Lease(token: token, expiresAt: tiers.wallTime(end))
    }

    /// See `Store.release`.
    func release(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ token: LeaseToken,
        pause: Int64?
    ) throws(Problem) {
        let isHeld = withLease(namespace, address, token) { [self] shard, moment, wakeups in
            let why = pause.map { LeaseTable.End.failed(pause: $0) } ?? .released
            shard.leases.end(address.hash, why, tiers.versions.latest, moment, &wakeups)
        }
        if !isHeld { throw .leaseLost }
    }

    /// Runs `body` under the shard's lock if a token stands for its key's lease; otherwise counts that it does not.
    @discardableResult
    private func withLease(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ token: LeaseToken,
        _ body: (inout Shard, Moment, inout LeaseWakeups) -> Void
    ) -> Bool {
        let moment = tiers.moment()
        var isHeld = false
        var wakeups = LeaseWakeups()
        tiers.shards.withShard(address.hash) { shard in
            if namespace.isDropped { return }
            guard shard.leases.lease(address, token, tiers.versions.latest, moment, &wakeups) != nil else {
                shard.tally[namespace.slot].leasesLost &+= 1
                return
            }
            isHeld = true
            body(&shard, moment, &wakeups)
        }
        wakeups.tell()
        return isHeld
    }

    fileprivate func cancelWait(_ address: EntryAddress, _ number: UInt64) {
        let moment = tiers.moment()
        tiers.shards.withShard(address.hash) { $0.leases.cancel(address.hash, number, moment) }
    }

    /// Takes back a lease whose caller is gone.
    fileprivate func giveBack(_ lease: Lease, _ call: LeaseCall) {
        withLease(call.namespace, call.address, lease.token) { [self] shard, moment, wakeups in
            shard.leases.end(call.address.hash, .released, tiers.versions.latest, moment, &wakeups)
        }
    }

    // MARK: Time

    /// Waits that end within so many milliseconds of each other end together.
    private static let alarmStep: Int64 = 20

    private func setAlarm(for end: Timestamp) {
        let isFirst = alarm.withLock { alarm in
            if alarm <= end { return false }
            alarm = end
            return true
        }
        guard isFirst else { return }
        let milliseconds = max(Self.alarmStep, end.milliseconds(since: tiers.clock.now()))
        waits.async(afterMilliseconds: Int(milliseconds)) { [weak self] in self?.ring(end) }
    }

    /// - Parameter end: what the alarm was set for. Where it has been set for an earlier moment since, that one has rung or will.
    private func ring(_ end: Timestamp) {
        let isCurrent = alarm.withLock { alarm in
            guard alarm == end else { return false }
            alarm = .never
            return true
        }
        guard isCurrent else { return }
        let next = endWaits()
        if next != .never { setAlarm(for: next) }
    }

    /// Ends the waits whose time has come, and passes on the leases that have run out and that somebody waits for. Returns when the next one
    /// ends.
    @discardableResult
    func endWaits() -> Timestamp {
        var next = Timestamp.never
        for number in 0..<tiers.shards.count {
            let moment = tiers.moment()
            var wakeups = LeaseWakeups()
            tiers.shards.withShard(number: number) { shard in
                if shard.leases.isEmpty { return }
                shard.leases.endWaits(tiers.versions.latest, moment, &wakeups)
                next = min(next, shard.leases.nextEnd)
            }
            wakeups.tell()
        }
        return next
    }

    /// Ends the leases that have run out and that nobody waits for, so that they are counted and take no room.
    func sweep() {
        for number in 0..<tiers.shards.count {
            let moment = tiers.moment()
            var wakeups = LeaseWakeups()
            tiers.shards.withShard(number: number) { $0.leases.sweep(tiers.versions.latest, moment, &wakeups) }
            wakeups.tell()
        }
    }

    /// For each namespace that has leases: the smallest version that was the newest one when one of them was given.
    func oldestVersions() -> [NamespaceID: Version] {
        var oldest: [NamespaceID: Version] = [:]
        tiers.shards.withEachShard { _, shard in shard.leases.noteOldest(&oldest) }
        return oldest
    }

    // MARK: Figures

    /// See `Store.leases`.
    func list(_ namespace: Namespace, prefix: [UInt8], limit: Int) -> (leases: [ListedLease], count: Int) {
        var found: [LeaseTable.Lease] = []
        var count = 0
        tiers.shards.withEachShard { _, shard in
            for lease in shard.leases.leases(of: namespace.id) {
                count += 1
                if lease.address.key.starts(with: prefix) { found.append(lease) }
            }
        }
        found.sort { ($0.beganMicroseconds, $0.since) < ($1.beganMicroseconds, $1.since) }
        let listed = found.prefix(limit).map { lease in
            ListedLease(
                key: lease.address.key,
                token: lease.token,
                since: tiers.wallTime(lease.began),
                expiresAt: tiers.wallTime(lease.endsAt),
                waiters: lease.queue.count,
                hasEntry: lease.hasEntry
            )
        }
        return (listed, count)
    }
}

/// Who of those who ask for an entry that is there is to fill its key again.
struct RefreshElection {
    let standing: LeaseTable.Standing
    /// How long before its expiry the entry is refreshed, in milliseconds; 0 = not before.
    let head: Double
    /// The newest version that had been given before anybody looked at the entry.
    let since: Version

    /// How long before an entry's expiry this caller would refresh it: -load x eagerness x ln(random). So each caller decides by itself, and
    /// the more of them there are, the sooner one of them does (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
    /// Prevention", VLDB 2015).
    ///
    /// - Parameters:
    ///   - load: milliseconds that a load takes.
    ///   - eagerness: their beta; 1 is the best for loads of exponentially distributed length.
    static func head(load: Double, eagerness: Double) -> Double {
        -load * eagerness * log(Double.random(in: Double.leastNonzeroMagnitude...1))
    }

    /// Whether the caller is given the lease of an entry's key.
    func elects(_ found: Found, at now: Timestamp) -> Bool {
        guard standing == .free else { return false }
        if found.staleSince != nil { return true }
        guard head > 0, found.entry.expiresAt != .never else { return false }
        return Double(found.entry.expiresAt.milliseconds(since: now)) <= head
    }
}

/// One request for an entry or the lease of its key, until it is answered.
package final class LeaseCall: LeaseWaiter {
    /// Runs what is to be done once a wait has ended.
    package typealias Runner = @Sendable (@escaping @Sendable () -> Void) -> Void

    private struct State {
        /// The number in the queue; `nil` while the call does not wait.
        var number: UInt64?
        var isCancelled = false
    }

    let namespace: Namespace
    let address: EntryAddress
    let leaseTTL: Int64
    let countsRefusal: Bool
    let countsGet: Bool
    let deadline: Timestamp
    let waitBegan: UInt64
    let admits: ReadAdmission?
    let wants: (@Sendable (LoadedHit) -> Bool)?
    private let leases: Leases
    private let wakes: LeaseCall.Runner
    private let completion: @Sendable (LeaseAnswer) -> Void
    private let state = Mutex(State())

    init(
        _ leases: Leases,
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ask: LeaseAsk,
        at moment: Moment,
        admits: ReadAdmission?,
        wants: (@Sendable (LoadedHit) -> Bool)?,
        wakes: @escaping LeaseCall.Runner,
        completion: @escaping @Sendable (LeaseAnswer) -> Void
    ) {
        self.leases = leases
        self.namespace = namespace
        self.address = address
        self.admits = admits
        self.wants = wants
        self.wakes = wakes
        self.completion = completion
        leaseTTL = ask.ttl
        countsRefusal = ask.countsRefusal
        countsGet = ask.countsGet
        deadline = moment.now.advanced(byMilliseconds: ask.wait)
        waitBegan = moment.access
    }

    func begin() { leases.look(self) }

    /// Whether the call waits for somebody else's fill.
    package var isWaiting: Bool { state.withLock { $0.number != nil } }

    /// Ends the call of a caller who is gone: it is given no lease any more. Where an answer is on its way already, it is still given.
    package func cancel() {
        let number = state.withLock { state in
            state.isCancelled = true
            return state.number
        }
        if let number { leases.cancelWait(address, number) }
    }

    /// Notes that the call waits. To be called under the shard's lock.
    ///
    /// - Returns: `false` where the call is cancelled.
    fileprivate func waits(as number: UInt64) -> Bool {
        state.withLock { state in
            state.number = number
            return !state.isCancelled
        }
    }

    func wake(_ wake: LeaseWake) {
        state.withLock { $0.number = nil }
        wakes { [self] in
            switch wake {
            case .written: leases.look(self)
            case .given(let given): end(with: .given(leases.lease(given), given.reason))
            case .held(let refusal): end(with: .refused(refusal))
            case .dropped: end(with: .failed(leases.dropped(namespace, self)))
            }
        }
    }

    fileprivate func end(with answer: LeaseAnswer) {
        guard state.withLock({ $0.isCancelled }) else { return completion(answer) }
        switch answer {
        case .given(let lease, _), .refresh(let lease, _): leases.giveBack(lease, self)
        case .hit, .absent, .refused, .larger, .failed: break
        }
    }
}

extension LeaseRefusal {
    fileprivate func because(_ reason: Reason) -> LeaseRefusal {
        LeaseRefusal(reason, retryAfter: retryAfter)
    }
}

extension Problem {
    /// A lease that its holder has no more.
    package static let leaseLost = Problem(
        .leaseLost,
        "The lease is lost: it ran out or was given up, or its key was written, deleted or invalidated since. Nothing was changed."
    )

    fileprivate static let tooManyLeases = Problem(
        .overloaded,
        "There are as many leases as the server gives (limits.leases); try again later."
    )
}
