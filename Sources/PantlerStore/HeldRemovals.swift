import PantlerModel
import Synchronization

/// Prefixes that the lower tier could not be rid of so far: they are hidden by memory alone, and tried again.
final class HeldRemovals: Sendable {
    private struct Removal: Hashable {
        let namespace: NamespaceID
        let prefix: [UInt8]
    }

    private let faults = Mutex<[Removal: TierFault]>([:])

    /// Why one of them could not be made; `nil` if there is none. Complexity: O(1).
    var fault: TierFault? { faults.withLock { $0.first?.value } }

    func hold(_ namespace: NamespaceID, _ prefix: [UInt8], _ fault: TierFault) {
        faults.withLock { $0[Removal(namespace: namespace, prefix: prefix)] = fault }
    }

    /// It is made, or nobody wants it any more.
    func end(_ namespace: NamespaceID, _ prefix: [UInt8]) {
        faults.withLock { _ = $0.removeValue(forKey: Removal(namespace: namespace, prefix: prefix)) }
    }
}
