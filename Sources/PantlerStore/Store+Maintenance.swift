import Dispatch
import PantlerInsight
import PantlerMemory
import PantlerModel
import Synchronization

/// Where the background work stands. Lives under the store's `maintenance` lock.
struct MaintenanceState {
    var isStopped = false
    var ticks: UInt64 = 0
    /// Whether something asked for a pass over the lower tier, and whether one is under way.
    var wantsSweep = false
    /// Whether something asked for one that has time.
    var wantsSlowSweep = false
    var isSweeping = false
    /// When the last one began and ended; microseconds.
    var sweepBegan: UInt64 = 0
    var sweepEnded: UInt64 = 0
    var hotSet = HotSetState()
}

// What nobody asks for: expired entries leave, windows move on, old invalidations are forgotten, and the hottest entries are
// remembered for the next start.
extension Store {
    /// Ten ticks a second.
    static let tickMilliseconds = 100
    /// How long a pass over all of memory takes, in ticks; and the fewest records that a tick looks at.
    private static let passTicks = 300
    private static let leastRecords = 2000
    /// Records under one hold of a shard's lock.
    private static let sweepStep = 100

    func startMaintenance() {
        ticker.asyncAfter(deadline: .now() + .milliseconds(Self.tickMilliseconds)) { [weak self] in
            guard let self, !maintenance.withLock({ $0.isStopped }) else { return }
            tick()
            startMaintenance()
        }
    }

    /// Once it returns, no tick runs, and none will.
    func stopMaintenance() {
        maintenance.withLock { $0.isStopped = true }
        ticker.sync {}
    }

    /// A tenth of a second's background work. One thread at a time.
    package func tick() {
        let ticks = maintenance.withLock { state in
            state.ticks += 1
            return state.ticks
        }
        sweepMemory()
        if ticks % 10 == 0 { sampleWindows() }
        saveHotSetIfDue(at: ticks)
        if ticks % 100 == 0 { forgetOldTags() }
        sweepLowerIfAsked()
    }

    /// Removes what is dead from a part of memory, so that each entry is looked at about twice a minute.
    private func sweepMemory() {
        let bySlot = slots.withLock { $0 }
        var left = max(Self.leastRecords, memory.entries / Self.passTicks)
        while left > 0 {
            if sweepStep(bySlot) { break }
            left -= Self.sweepStep
        }
    }

    /// Returns whether a pass over all of memory has ended.
    private func sweepStep(_ bySlot: [NamespaceSlot: Namespace]) -> Bool {
        let now = clock.now()
        return shards.sweepStep(limit: Self.sweepStep) { view, slot in
            guard let namespace = bySlot[slot], !namespace.isDropped else { return nil }
            if case .dead(let reason) = namespace.freshness(of: view, at: now) { return reason }
            namespace.keepMarks(of: view, at: now)
            return nil
        }
    }

    private func sampleWindows() {
        let (namespaces, rest) = countedNamespaces()
        var sums = Array(repeating: WindowFigures(), count: namespaces.count)
        shards.withEachShard { _, shard in
            for (index, namespace) in namespaces.enumerated() {
                sums[index].gets &+= shard.tally[namespace.slot].gets
                sums[index].hits &+= shard.tally[namespace.slot].hits
            }
        }
        let now = clock.monotonicMicroseconds() / 1_000_000
        for (namespace, sum) in zip(namespaces, sums) {
            namespace.state.withLock { $0.windows.sample(gets: sum.gets, hits: sum.hits, atSeconds: now) }
        }
        var total = WindowFigures(gets: rest.gets, hits: rest.hits)
        for sum in sums { total += sum }
        windows.withLock { $0.sample(gets: total.gets, hits: total.hits, atSeconds: now) }
    }

    // MARK: What invalidations leave behind

    /// A flush has left entries that nobody sees: the lower tier is to be gone through.
    func askForSweep() { maintenance.withLock { $0.wantsSweep = true } }

    /// A tag was invalidated: what it ended is to leave the lower tier, too, but not before the next.
    func askForSlowSweep() { maintenance.withLock { $0.wantsSlowSweep = true } }

    /// Marks of tags are forgotten once everything that they concern has been removed.
    private func forgetOldTags() {
        let hasMany = registry.withLock { Array($0.byID.values) }.contains { $0.hasManyTags }
        if hasMany { askForSweep() }
    }

    /// Least pause before a pass that has time, in microseconds; and how many times as long as the last one took, so that passes take a
    /// twentieth of the writer's time at most.
    private static let slowSweepMicroseconds: UInt64 = 60_000_000
    private static let slowSweepShare: UInt64 = 20
    /// The same where the lower tier has no room left: what ended has to make some.
    private static let urgentSweepMicroseconds: UInt64 = 1_000_000

    private func sweepLowerIfAsked() {
        let now = clock.monotonicMicroseconds()
        let (isAsked, hasTime) = maintenance.withLock { ($0.wantsSweep || $0.wantsSlowSweep, !$0.wantsSweep) }
        guard isAsked else { return }
        let isUrgent = hasTime && lower?.health().fault?.cause == .full
        let begins = maintenance.withLock { state in
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
            let namespaces = slots.withLock { $0 }
            let horizons = namespaces.values.map { ($0, $0.beginForgetting(versions)) }
            // Two passes of the memory's own sweep: the first may have begun in the middle.
            var passes = 0
            while passes < 2 { passes += sweepStep(namespaces) ? 1 : 0 }
            guard let lower else { return endSweep(horizons, isWhole: true) }
            lower.sweepInvalidated { [self] fault in endSweep(horizons, isWhole: fault == nil) }
        }
    }

    private func endSweep(_ horizons: [(Namespace, Version)], isWhole: Bool) {
        for (namespace, horizon) in horizons {
            // What was read before the sweep will be judged without the marks.
            if isWhole, namespace.tagCount > 0 { dropPendingLoads(namespace) }
            guard let kept = namespace.endForgetting(before: horizon, isWhole: isWhole) else { continue }
            _ = lower?.enqueue(.forgetTags(namespace.id, before: horizon, except: kept))
        }
        let now = clock.monotonicMicroseconds()
        maintenance.withLock {
            $0.isSweeping = false
            $0.sweepEnded = max($0.sweepBegan, now)
            if !isWhole { $0.wantsSlowSweep = true }
        }
    }
}
