import PantlerInsight
import PantlerMemory
import PantlerModel

/// Answers what the lower tier asks, and takes what it reports. It is called on the lower tier's threads.
final class TierListener: LowerTierDelegate {
    private let tiers: Tiers
    private let catalogue: Catalogue

    init(_ tiers: Tiers, _ catalogue: Catalogue) {
        self.tiers = tiers
        self.catalogue = catalogue
    }

    func invalidAt(
        namespace id: NamespaceID,
        version: Version,
        staleTTL: Int64,
        tags: [EntryTag]
    ) -> Timestamp? {
        // The tier itself remembers which namespaces were dropped. Of any other unknown namespace nothing says that its entries have ended.
        guard let namespace = catalogue.namespace(id) else { return nil }
        if version < namespace.lowerFrom { return Timestamp(milliseconds: .min) }
        return namespace.marks.markedEnd(version: version, staleTTL: staleTTL, at: tiers.clock.now()) { tags }
    }

    func isMissing(_ address: EntryAddress, touched version: Version) {
        guard let namespace = catalogue.namespace(address.namespace) else { return }
        tiers.shards.withShard(address.hash) { shard in
            let policy = namespace.policy
            guard !namespace.isDropped, policy.durability != .memory,
                let ref = address.key.withUnsafeBytes({ shard.memory.find(address.hash, namespace.slot, $0) })
            else { return }
            let view = shard.memory.view(ref)
            if view.version == version { _ = tiers.lower?.enqueue(.put(address, Entry(view), PutOptions(policy))) }
        }
    }

    func departed(_ address: EntryAddress, cause: DepartureCause) {
        guard let namespace = catalogue.namespace(address.namespace) else { return }
        if cause == .evicted { namespace.countLowerEviction() }
        tiers.shards.withShard(address.hash) { shard in
            // If the entry is still in memory, there is no miss to explain.
            if namespace.isDropped { return }
            let isThere = address.key.withUnsafeBytes { shard.memory.find(address.hash, namespace.slot, $0) != nil }
            if isThere { return }
            // A caller has deleted or invalidated the key after the row was written. That reason stays.
            if let reason = shard.missMemory.reason(for: address.hash), reason == .deleted || reason == .invalidated {
                return
            }
            switch cause {
            case .expired: shard.missMemory.record(address.hash, .expired)
            case .evicted: shard.missMemory.record(address.hash, .evicted)
            case .invalidated: shard.missMemory.record(address.hash, .invalidated)
            }
        }
    }

    func lastUse(of address: EntryAddress) -> UInt64? {
        guard let namespace = catalogue.namespace(address.namespace) else { return nil }
        var lastUse: UInt64?
        tiers.shards.withShard(address.hash) { shard in
            if namespace.isDropped { return }
            let found = address.key.withUnsafeBytes { shard.memory.find(address.hash, namespace.slot, $0) }
            lastUse = found.map { shard.memory.lastUse($0) }
        }
        return lastUse
    }

    func maxDisk(of id: NamespaceID) -> Int64? { catalogue.namespace(id)?.policy.maxDisk }
}
