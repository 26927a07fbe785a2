import PantlerMemory
import PantlerModel

/// Lists a namespace's keys, in pages.
final class Listings: Sendable {
    private let tiers: Tiers
    private let pool = WorkerPool("listings", width: 2)

    init(_ tiers: Tiers) { self.tiers = tiers }

    /// One page of a namespace's keys in byte order: entries that may be seen now, beginning with `prefix`, after `after`.
    ///
    /// The call blocks no writer: it holds a lock for a thousand records at most, or reads a snapshot of the lower tier. An entry that is
    /// there the whole time is listed; one that comes or goes meanwhile may be. The call fails with `storage_…`.
    ///
    /// Complexity: O(page) where the lower tier has everything. O(the namespace's entries in memory) for a namespace that is only in memory
    /// or on its way into the lower tier, and as soon as that has a fault, or has evicted or lost any entry.
    func list(
        _ namespace: Namespace,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<Listing, Problem>) -> Void
    ) {
        guard let lower = tiers.lower, namespace.usesLower else {
            return pool.async { [self] in
                let found = memoryRows(namespace, prefix, after, through: nil, limit: limit + 1)
                let rows = found.prefix(limit).map {
                    ListedRow(entry: $0, tier: .memory, expiresAt: tiers.wallTime($0.expiresAt))
                }
                completion(.success(Listing(rows: rows, isComplete: found.count <= limit)))
            }
        }
        collect(lower, namespace, prefix: prefix, after: after, limit: limit, rows: [], completion)
    }

    /// Reads pages of the lower tier until enough rows are found that may be seen.
    private func collect(
        _ lower: any LowerTier,
        _ namespace: Namespace,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        rows: [ListedRow],
        _ completion: @escaping @Sendable (Result<Listing, Problem>) -> Void
    ) {
        // One row more than is asked for tells whether there are more.
        let wanted = limit + 1
        let forgets = namespace.marks.forgets
        lower.list(namespace: namespace.id, prefix: prefix, after: after, limit: wanted) { [self] result in
            pool.async { [self] in
                let page: [ListedEntry]
                switch result {
                case .failure(let fault): return completion(.failure(.storage(fault)))
                case .success(let listed): page = listed
                }
                let isEnd = page.count < wanted
                var visible = page.filter { isVisible($0, namespace) }
                if namespace.isEntering || !isComplete(lower) {
                    let inMemory = memoryRows(
                        namespace,
                        prefix,
                        after,
                        through: isEnd ? nil : page.last?.key,
                        limit: wanted
                    )
                    visible = merge(visible, inMemory)
                }
                // If marks were forgotten meanwhile, rows that they have ended may be among these. Those rows have been removed by now, so
                // that the page is read again.
                guard namespace.marks.forgets == forgets else {
                    return collect(
                        lower,
                        namespace,
                        prefix: prefix,
                        after: after,
                        limit: limit,
                        rows: rows,
                        completion
                    )
                }
                let all =
                    rows
                    + visible.map {
                        ListedRow(
                            entry: $0,
                            tier: tier(of: $0.key, namespace, lower),
                            expiresAt: tiers.wallTime($0.expiresAt)
                        )
                    }
                if all.count > limit || isEnd {
                    let rows = Array(all.prefix(limit))
                    return completion(.success(Listing(rows: rows, isComplete: all.count <= limit && isEnd)))
                }
                collect(
                    lower,
                    namespace,
                    prefix: prefix,
                    after: page.last?.key,
                    limit: limit,
                    rows: all,
                    completion
                )
            }
        }
    }

    /// Whether the lower tier is sure to have all entries that were written to it.
    private func isComplete(_ lower: any LowerTier) -> Bool {
        let health = lower.health()
        return health.fault == nil && health.evictions == 0 && health.lostWrites == 0 && health.corruptions == 0
    }

    private func isVisible(_ entry: ListedEntry, _ namespace: Namespace) -> Bool {
        let freshness = namespace.marks.freshness(
            version: entry.version,
            expiresAt: entry.expiresAt,
            staleTTL: entry.staleTTL,
            at: tiers.clock.now()
        ) { entry.tags }
        if case .dead = freshness { return false }
        return !namespace.isVoid(entry.key, version: entry.version)
    }

    private func tier(of key: [UInt8], _ namespace: Namespace, _ lower: any LowerTier) -> Tier {
        var tier = lower.tier
        let address = tiers.address(namespace, key)
        tiers.shards.withShard(address.hash) { shard in
            if key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) }) != nil { tier = .memory }
        }
        return tier
    }

    /// Merges two lists that are in the order of their keys. Where both have a key, the newer row counts.
    private func merge(_ left: [ListedEntry], _ right: [ListedEntry]) -> [ListedEntry] {
        var merged: [ListedEntry] = []
        var others = right[...]
        for entry in left {
            while let other = others.first, other.key.lexicographicallyPrecedes(entry.key) {
                merged.append(other)
                others.removeFirst()
            }
            if let other = others.first, other.key == entry.key {
                merged.append(other.version > entry.version ? other : entry)
                others.removeFirst()
            } else {
                merged.append(entry)
            }
        }
        return merged + others
    }

    /// The first `limit` rows of memory in a range of keys.
    private func memoryRows(
        _ namespace: Namespace,
        _ prefix: [UInt8],
        _ after: [UInt8]?,
        through last: [UInt8]?,
        limit: Int
    ) -> [ListedEntry] {
        var rows = FirstRows(limit: limit)
        let now = tiers.clock.now()
        walk(namespace) { view in
            guard KeyOrder.begins(view.key, with: prefix), after.map({ KeyOrder.precedes($0, view.key) }) ?? true,
                last.map({ !KeyOrder.precedes($0, view.key) }) ?? true, rows.takes(view.key)
            else { return .keep }
            if case .dead = namespace.marks.freshness(of: view, at: now) { return .keep }
            rows.add(ListedEntry(view))
            return .keep
        }
        return rows.sorted()
    }

    /// Shows a namespace's entries in memory to `body`, at most a thousand under one hold of a shard's lock. An entry that is there the
    /// whole time is shown at least once. Complexity: O(the namespace's entries in memory).
    private func walk(_ namespace: Namespace, _ body: (EntryView) -> WalkVerdict) {
        for number in 0..<tiers.shards.count {
            var position = WalkPosition()
            var goesOn = true
            while goesOn {
                tiers.shards.withShard(number: number) { shard in
                    // A slot may belong to another namespace once this one is dropped.
                    goesOn = !namespace.isDropped && shard.walk(namespace.slot, &position, limit: 1000, body)
                }
            }
        }
    }
}

/// The first `limit` rows, in the order of their keys, of many that come in any order.
private struct FirstRows {
    let limit: Int
    private var rows: [ListedEntry] = []
    /// Once there are enough rows: the largest of their keys. Only a smaller key can still be among the first.
    private var bound: [UInt8]?

    init(limit: Int) { self.limit = limit }

    func takes(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let bound else { return true }
        return KeyOrder.precedes(key, bound)
    }

    /// Adds a row. Complexity: O(log limit), amortised: twice as many rows as are wanted are kept before they are sorted.
    mutating func add(_ row: ListedEntry) {
        rows.append(row)
        guard rows.count >= 2 * limit else { return }
        rows = sorted()
        bound = rows.last?.key
    }

    func sorted() -> [ListedEntry] {
        var previous: [UInt8]?
        let ordered = rows.sorted { $0.key.lexicographicallyPrecedes($1.key) }.filter { row in
            // An entry that was moved during the walk may come twice.
            defer { previous = row.key }
            return row.key != previous
        }
        return Array(ordered.prefix(limit))
    }
}

extension ListedEntry {
    fileprivate init(_ view: EntryView) {
        self.init(
            key: Array(view.key),
            version: view.version,
            expiresAt: view.expiresAt,
            staleTTL: view.staleTTL,
            tags: view.tags(),
            size: Int64(view.value.count),
            isAbsent: view.isAbsent
        )
    }
}
