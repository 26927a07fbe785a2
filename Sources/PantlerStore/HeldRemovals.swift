import PantlerModel
import Synchronization

/// Removals of prefixes in which the lower tier has failed so far. Only memory hides their entries; the removals are tried again.
final class HeldRemovals: Sendable {
    private struct Removal: Hashable {
        let namespace: NamespaceID
        let prefix: [UInt8]
    }

    private let faults = Mutex<[Removal: TierFault]>([:])

    /// Why one of the removals has failed; `nil` if there is none. Complexity: O(1).
    var fault: TierFault? { faults.withLock { $0.first?.value } }

    func hold(_ namespace: NamespaceID, _ prefix: [UInt8], _ fault: TierFault) {
        faults.withLock { $0[Removal(namespace: namespace, prefix: prefix)] = fault }
    }

    /// Forgets a removal that was made, or that nobody wants any more.
    func end(_ namespace: NamespaceID, _ prefix: [UInt8]) {
        faults.withLock { _ = $0.removeValue(forKey: Removal(namespace: namespace, prefix: prefix)) }
    }
}
