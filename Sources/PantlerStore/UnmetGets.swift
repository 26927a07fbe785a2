/// Gets of namespaces that are not there, by name. Such a get is a miss like any other, and is counted for the namespace once that is made.
/// The registry's lock guards them.
///
/// The number of names is bounded: when one comes too many, the name that came first gives up its place, and its gets count under no name.
struct UnmetGets: Sendable {
    static let names = 1000

    private(set) var byName: [String: UInt64] = [:]
    /// Gets of names that have given up their place.
    private(set) var unnamed: UInt64 = 0
    /// The names, in the order in which they came.
    private var order: [String] = []

    var total: UInt64 { byName.values.reduce(unnamed, +) }

    /// Counts gets under a name. Complexity: O(1) on average; O(names) for a new name where all places are taken.
    mutating func count(_ name: String, _ gets: UInt64) {
        if byName[name] != nil {
            byName[name]? += gets
            return
        }
        if byName.count == Self.names { giveUpFirst() }
        byName[name] = gets
        order.append(name)
    }

    /// Removes and returns the gets of a name that has a namespace from now on. Complexity: O(names).
    mutating func take(_ name: String) -> UInt64 {
        guard let gets = byName.removeValue(forKey: name) else { return 0 }
        order.removeAll { $0 == name }
        return gets
    }

    private mutating func giveUpFirst() {
        guard let first = order.first else { return }
        order.removeFirst()
        unnamed += byName.removeValue(forKey: first) ?? 0
    }
}
