import PantlerModel
import Synchronization

/// What the tier's threads count, for metrics and statistics.
///
/// The counters are relaxed: each is right by itself, and nobody concludes from one about another.
final class DiskCounters: Sendable {
    let compressionIn = Atomic<UInt64>(0)
    let compressionOut = Atomic<UInt64>(0)
    let evictions = Atomic<UInt64>(0)
    let expirations = Atomic<UInt64>(0)
    let corruptions = Atomic<UInt64>(0)
    let lostWrites = Atomic<UInt64>(0)
    let readFaults = Atomic<UInt64>(0)
    let commits = Atomic<UInt64>(0)
    let committedChanges = Atomic<UInt64>(0)

    /// What the rows of each namespace cost, as of the last commit.
    private let usage = Mutex<[NamespaceID: TierUsage]>([:])
    /// Why the last read failed; `nil` again with the next that succeeds. A damaged row is no such failure: it is removed once it is seen.
    private let readFault = Mutex<TierFault?>(nil)
    private let hasReadFault = Atomic(false)

    func setUsage(_ all: [NamespaceID: TierUsage]) { usage.withLock { $0 = all } }

    func setUsage(of namespace: NamespaceID, _ value: TierUsage) { usage.withLock { $0[namespace] = value } }

    func usage(of namespace: NamespaceID) -> TierUsage { usage.withLock { $0[namespace] ?? TierUsage() } }

    func noteRead(_ fault: TierFault) {
        readFaults.add(1, ordering: .relaxed)
        if fault.cause == .corrupt {
            corruptions.add(1, ordering: .relaxed)
            return
        }
        readFault.withLock { $0 = fault }
        hasReadFault.store(true, ordering: .relaxed)
    }

    func noteReadSucceeded() {
        guard hasReadFault.load(ordering: .relaxed) else { return }
        hasReadFault.store(false, ordering: .relaxed)
        readFault.withLock { $0 = nil }
    }

    /// Fills in all that is counted here. The rest is known to the queue and to the file system.
    func fill(_ health: inout TierHealth) {
        health.fault = health.fault ?? readFault.withLock { $0 }
        health.compressionInBytes = compressionIn.load(ordering: .relaxed)
        health.compressionOutBytes = compressionOut.load(ordering: .relaxed)
        health.evictions = evictions.load(ordering: .relaxed)
        health.expirations = expirations.load(ordering: .relaxed)
        health.corruptions = corruptions.load(ordering: .relaxed)
        health.lostWrites = lostWrites.load(ordering: .relaxed)
        health.readFaults = readFaults.load(ordering: .relaxed)
        health.commits = commits.load(ordering: .relaxed)
        health.committedChanges = committedChanges.load(ordering: .relaxed)
    }
}
