import PantlerInsight
import PantlerJSON
import PantlerMemory
package import PantlerModel
import Synchronization

/// An entry that was found, to be read where it lies. It is valid during the closure that gets it.
package struct Found {
    package let entry: EntryView
    package let tier: Tier
    /// When the entry went stale; `nil` = it is fresh.
    package fileprivate(set) var staleSince: Timestamp?
    // The entry holds the value for as long as the closure runs. Since no reference of its own is counted, a `Found` is passed on as plain
    // bytes.
    private var unretainedLarge: Unmanaged<LargeValue>?
    fileprivate let wallOffset: Int64

    fileprivate init(_ entry: EntryView, _ tier: Tier, staleSince: Timestamp? = nil, wallOffset: Int64) {
        self.entry = entry
        self.tier = tier
        self.wallOffset = wallOffset
        self.staleSince = staleSince
    }

    /// Whether the value is a large one. No reference is counted for the answer.
    package var isLarge: Bool { unretainedLarge != nil }

    /// When the entry expires, as callers are told it.
    package var expiresAt: WallTime { entry.expiresAt.wallTime(aheadBy: wallOffset) }

    /// The bytes of a large value, to be held for longer than the closure; `nil` for a smaller value.
    package var large: HeldValue? { unretainedLarge.map { HeldValue($0.takeUnretainedValue()) } }

    fileprivate mutating func setLarge(_ large: LargeValue?) {
        unretainedLarge = large.map { Unmanaged.passUnretained($0) }
    }
}

/// The bytes of a large value, which are there as long as anyone holds them, whatever becomes of the entry.
package struct HeldValue: Sendable {
    fileprivate let value: LargeValue

    fileprivate init(_ value: LargeValue) { self.value = value }

    package var bytes: UnsafeRawBufferPointer { value.bytes }

    /// Bytes of the process's memory that the value takes, once for all who hold it.
    package var heldBytes: Int { value.heldBytes }

    /// The identity of the value: the same for all who hold it.
    package var id: ObjectIdentifier { ObjectIdentifier(value) }
}

/// What memory says of a key.
package enum Lookup: Sendable {
    case hit
    /// There is a negative entry, which is shown like any other, but not by a lookup of many keys.
    case absent
    case missing(MissReason)
    /// Only the lower tier can tell: ask `load`.
    case below
    /// The entry is there and was not wanted; nothing is counted. Only lookups of many keys answer this.
    case omitted
}

/// An entry that `load` has found: in the lower tier, or in memory where it was written meanwhile.
package struct LoadedHit: Sendable {
    /// The entry, without its value where that is in `large`: all who have asked for the entry share that.
    private let entry: Entry
    private let large: LargeValue?
    package let tier: Tier
    package let staleSince: Timestamp?
    fileprivate let wallOffset: Int64

    fileprivate init(
        _ entry: Entry,
        _ large: LargeValue?,
        _ tier: Tier,
        staleSince: Timestamp?,
        wallOffset: Int64
    ) {
        var entry = entry
        if large != nil { entry.value = [] }
        self.entry = entry
        self.large = large
        self.tier = tier
        self.staleSince = staleSince
        self.wallOffset = wallOffset
    }

    init(_ found: Found) {
        let large = found.large
        self.init(
            Entry(found.entry, hasValue: large == nil),
            large?.value,
            found.tier,
            staleSince: found.staleSince,
            wallOffset: found.wallOffset
        )
    }

    package var kind: ValueKind { entry.kind }

    /// Shows the entry to `body` as `Store.lookup` shows one in memory.
    package func withFound(_ address: EntryAddress, _ body: (Found) -> Void) {
        entry.withView(address, large) { view in
            var found = Found(view, tier, staleSince: staleSince, wallOffset: wallOffset)
            found.setLarge(large)
            body(found)
        }
    }
}

package enum LoadResult: Sendable {
    case hit(LoadedHit)
    /// A negative entry.
    case absent(LoadedHit)
    case missing(MissReason)
    /// The value, of so many bytes, is larger than was admitted; nothing is counted.
    case larger(Int64)
}

/// What memory says of a key of a batch.
package enum BatchLookup: Sendable {
    /// There is a negative entry.
    case absent
    case missing(MissReason)
    /// Only the lower tier can tell: ask `load`.
    case below
    /// The entry is there and was not wanted; nothing is counted.
    case omitted
}

extension LoadResult {
    /// Whether the result is counted: an entry that its caller does not want is not.
    fileprivate func isWanted(_ wants: (@Sendable (LoadedHit) -> Bool)?) -> Bool {
        guard let wants, case .hit(let hit) = self else { return true }
        return wants(hit)
    }
}

/// Answers every get: from memory, and then from the lower tier.
final class Lookups: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let reads: LowerReads

    init(_ tiers: Tiers, _ catalogue: Catalogue, _ reads: LowerReads) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.reads = reads
    }

    /// See `Store.lookup`.
    func lookup(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        _ body: (Found) -> Void
    ) -> Lookup {
        var result = Lookup.below
        tiers.shards.withShard(hash) { shard in
            result = look(&shard, namespace, hash, key, moment, counts: counts, absent: body, body)
        }
        return result
    }

    /// See `Store.lookup`.
    func lookup(
        _ namespace: Namespace,
        _ text: UnsafeRawBufferPointer,
        _ keys: [Range<Int>],
        _ moment: Moment,
        countsMisses: Bool,
        fits: (Found) -> Bool,
        hit: (Found) -> Void,
        other: (Int, BatchLookup) -> Void
    ) {
        let capacity = min(keys.count, MemoryTier.readAheadLimit)
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: capacity) { hashes in
            withUnsafeTemporaryAllocation(of: EntryHint.self, capacity: capacity) { hints in
                var start = 0
                while start < keys.count {
                    let count = min(capacity, keys.count - start)
                    for place in 0..<count {
                        hashes.initializeElement(at: place, to: tiers.hash(namespace, text.slice(keys[start + place])))
                    }
                    tiers.shards.readAhead(
                        UnsafeBufferPointer(rebasing: hashes[..<count]),
                        UnsafeMutableBufferPointer(rebasing: hints[..<count])
                    )
                    for place in 0..<count {
                        let key = text.slice(keys[start + place])
                        var result = Lookup.below
                        tiers.shards.withShard(hashes[place]) { shard in
                            let hint = hints[place]
                            result = look(
                                &shard,
                                namespace,
                                hashes[place],
                                key,
                                moment,
                                counts: true,
                                countsMisses: countsMisses,
                                hint: hint,
                                fits: fits,
                                hit
                            )
                        }
                        switch result {
                        case .hit: continue
                        case .absent: other(start + place, .absent)
                        case .missing(let reason): other(start + place, .missing(reason))
                        case .below: other(start + place, .below)
                        case .omitted: other(start + place, .omitted)
                        }
                    }
                    start += count
                }
            }
        }
    }

    /// - Parameters:
    ///   - countsHits: whether a hit is counted by this; only where `counts`, by which it is a use of the entry in any case.
    ///   - countsMisses: whether a miss is counted by this; only where `counts`.
    // This is inlined, so that nothing of `fits` is left in a lookup of one key.
    @inline(__always)
    func look(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        countsHits: Bool = true,
        countsMisses: Bool = true,
        hint: EntryHint = .none,
        fits: (Found) -> Bool = { _ in true },
        absent: (Found) -> Void = { _ in },
        _ body: (Found) -> Void
    ) -> Lookup {
        // A slot may belong to another namespace once this one is dropped.
        if namespace.isDropped {
            if counts, countsMisses { catalogue.countLost(1) }
            return .missing(.absent)
        }
        guard let ref = shard.memory.find(hash, namespace.slot, key, hint: hint) else {
            if namespace.usesLower { return .below }
            let reason = shard.missMemory.reason(for: hash) ?? .absent
            if counts, countsMisses { shard.tally[namespace.slot].countMiss(reason) }
            return .missing(reason)
        }
        var found = Found(shard.memory.view(ref), .memory, wallOffset: moment.wallOffset)
        if found.entry.isLarge { found.setLarge(shard.memory.largeValue(ref)) }
        switch namespace.marks.freshness(of: found.entry, at: moment.now) {
        case .fresh where found.entry.isAbsent:
            if counts {
                if countsHits { shard.tally[namespace.slot].hitsAbsent &+= 1 }
                shard.memory.promote(ref, now: moment.access)
            }
            absent(found)
            return .absent
        case .fresh:
            if !fits(found) { return .omitted }
            if counts, countsHits { shard.tally[namespace.slot].hitsMemory &+= 1 }
        case .stale(let since):
            found.staleSince = since
            if !fits(found) { return .omitted }
            if counts, countsHits { shard.tally[namespace.slot].hitsStale &+= 1 }
        case .dead(let reason):
            if counts {
                if countsMisses { shard.tally[namespace.slot].countMiss(reason) }
                shard.bury(ref, hash, namespace.slot, reason)
            }
            return .missing(reason)
        }
        if counts { shard.memory.promote(ref, now: moment.access) }
        body(found)
        return .hit
    }

    /// See `Store.load`.
    func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        admits: ReadAdmission? = nil,
        wants: (@Sendable (LoadedHit) -> Bool)? = nil,
        completion: @escaping @Sendable (LoadResult) -> Void
    ) {
        reads.awaitEntry(namespace, address, fillsMemory: counts, admits: admits) { [self] shard, loaded in
            if namespace.isDropped {
                if counts { catalogue.countLost(1) }
                return { completion(.missing(.absent)) }
            }
            guard let result = result(of: loaded, &shard, namespace, address, counts: counts) else {
                return { [self] in lookAgain(namespace, address, counts: counts, admits, wants, completion) }
            }
            if counts, result.isWanted(wants) { shard.tally[namespace.slot].count(result) }
            return { completion(result) }
        }
    }

    /// Judges what the lower tier has brought. Whether that is a hit or a miss is left to the caller to count.
    ///
    /// - Returns: `nil` where the key was written meanwhile, so that memory has to be asked again.
    func result(
        of loaded: LoadedEntry,
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool
    ) -> LoadResult? {
        switch loaded {
        case .outdated: return nil
        case .larger(let size): return .larger(size)
        case .found(let entry, let large):
            let moment = tiers.moment()
            switch namespace.marks.freshness(of: entry, at: moment.now) {
            case .fresh:
                let hit = hit(entry, large, nil, moment)
                return entry.isAbsent ? .absent(hit) : .hit(hit)
            case .stale(let since): return .hit(hit(entry, large, since, moment))
            case .dead(let reason):
                if counts { shard.missMemory.record(address.hash, reason) }
                return .missing(reason)
            }
        case .missing: return .missing(shard.missMemory.reason(for: address.hash) ?? .absent)
        case .fault:
            if counts { shard.tally[namespace.slot].tierFaults &+= 1 }
            return .missing(shard.missMemory.reason(for: address.hash) ?? .absent)
        }
    }

    /// Looks again for an entry that was written while it was being read: by now memory has it, or the lower tier's queue.
    private func lookAgain(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        _ admits: ReadAdmission?,
        _ wants: (@Sendable (LoadedHit) -> Bool)?,
        _ completion: @escaping @Sendable (LoadResult) -> Void
    ) {
        var hit: LoadedHit?
        var tooLarge: Int64?
        var result = Lookup.below
        let moment = tiers.moment()
        address.key.withUnsafeBytes { key in
            tiers.shards.withShard(address.hash) { shard in
                result = look(
                    &shard,
                    namespace,
                    address.hash,
                    key,
                    moment,
                    counts: counts,
                    fits: { found in
                        let size = Int64(found.entry.value.count)
                        guard admits?(size) ?? true else {
                            tooLarge = size
                            return false
                        }
                        // An entry that is not wanted is handed over all the same, so that its caller can say why.
                        hit = LoadedHit(found)
                        return hit.map { wants?($0) ?? true } ?? true
                    },
                    absent: { hit = LoadedHit($0) },
                    { _ in }
                )
            }
        }
        switch (result, hit) {
        case (.missing(let reason), _): completion(.missing(reason))
        case (.absent, let negative?): completion(.absent(negative))
        case (_, let hit?): completion(.hit(hit))
        case (.omitted, nil): completion(.larger(tooLarge ?? 0))
        case (.hit, nil), (.absent, nil), (.below, nil):
            load(namespace, address, counts: counts, admits: admits, wants: wants, completion: completion)
        }
    }

    private func hit(_ entry: Entry, _ large: LargeValue?, _ staleSince: Timestamp?, _ moment: Moment) -> LoadedHit {
        LoadedHit(entry, large, tiers.lower?.tier ?? .disk, staleSince: staleSince, wallOffset: moment.wallOffset)
    }
}
