import PantlerInsight
import PantlerJSON
import PantlerMemory
package import PantlerModel
import Synchronization

/// An entry in memory, found. Valid during the closure that gets it.
package struct Found {
    package let entry: EntryView
    package let tier: Tier
    /// When it went stale; `nil` = it is fresh.
    package fileprivate(set) var staleSince: Timestamp?
    // The entry has a hold of it for as long as the closure runs; without one of its own a `Found` is passed on as plain bytes.
    private var unretainedLarge: Unmanaged<LargeValue>?
    fileprivate let wallOffset: Int64

    fileprivate init(_ entry: EntryView, _ tier: Tier, staleSince: Timestamp? = nil, wallOffset: Int64) {
        self.entry = entry
        self.tier = tier
        self.wallOffset = wallOffset
        self.staleSince = staleSince
    }

    /// Whether there is a `large`. No reference is counted for the answer.
    package var isLarge: Bool { unretainedLarge != nil }

    /// When it expires, as the caller is told it.
    package var expiresAt: WallTime { entry.expiresAt.wallTime(aheadBy: wallOffset) }

    /// The bytes of a large value, for longer than the closure.
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

    /// What they take of the process's memory, once for all who hold them.
    package var heldBytes: Int { value.heldBytes }

    /// One and the same for all who hold them.
    package var id: ObjectIdentifier { ObjectIdentifier(value) }
}

/// What memory says of a key.
package enum Lookup: Sendable {
    case hit
    case missing(MissReason)
    /// Only the lower tier can tell: ask `load`.
    case below
    /// It is there and was not wanted, which only who looks for many keys can say; nothing is counted.
    case omitted
}

/// An entry that was read from the lower tier.
package struct LoadedHit: Sendable {
    /// Without its value where that is `large`: it is there once, however many have asked for it.
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

    fileprivate init(_ found: Found) {
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

    /// Shows it as `Store.lookup` shows one in memory.
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
    case missing(MissReason)
    /// Its value, of so many bytes, was more than may come now; nothing is counted.
    case larger(Int64)
}

/// What memory says of a key of a batch.
package enum BatchLookup: Sendable {
    case missing(MissReason)
    /// Only the lower tier can tell: ask `load`.
    case below
    /// It is there and was not wanted; nothing is counted.
    case omitted
}

extension LoadResult {
    /// Whether it is counted: an entry that its caller does not want is not.
    fileprivate func isWanted(_ wants: (@Sendable (LoadedHit) -> Bool)?) -> Bool {
        guard let wants, case .hit(let hit) = self else { return true }
        return wants(hit)
    }
}

/// The way of every get: memory, then the lower tier.
final class Lookups: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue
    private let reads: LowerReads

    init(_ tiers: Tiers, _ catalogue: Catalogue, _ reads: LowerReads) {
        self.tiers = tiers
        self.catalogue = catalogue
        self.reads = reads
    }

    /// Looks for a key in memory, and shows the entry to `body` if it is there and may be seen.
    ///
    /// The way of a hit: one lock, no allocation. `body` runs under the shard's lock: it copies what it wants and calls nothing.
    ///
    /// - Parameter counts: `false` for a peek: nothing is counted, and the entry keeps its place in the order of eviction.
    /// - Complexity: O(1).
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
            result = look(&shard, namespace, hash, key, moment, counts: counts, body)
        }
        return result
    }

    /// The same for one who may find that they do not want what is there: then it is shown to nobody, and neither counted nor
    /// used.
    ///
    /// - Parameter wants: asked about an entry that may be seen, as `body` is shown one.
    /// - Returns: `nil` where `wants` said no.
    func lookup(
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        wants: (EntryView) -> Bool,
        _ body: (Found) -> Void
    ) -> Lookup? {
        var result: Lookup?
        tiers.shards.withShard(hash) { shard in
            if !namespace.isDropped, let ref = shard.memory.find(hash, namespace.slot, key) {
                let view = shard.memory.view(ref)
                switch namespace.marks.freshness(of: view, at: moment.now) {
                case .fresh, .stale: if !wants(view) { return }
                case .dead: break
                }
            }
            result = look(&shard, namespace, hash, key, moment, counts: counts, body)
        }
        return result
    }

    /// Looks for many keys in memory, in their order: shows each entry that is there to `hit` as `lookup` does, and tells
    /// `other` what is said of a key that is not, with its place in the order. All are counted but those that are omitted.
    ///
    /// - Parameters:
    ///   - keys: where in `text` each key stands.
    ///   - fits: whether an entry that may be seen is wanted. Asked under the shard's lock, before `hit`.
    /// - Complexity: O(keys). Each is looked for under a lock of its own.
    func lookup(
        _ namespace: Namespace,
        _ text: UnsafeRawBufferPointer,
        _ keys: [Range<Int>],
        _ moment: Moment,
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
                                hint: hint,
                                fits: fits,
                                hit
                            )
                        }
                        switch result {
                        case .hit: continue
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

    // In place, so that a lookup of one key has nothing left of `fits`.
    @inline(__always)
    private func look(
        _ shard: inout Shard,
        _ namespace: Namespace,
        _ hash: UInt64,
        _ key: UnsafeRawBufferPointer,
        _ moment: Moment,
        counts: Bool,
        hint: EntryHint = .none,
        fits: (Found) -> Bool = { _ in true },
        _ body: (Found) -> Void
    ) -> Lookup {
        // A slot may belong to another namespace once this one is dropped.
        if namespace.isDropped {
            if counts { catalogue.countLost(1) }
            return .missing(.absent)
        }
        guard let ref = shard.memory.find(hash, namespace.slot, key, hint: hint) else {
            if namespace.usesLower { return .below }
            let reason = shard.missMemory.reason(for: hash) ?? .absent
            if counts { shard.tally[namespace.slot].countMiss(reason) }
            return .missing(reason)
        }
        var found = Found(shard.memory.view(ref), .memory, wallOffset: moment.wallOffset)
        if found.entry.isLarge { found.setLarge(shard.memory.largeValue(ref)) }
        switch namespace.marks.freshness(of: found.entry, at: moment.now) {
        case .fresh:
            if !fits(found) { return .omitted }
            if counts { shard.tally[namespace.slot].hitsMemory &+= 1 }
        case .stale(let since):
            found.staleSince = since
            if !fits(found) { return .omitted }
            if counts { shard.tally[namespace.slot].hitsStale &+= 1 }
        case .dead(let reason):
            if counts {
                shard.tally[namespace.slot].countMiss(reason)
                shard.bury(ref, hash, namespace.slot, reason)
            }
            return .missing(reason)
        }
        if counts { shard.memory.promote(ref, now: moment.access) }
        body(found)
        return .hit
    }

    /// Answers a get that memory could not, by the lower tier, and takes what is found into memory.
    ///
    /// A fault of the tier is a miss, and counted as a fault too. Many that ask for one key at a time cause one read.
    ///
    /// - Parameters:
    ///   - admits: whether a value of so many bytes may be read. Asked on the tier's threads, before it is. `nil` = any.
    ///   - wants: asked about an entry that is found; where it says no, nothing is counted. `nil` = whatever it is.
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
            let result: LoadResult
            switch loaded {
            case .outdated:
                return { [self] in lookAgain(namespace, address, counts: counts, admits, wants, completion) }
            case .larger(let size): return { completion(.larger(size)) }
            case .found(let entry, let large):
                let moment = tiers.moment()
                switch namespace.marks.freshness(of: entry, at: moment.now) {
                case .fresh: result = .hit(hit(entry, large, nil, moment))
                case .stale(let since): result = .hit(hit(entry, large, since, moment))
                case .dead(let reason):
                    if counts { shard.missMemory.record(address.hash, reason) }
                    result = .missing(reason)
                }
            case .missing:
                result = .missing(shard.missMemory.reason(for: address.hash) ?? .absent)
            case .fault:
                if counts { shard.tally[namespace.slot].tierFaults &+= 1 }
                result = .missing(shard.missMemory.reason(for: address.hash) ?? .absent)
            }
            if counts, result.isWanted(wants) { shard.tally[namespace.slot].count(result) }
            return { completion(result) }
        }
    }

    /// The entry was written while it was being read: memory knows better by now, or the lower tier's queue.
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
                        // What is not wanted is told all the same, for its caller to say why.
                        hit = LoadedHit(found)
                        return hit.map { wants?($0) ?? true } ?? true
                    },
                    { _ in }
                )
            }
        }
        switch (result, hit) {
        case (.missing(let reason), _): completion(.missing(reason))
        case (_, let hit?): completion(.hit(hit))
        case (.omitted, nil): completion(.larger(tooLarge ?? 0))
        case (.hit, nil), (.below, nil):
            load(namespace, address, counts: counts, admits: admits, wants: wants, completion: completion)
        }
    }

    private func hit(_ entry: Entry, _ large: LargeValue?, _ staleSince: Timestamp?, _ moment: Moment) -> LoadedHit {
        LoadedHit(entry, large, tiers.lower?.tier ?? .disk, staleSince: staleSince, wallOffset: moment.wallOffset)
    }
}
