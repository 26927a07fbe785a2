package import PantlerInsight
import PantlerMemory
package import PantlerModel
import Synchronization

/// Gets and hits of a stretch of time.
package struct WindowFigures: Hashable, Sendable {
    package var gets: UInt64 = 0
    package var hits: UInt64 = 0

    static func += (left: inout WindowFigures, right: WindowFigures) {
        left.gets += right.gets
        left.hits += right.hits
    }
}

/// What happened, and what is there, of a namespace or of all together.
package struct Figures: Sendable {
    package var tally = NamespaceTally()
    package var minute = WindowFigures()
    package var fiveMinutes = WindowFigures()
    package var hour = WindowFigures()
    package var memory = TierUsage()
    package var lower = TierUsage()
    /// Entries that left each tier to make room for others.
    package var memoryEvictions: UInt64 = 0
    package var lowerEvictions: UInt64 = 0

    /// All but the windows, which each has for itself.
    static func += (left: inout Figures, right: Figures) {
        left.tally += right.tally
        left.memory.entries += right.memory.entries
        left.memory.bytes += right.memory.bytes
        left.lower.entries += right.lower.entries
        left.lower.bytes += right.lower.bytes
        left.memoryEvictions += right.memoryEvictions
        left.lowerEvictions += right.lowerEvictions
    }
}

package struct NamespaceStatistics: Sendable {
    package var name: NamespaceName
    /// Since when it is counted: the start, or when the namespace was made.
    /// As callers are told it.
    package var since: WallTime
    package var figures: Figures
}

package struct StoreStatistics: Sendable {
    /// As callers are told it.
    package var since: WallTime
    package var uptimeMilliseconds: Int64
    /// Sums, namespaces that were dropped included.
    package var total: Figures
    /// In the order of their names.
    package var namespaces: [NamespaceStatistics]
    /// Gets of namespaces that are not there, by name, and those of names that are not remembered. They are in the total, as misses.
    package var unmet: [(name: String, gets: UInt64)]
    package var unnamedGets: UInt64
    /// Bytes that the memory tier holds from the system, and may hold.
    package var memoryBytes: Int
    package var memoryLimit: Int
    /// `nil` without a lower tier.
    package var lower: TierHealth?
}

extension Store {
    /// Complexity: O(shards).
    package func statistics(_ namespace: Namespace) -> NamespaceStatistics {
        NamespaceStatistics(
            name: namespace.name,
            since: wallTime(max(startedAt, namespace.createdAt)),
            figures: figures(namespace)
        )
    }

    /// Complexity: O(shards x namespaces).
    package func statistics() -> StoreStatistics {
        let (all, retired, leaving, unmet) = registry.withLock {
            (Array($0.byName.values), $0.retired, $0.leaving, $0.unmet)
        }
        let namespaces = all.sorted { $0.name.description < $1.name.description }.map { statistics($0) }
        var total = Figures()
        total.memoryEvictions = retired.memoryEvictions
        for namespace in namespaces { total += namespace.figures }
        total.tally += rest(retired, leaving, unmet)
        setWindows(of: &total)
        let health = lower?.health()
        // The tier counts those of dropped namespaces as well.
        total.lowerEvictions = health?.evictions ?? 0
        return StoreStatistics(
            since: wallTime(startedAt),
            uptimeMilliseconds: uptimeMilliseconds,
            total: total,
            namespaces: namespaces,
            unmet: unmet.byName.map { ($0.key, $0.value) }.sorted { $0.name < $1.name },
            unnamedGets: unmet.unnamed + lostGets.load(ordering: .relaxed),
            memoryBytes: memory.bytes,
            memoryLimit: memory.maxBytes,
            lower: health
        )
    }

    /// What is wrong with the lower tier; `nil` while all is well.
    package func readiness() -> TierFault? { lower?.health().fault ?? removals.fault }

    private func figures(_ namespace: Namespace) -> Figures {
        var figures = Figures()
        figures.tally = tally(of: namespace)
        let now = clock.monotonicMicroseconds() / 1_000_000
        let (gets, hits) = (figures.tally.gets, figures.tally.hits)
        namespace.state.withLock { state in
            func window(_ seconds: Int) -> WindowFigures {
                let window = state.windows.window(seconds: seconds, gets: gets, hits: hits, atSeconds: now)
                return WindowFigures(gets: window.gets, hits: window.hits)
            }
            figures.minute = window(60)
            figures.fiveMinutes = window(300)
            figures.hour = window(3600)
        }
        let usage = memory.usage(namespace.slot)
        figures.memory = TierUsage(entries: usage.entries, bytes: usage.bytes)
        figures.memoryEvictions = usage.evictions
        if let lower {
            let usage = lower.usage(of: namespace.id)
            figures.lower = usage
            figures.lowerEvictions = namespace.lowerEvictions
        }
        return figures
    }

    /// All namespaces that count at present, and what is counted besides them.
    func countedNamespaces() -> (namespaces: [Namespace], rest: NamespaceTally) {
        let (namespaces, retired, leaving, unmet) = registry.withLock {
            (Array($0.byName.values), $0.retired, $0.leaving, $0.unmet)
        }
        return (namespaces, rest(retired, leaving, unmet))
    }

    /// What is counted besides the namespaces that are there: of those that are gone or about to be, and of those that never were.
    private func rest(_ retired: Retired, _ leaving: [Namespace], _ unmet: UnmetGets) -> NamespaceTally {
        var tally = retired.tally
        for namespace in leaving { tally += self.tally(of: namespace) }
        tally.missAbsent &+= unmet.total &+ lostGets.load(ordering: .relaxed)
        return tally
    }

    private func setWindows(of total: inout Figures) {
        let now = clock.monotonicMicroseconds() / 1_000_000
        let (gets, hits) = (total.tally.gets, total.tally.hits)
        windows.withLock { windows in
            func window(_ seconds: Int) -> WindowFigures {
                let window = windows.window(seconds: seconds, gets: gets, hits: hits, atSeconds: now)
                return WindowFigures(gets: window.gets, hits: window.hits)
            }
            (total.minute, total.fiveMinutes, total.hour) = (window(60), window(300), window(3600))
        }
    }

    /// The sum over all shards, each read under its lock.
    func tally(of namespace: Namespace) -> NamespaceTally {
        var tally = NamespaceTally()
        shards.withEachShard { _, shard in tally += shard.tally[namespace.slot] }
        return tally
    }
}

extension NamespaceTally {
    mutating func count(_ result: LoadResult) {
        switch result {
        case .hit(let hit):
            if hit.staleSince == nil { countHit(hit.tier) } else { hitsStale &+= 1 }
        case .missing(let reason): countMiss(reason)
        case .larger: break
        }
    }
}
