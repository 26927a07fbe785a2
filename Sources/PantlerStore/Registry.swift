import PantlerInsight
import PantlerModel

/// The namespaces that there are, and what is known beside them. `Catalogue` guards it by a lock, the registry's.
struct Registry {
    var byName: [String: Namespace] = [:]
    var byID: [NamespaceID: Namespace] = [:]
    var nextID: NamespaceID
    var maxNamespaces: Int
    var autoCreate: Bool
    var defaultPolicy: Policy
    /// What was counted in namespaces that are gone: it stays in the sums.
    var retired = Retired()
    /// Namespaces that were dropped, and whose counts are not in `retired` yet.
    var leaving: [Namespace] = []
    /// Gets of namespaces that are not there.
    var unmet = UnmetGets()

    init(_ options: StoreOptions, nextID: NamespaceID) {
        self.nextID = max(1, nextID)
        maxNamespaces = options.maxNamespaces
        autoCreate = options.autoCreate
        defaultPolicy = options.defaultPolicy
    }

    mutating func add(_ namespace: Namespace) {
        byName[namespace.name.description] = namespace
        byID[namespace.id] = namespace
    }

    mutating func remove(_ namespace: Namespace) {
        byName[namespace.name.description] = nil
        byID[namespace.id] = nil
        leaving.append(namespace)
    }
}

/// Sums over namespaces that were dropped.
struct Retired: Sendable {
    var tally = NamespaceTally()
    var memoryEvictions: UInt64 = 0
}
