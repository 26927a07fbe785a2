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

/// What happened and what is there, in a namespace or in all together.
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
    /// Seconds of loads that hits have spared: each hit as long as a load of its namespace takes on average.
    package var savedSeconds = 0.0

    /// Adds all figures but the windows: those of all namespaces together are counted by themselves.
    static func += (left: inout Figures, right: Figures) {
        left.tally += right.tally
        left.savedSeconds += right.savedSeconds
        left.memory.entries += right.memory.entries
        left.memory.bytes += right.memory.bytes
        left.lower.entries += right.lower.entries
        left.lower.bytes += right.lower.bytes
        left.memoryEvictions += right.memoryEvictions
        left.lowerEvictions += right.lowerEvictions
    }

    fileprivate mutating func setWindows(_ windows: RateWindows, atSeconds now: UInt64) {
        func window(_ seconds: Int) -> WindowFigures {
            let window = windows.window(seconds: seconds, gets: tally.gets, hits: tally.hits, atSeconds: now)
            return WindowFigures(gets: window.gets, hits: window.hits)
        }
        (minute, fiveMinutes, hour) = (window(60), window(300), window(3600))
    }
}

package struct NamespaceStatistics: Sendable {
    package var name: NamespaceName
    /// The moment since which is counted, as callers are told it: the start, or when the namespace was made.
    package var since: WallTime
    package var figures: Figures
}

package struct StoreStatistics: Sendable {
    /// The moment of the start, as callers are told it.
    package var since: WallTime
    package var uptimeMilliseconds: Int64
    /// Sums over all namespaces, those that were dropped included.
    package var total: Figures
    /// The namespaces, in the order of their names.
    package var namespaces: [NamespaceStatistics]
    /// `unmet` has the gets of namespaces that are not there, by name. `unnamedGets` counts those whose names are not remembered. Both are
    /// in the total, as misses.
    package var unmet: [(name: String, gets: UInt64)]
    package var unnamedGets: UInt64
    /// How long callers have waited for somebody else's fill.
    package var waits: LatencyHistogram
    /// Bytes that the memory tier holds from the system, and may hold.
    package var memoryBytes: Int
    package var memoryLimit: Int
    /// `nil` without a lower tier.
    package var lower: TierHealth?
}

/// Sums up what the shards count, for callers and for the windows of time.
final class Accounts: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    /// The windows of all namespaces together, those that are gone included.
    private let windows = Mutex(RateWindows())
    private let startedAt: Timestamp
    private let startedMicroseconds: UInt64

    init(_ tiers: Tiers, _ catalogue: Catalogue) {
        self.tiers = tiers
        self.catalogue = catalogue
        startedAt = tiers.clock.now()
        startedMicroseconds = tiers.clock.monotonicMicroseconds()
    }

    var uptimeMilliseconds: Int64 {
        Int64((tiers.clock.monotonicMicroseconds() - startedMicroseconds) / 1000)
    }

    /// Complexity: O(shards).
    func statistics(_ namespace: Namespace) -> NamespaceStatistics {
        NamespaceStatistics(
            name: namespace.name,
            since: tiers.wallTime(max(startedAt, namespace.createdAt)),
            figures: figures(namespace)
        )
    }

    /// Complexity: O(shards x namespaces).
    func statistics() -> StoreStatistics {
        let sums = catalogue.counted()
        let namespaces = sums.namespaces.sorted { $0.name.description < $1.name.description }.map { statistics($0) }
        var total = Figures()
        total.memoryEvictions = sums.memoryEvictions
        for namespace in namespaces { total += namespace.figures }
        total.tally += sums.rest
        windows.withLock { total.setWindows($0, atSeconds: seconds()) }
        var waits = LatencyHistogram()
        tiers.shards.withEachShard { _, shard in waits += shard.leases.waitLengths }
        let health = tiers.lower?.health()
        // The tier's figure includes evictions from namespaces that were dropped.
        total.lowerEvictions = health?.evictions ?? 0
        return StoreStatistics(
            since: tiers.wallTime(startedAt),
            uptimeMilliseconds: uptimeMilliseconds,
            total: total,
            namespaces: namespaces,
            unmet: sums.unmet.map { ($0.key, $0.value) }.sorted { $0.name < $1.name },
            unnamedGets: sums.unnamedGets,
            waits: waits,
            memoryBytes: tiers.memory.bytes,
            memoryLimit: tiers.memory.maxBytes,
            lower: health
        )
    }

    private func figures(_ namespace: Namespace) -> Figures {
        var figures = Figures()
        figures.tally = tiers.shards.tally(of: namespace.slot)
        figures.savedSeconds = (figures.tally.meanLoadSeconds ?? 0) * Double(figures.tally.hits)
        let now = seconds()
        namespace.state.withLock { figures.setWindows($0.windows, atSeconds: now) }
        let usage = tiers.memory.usage(namespace.slot)
        figures.memory = TierUsage(entries: usage.entries, bytes: usage.bytes)
        figures.memoryEvictions = usage.evictions
        if let lower = tiers.lower {
            let usage = lower.usage(of: namespace.id)
            figures.lower = usage
            figures.lowerEvictions = namespace.lowerEvictions
        }
        return figures
    }

    private func seconds() -> UInt64 { tiers.clock.monotonicMicroseconds() / 1_000_000 }

    /// Moves the windows on. To be called once in a second.
    func sample() {
        let sums = catalogue.counted()
        let namespaces = sums.namespaces
        var counts = Array(repeating: WindowFigures(), count: namespaces.count)
        tiers.shards.withEachShard { _, shard in
            for (index, namespace) in namespaces.enumerated() {
                counts[index].gets &+= shard.tally[namespace.slot].gets
                counts[index].hits &+= shard.tally[namespace.slot].hits
            }
        }
        let now = seconds()
        for (namespace, sum) in zip(namespaces, counts) {
            namespace.state.withLock { $0.windows.sample(gets: sum.gets, hits: sum.hits, atSeconds: now) }
        }
        var total = WindowFigures(gets: sums.rest.gets, hits: sums.rest.hits)
        for sum in counts { total += sum }
        windows.withLock { $0.sample(gets: total.gets, hits: total.hits, atSeconds: now) }
    }
}

extension NamespaceTally {
    mutating func count(_ result: LoadResult) {
        switch result {
        case .hit(let hit):
            if hit.staleSince == nil { countHit(hit.tier) } else { hitsStale &+= 1 }
        case .absent: hitsAbsent &+= 1
        case .missing(let reason): countMiss(reason)
        case .larger: break
        }
    }
}
