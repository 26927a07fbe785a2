import PantlerInsight
package import PantlerMemory
package import PantlerModel
import Synchronization

/// A namespace at work: what each request needs of it without a lock, and the rest behind one.
package final class Namespace: Sendable {
    package let id: NamespaceID
    package let name: NamespaceName
    package let slot: NamespaceSlot
    package let createdAt: Timestamp

    struct State {
        /// Without its watermark, which is among the marks.
        var record: NamespaceRecord
        var windows = RateWindows()
    }

    /// Guards policy and windows. Taken inside a shard's lock at times, never the other way round.
    let state: Mutex<State>
    /// What invalidations have left. They have a lock of their own, taken in the same places.
    let marks: Marks

    // What a write looks at, mirrored out of `state.record`. Each is written under `state`'s lock and read without.
    private let usesLowerFlag: Atomic<Bool>
    /// `state.record.lowerFrom`.
    private let lowerFromVersion: Atomic<Version>
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

    /// Whether the namespace was deleted. Nothing is put into it any more.
    package var isDropped: Bool { droppedFlag.load(ordering: .acquiring) }

    func drop() { droppedFlag.store(true, ordering: .releasing) }

    /// What the lower tier has of an entry with a smaller version is void.
    var lowerFrom: Version { lowerFromVersion.load(ordering: .acquiring) }

    /// Whether entries are on their way into the lower tier, which is to have all of them: see `PolicyChanges`.
    var isEntering: Bool { enteringWalks.load(ordering: .acquiring) > 0 }

    func beginEntering() { enteringWalks.wrappingAdd(1, ordering: .releasing) }

    func endEntering() { enteringWalks.wrappingSubtract(1, ordering: .releasing) }

    /// Entries that left the lower tier to make room for others.
    var lowerEvictions: UInt64 { lowerEvictionCount.load(ordering: .relaxed) }

    func countLowerEviction() { lowerEvictionCount.wrappingAdd(1, ordering: .relaxed) }

    // MARK: Changes

    /// Changes the record, but for its watermark, mirrors what is looked at without a lock, and returns the whole record as it is then.
    func update(_ change: (inout NamespaceRecord) -> Void) -> NamespaceRecord {
        state.withLock {
            change(&$0.record)
            lowerFromVersion.store($0.record.lowerFrom, ordering: .releasing)
            usesLowerFlag.store($0.record.policy.durability != .memory, ordering: .releasing)
        }
        return record
    }

    /// Marks all entries as ended or stale.
    ///
    /// - Parameter makeMark: see `Marks.mark`.
    /// - Returns: the record with its new generation; `nil` where there was no mark.
    func flush(with makeMark: () -> Watermark?) -> NamespaceRecord? {
        guard marks.mark(with: makeMark) else { return nil }
        return update { $0.generation += 1 }
    }

    /// Whether an entry of the lower tier is void: the namespace has left the tier since, or the removal of a prefix concerns it that is
    /// under way.
    func isVoid(_ key: [UInt8], version: Version) -> Bool {
        version < lowerFrom || marks.isBeingRemoved(key, version: version)
    }
}
