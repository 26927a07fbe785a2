package import PantlerModel
import Synchronization

/// Gives every write its version. Versions grow strictly within a node, also over a restart and a `kill -9`.
///
/// Versions are given out of blocks that the lower tier has reserved and synced beforehand; a run begins where the last reserved block
/// ends. What a crash leaves of a block is never used, which costs nothing: 2^53 versions are half a billion blocks.
package final class VersionAllocator: Sendable {
    /// Versions in a block.
    package static let block: Version = 1 << 24

    private let block: Version
    private let next: Atomic<Version>
    /// Versions below this one may be given.
    private let ceiling: Atomic<Version>
    private let isReserving = Atomic(false)
    private let lower: (any LowerTier)?

    /// - Parameter start: no version below this one is given. Where there is a lower tier, none is given before `reserveFirst` has
    ///   succeeded or `beginUnreserved` was called.
    package init(start: Version, lower: (any LowerTier)?, block: Version = VersionAllocator.block) {
        self.block = block
        next = Atomic(start)
        ceiling = Atomic(lower == nil ? .max : start)
        self.lower = lower
    }

    /// Reserves the block of this run's first versions.
    package func reserveFirst(completion: @escaping @Sendable (TierFault?) -> Void) {
        extend(from: ceiling.load(ordering: .relaxed), completion)
    }

    /// How far above all versions that were ever given a run begins that could not reserve its own.
    private static let leap: ClosedRange<Version> = 1 << 32...1 << 40

    /// Begins without a reservation, because the lower tier has no room to write one down. The first version is so far above all that were
    /// ever given that a later run, which may know nothing of this one, does not give the same. The reservation waits in the lower tier's
    /// queue, before all that this run puts there.
    package func beginUnreserved() {
        let first = ceiling.load(ordering: .relaxed) + .random(in: Self.leap)
        next.store(first, ordering: .relaxed)
        ceiling.store(first + block, ordering: .relaxed)
        lower?.reserveVersions(below: first + block) { _ in }
    }

    /// Reserves the block that begins at the present ceiling. Called by one thread at a time.
    private func extend(from old: Version, _ completion: @escaping @Sendable (TierFault?) -> Void) {
        guard let lower else { return completion(nil) }
        let wanted = old + block
        lower.reserveVersions(below: wanted) { [self] fault in
            if fault == nil { ceiling.store(wanted, ordering: .relaxed) }
            completion(fault)
        }
    }

    /// The largest version given so far.
    package var latest: Version { next.load(ordering: .relaxed) - 1 }

    /// Whether `allocate` would give a version now.
    var hasNext: Bool { next.load(ordering: .relaxed) < ceiling.load(ordering: .relaxed) }

    /// A version larger than all before it, or `nil` if the reserved block is used up because the lower tier has not
    /// been able to reserve another for 8 million writes.
    ///
    /// Relaxed ordering is enough: the value alone must be unique, and whoever orders two writes of one entry holds its
    /// shard's lock.
    package func allocate() -> Version? {
        let version = next.wrappingAdd(1, ordering: .relaxed).oldValue
        let ceiling = ceiling.load(ordering: .relaxed)
        // A reservation is tried also when the block is used up: the lower tier may be able to make one again by now.
        if version >= ceiling || ceiling - version < block / 2 { reserve(from: ceiling) }
        return version < ceiling ? version : nil
    }

    private func reserve(from old: Version) {
        guard isReserving.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        extend(from: old) { [self] _ in isReserving.store(false, ordering: .relaxed) }
    }
}
