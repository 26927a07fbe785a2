import PantlerModel

/// Up to which version the rows of a namespace must not be seen any more, because a change that came after them was given up.
///
/// A mark for a namespace, not for a key: what is given up was too much to be remembered key by key. It takes older rows with it that were
/// still right; they are misses.
struct VoidMarks {
    private var marks: [NamespaceID: Version]
    /// Namespaces whose marks have grown and are still to be written.
    private var grown: Set<NamespaceID> = []

    init(_ marks: [NamespaceID: Version]) {
        self.marks = marks
    }

    /// 0 if all rows may be seen.
    func through(_ namespace: NamespaceID) -> Version { marks[namespace] ?? 0 }

    /// Notes that a change is given up altogether.
    mutating func note(_ change: Change) {
        guard case .entry(let keyed) = change else { return }
        let namespace = keyed.address.namespace
        guard keyed.version > through(namespace) else { return }
        marks[namespace] = keyed.version
        grown.insert(namespace)
    }

    /// Ends the mark of a namespace, if it is not larger: no row up to this version is left.
    mutating func end(_ namespace: NamespaceID, through version: Version) {
        if through(namespace) <= version { marks[namespace] = nil }
    }

    /// Takes what is to be written.
    mutating func takeGrown() -> [Control] {
        defer { grown = [] }
        return grown.map { .void($0, through: through($0)) }
    }
}
