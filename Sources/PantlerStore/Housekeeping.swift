import Dispatch
import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// How far the background work has come.
private struct HousekeepingState {
    var isStopped = false
    var ticks: UInt64 = 0
    /// Whether a pass over the lower tier was asked for that is to begin soon.
    var wantsSweep = false
    /// Whether a pass was asked for that has time.
    var wantsSlowSweep = false
    /// Whether a pass is under way.
    var isSweeping = false
    /// When the last pass began and ended, in microseconds of the clock's monotonic time.
    var sweepBegan: UInt64 = 0
    var sweepEnded: UInt64 = 0
}

/// The work that no call asks for: expired entries leave, windows of the statistics move on, old invalidations are forgotten, and the
/// hottest entries and the last use of tokens are remembered for the next start.
final class Housekeeping: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let accounts: Accounts
    private let hotSet: HotSet
    private let leases: Leases
    private let tokens: Tokens
    private let state = Mutex(HousekeepingState())
    let sweeps = WorkerPool("sweeps")
    /// The queue on which ticks run, one at a time. They give way to all work for which somebody waits (on Linux by a nice value of 2).
    private let ticker = DispatchQueue(label: "pantler.maintenance", qos: .utility)

    init(
        _ tiers: Tiers,
        _ catalogue: Catalogue,
        _ accounts: Accounts,
        _ hotSet: HotSet,
        _ leases: Leases,
        _ tokens: Tokens
    ) {
        self.leases = leases
        self.tokens = tokens
        self.tiers = tiers
        self.catalogue = catalogue
        self.accounts = accounts
        self.hotSet = hotSet
    }

    /// Ten ticks a second.
    private static let tickMilliseconds = 100
    /// How long a pass over all of memory takes, in ticks; and the fewest records that a tick looks at.
    private static let passTicks = 300
    private static let leastRecords = 2000
    /// Records that are looked at under one hold of a shard's lock.
    private static let sweepStep = 100

    func start() {
        ticker.asyncAfter(deadline: .now() + .milliseconds(Self.tickMilliseconds)) { [weak self] in
            guard let self, !state.withLock({ $0.isStopped }) else { return }
            tick()
            start()
        }
    }

    /// Ends the ticks. When this returns, no tick is running, and none will.
    func stop() {
        state.withLock { $0.isStopped = true }
        ticker.sync {}
    }

    /// Does a tenth of a second's background work. Called by one thread at a time.
    func tick() {
        let ticks = state.withLock { state in
            state.ticks += 1
            return state.ticks
        }
        sweepMemory()
        leases.endWaits()
        if ticks % 10 == 0 {
            accounts.sample()
            leases.sweep()
            tokens.saveUse()
        }
        hotSet.saveIfDue(at: ticks)
        if ticks % 100 == 0 { forgetOldTags() }
        sweepLowerIfAsked()
    }

    /// Removes what is dead from a part of memory, so that each entry is looked at about twice a minute.
    private func sweepMemory() {
        let bySlot = catalogue.bySlot
        var left = max(Self.leastRecords, tiers.memory.entries / Self.passTicks)
        while left > 0 {
            if sweepStep(bySlot) { break }
            left -= Self.sweepStep
        }
    }

    /// Returns whether a pass over all of memory has ended.
    private func sweepStep(_ bySlot: [NamespaceSlot: Namespace]) -> Bool {
        let now = tiers.clock.now()
        return tiers.shards.sweepStep(limit: Self.sweepStep) { view, slot in
            guard let namespace = bySlot[slot], !namespace.isDropped else { return nil }
            if case .dead(let reason) = namespace.marks.freshness(of: view, at: now) { return reason }
            namespace.marks.keepMarks(of: view, at: now)
            return nil
        }
    }

    // MARK: What invalidations leave behind

    /// Asks for a pass over the lower tier that is to begin soon: a flush, for example, leaves entries there that nobody sees.
    func askForSweep() { state.withLock { $0.wantsSweep = true } }

    /// Asks for a pass over the lower tier that has time: the entries that the invalidation of a tag has ended are to leave it, too, but
    /// many invalidations may share a pass.
    func askForSlowSweep() { state.withLock { $0.wantsSlowSweep = true } }

    /// Asks for a pass where a namespace has many marks of tags: they can be forgotten once everything that they concern has been removed.
    private func forgetOldTags() {
        let hasMany = catalogue.bySlot.values.contains { $0.marks.hasManyTags }
        if hasMany { askForSweep() }
    }

    /// The least pause before a pass that has time: so many microseconds, and so many times as long as the last pass took, so that passes
    /// take a twentieth of the writer's time at most.
    private static let slowSweepMicroseconds: UInt64 = 60_000_000
    private static let slowSweepShare: UInt64 = 20
    /// The least pause where the lower tier has no room left, in microseconds: then the entries that have ended must make room.
    private static let urgentSweepMicroseconds: UInt64 = 1_000_000

    private func sweepLowerIfAsked() {
        let now = tiers.clock.monotonicMicroseconds()
        let (isAsked, hasTime) = state.withLock { ($0.wantsSweep || $0.wantsSlowSweep, !$0.wantsSweep) }
        guard isAsked else { return }
        let isUrgent = hasTime && tiers.lower?.health().fault?.cause == .full
        let begins = state.withLock { state in
            let took = state.sweepEnded - state.sweepBegan
            let pause =
                isUrgent
                ? max(Self.urgentSweepMicroseconds, took)
                : max(Self.slowSweepMicroseconds, took * Self.slowSweepShare)
            let isTime = state.wantsSweep || (state.wantsSlowSweep && now >= state.sweepEnded + pause)
            guard isTime, !state.isSweeping else { return false }
            state.wantsSweep = false
            state.wantsSlowSweep = false
            state.isSweeping = true
            (state.sweepBegan, state.sweepEnded) = (now, now)
            return true
        }
        guard begins else { return }
        sweeps.async { [self] in
            let namespaces = catalogue.bySlot
            let horizons = namespaces.values.map { ($0, $0.marks.beginForgetting(tiers.versions)) }
            // The sweep over memory goes on until it has ended two passes: the first may have begun in the middle.
            var passes = 0
            while passes < 2 { passes += sweepStep(namespaces) ? 1 : 0 }
            guard let lower = tiers.lower else { return endSweep(horizons, isWhole: true) }
            lower.sweepInvalidated { [self] fault in endSweep(horizons, isWhole: fault == nil) }
        }
    }

    private func endSweep(_ horizons: [(Namespace, Version)], isWhole: Bool) {
        // The fills of leases that are held have still to be judged by the marks that came after them.
        let oldestLeases = leases.oldestVersions()
        for (namespace, horizon) in horizons {
            // What was read before the sweep and arrives later would be judged without the marks, so that it has to be read again.
            if isWhole, namespace.marks.tagCount > 0 { tiers.outdateReads(of: namespace) }
            let horizon = min(horizon, oldestLeases[namespace.id].map { $0 + 1 } ?? horizon)
            guard let kept = namespace.marks.endForgetting(before: horizon, isWhole: isWhole) else { continue }
            _ = tiers.lower?.enqueue(.forgetTags(namespace.id, before: horizon, except: kept))
        }
        let now = tiers.clock.monotonicMicroseconds()
        state.withLock {
            $0.isSweeping = false
            $0.sweepEnded = max($0.sweepBegan, now)
            if !isWhole { $0.wantsSlowSweep = true }
        }
    }
}
