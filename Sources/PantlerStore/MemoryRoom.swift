import PantlerInsight
import PantlerMemory
import PantlerModel

/// Keeps memory within its bounds: the tier's, and each namespace's quota.
final class MemoryRoom: Sendable {
    private let tiers: Tiers
    private let catalogue: Catalogue

    init(_ tiers: Tiers, _ catalogue: Catalogue) {
        self.tiers = tiers
        self.catalogue = catalogue
    }

    /// Evicts entries until the bounds hold again. The lower tier is told when those that leave were last used: it would otherwise take an
    /// entry that memory kept hitting for one that nobody used.
    func make(in slot: NamespaceSlot) {
        let now = tiers.clock.now()
        tiers.shards.makeRoom(
            slot,
            evicted: { [self] entry in
                guard let lower = tiers.lower, catalogue.namespace(at: entry.slot)?.usesLower == true else { return }
                lower.noteLastUse(entry.hash, at: entry.lastUse)
            },
            reason: { [self] view, slot in reasonToLeave(view, slot, now) }
        )
    }

    /// Why an entry leaves when it is its turn to make room: it may be dead already. Called under the entry's shard's lock.
    private func reasonToLeave(_ view: EntryView, _ slot: NamespaceSlot, _ now: Timestamp) -> MissReason {
        guard let namespace = catalogue.namespace(at: slot),
            case .dead(let reason) = namespace.marks.freshness(of: view, at: now)
        else { return .evicted }
        return reason
    }
}
