import PantlerInsight
package import PantlerMemory
package import PantlerModel
import Synchronization

/// A namespace while the service runs. What each request needs is read without a lock; the rest is behind one.
package final class Namespace: Sendable {
    package let id: NamespaceID
    package let name: NamespaceName
    package let slot: NamespaceSlot
    package let createdAt: Timestamp

    struct State {
        /// The record, except for its watermark: that is in `marks`.
        var record: NamespaceRecord
        var windows = RateWindows()
    }

    /// Guards policy and windows. Its lock may be taken while a shard's is held, never the other way round.
    let state: Mutex<State>
    /// What invalidations have left. Its lock may be taken in the same places as that of `state`.
    let marks: Marks

    // Copies of what a write looks at in `state.record`. They are written under `state`'s lock and read without it.
    private let usesLowerFlag: Atomic<Bool>
    /// `state.record.lowerFrom`.
    private let lowerFromVersion: Atomic<Version>
    /// The bits of `state.record.policy.earlyRefresh`.
    private let earlyRefreshBits: Atomic<UInt64>
    private let enteringWalks = Atomic(0)
    private let droppedFlag = Atomic(false)
    private let lowerEvictionCount = Atomic<UInt64>(0)

    init(record: NamespaceRecord, slot: NamespaceSlot) {
        id = record.id
        name = record.name
        self.slot = slot
        createdAt = record.createdAt
        marks = Marks(record.watermark)
        lowerFromVersion = Atomic(record.lowerFrom)
        usesLowerFlag = Atomic(record.policy.durability != .memory)
        earlyRefreshBits = Atomic(record.policy.earlyRefresh.bitPattern)
        state = Mutex(State(record: record))
    }

    package var record: NamespaceRecord {
        var record = state.withLock { $0.record }
        record.watermark = marks.watermark
        return record
    }

    package var policy: Policy { state.withLock { $0.record.policy } }

    /// Whether entries live in the lower tier too.
    package var usesLower: Bool { usesLowerFlag.load(ordering: .relaxed) }

    /// See `Policy.earlyRefresh`.
    package var earlyRefresh: Double { Double(bitPattern: earlyRefreshBits.load(ordering: .relaxed)) }

    /// Whether the namespace was dropped. Nothing is put into it any more then.
    package var isDropped: Bool { droppedFlag.load(ordering: .acquiring) }

    func drop() { droppedFlag.store(true, ordering: .releasing) }

    /// An entry that the lower tier has with a smaller version is void.
    var lowerFrom: Version { lowerFromVersion.load(ordering: .acquiring) }

    /// Whether the namespace's entries in memory are on their way into the lower tier, which is to have all of them: see `PolicyChanges`.
    var isEntering: Bool { enteringWalks.load(ordering: .acquiring) > 0 }

    func beginEntering() { enteringWalks.wrappingAdd(1, ordering: .releasing) }

    func endEntering() { enteringWalks.wrappingSubtract(1, ordering: .releasing) }

    /// Entries that left the lower tier to make room for others.
    var lowerEvictions: UInt64 { lowerEvictionCount.load(ordering: .relaxed) }

    func countLowerEviction() { lowerEvictionCount.wrappingAdd(1, ordering: .relaxed) }

    // MARK: Changes

    /// Changes the record except for its watermark, updates the copies that are read without a lock, and returns the whole record.
    func update(_ change: (inout NamespaceRecord) -> Void) -> NamespaceRecord {
        state.withLock {
            change(&$0.record)
            lowerFromVersion.store($0.record.lowerFrom, ordering: .releasing)
            earlyRefreshBits.store($0.record.policy.earlyRefresh.bitPattern, ordering: .relaxed)
            usesLowerFlag.store($0.record.policy.durability != .memory, ordering: .releasing)
        }
        return record
    }

    /// Marks all entries as ended or stale.
    ///
    /// - Parameter makeMark: makes the mark; see `Marks.mark`.
    /// - Returns: the record with its new generation; `nil` where there was no mark.
    func flush(with makeMark: () -> Watermark?) -> NamespaceRecord? {
        guard marks.mark(with: makeMark) else { return nil }
        return update { $0.generation += 1 }
    }

    /// Whether an entry of the lower tier is void: the namespace has left the tier since it was written, or a removal of a prefix that is
    /// under way concerns it.
    func isVoid(_ key: [UInt8], version: Version) -> Bool {
        version < lowerFrom || marks.isBeingRemoved(key, version: version)
    }
}
