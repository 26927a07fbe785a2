/// Gets of namespaces that are not there, by name: what a cache is asked for before its first entry is put is a miss like any other, and
/// goes to the namespace once it is made. Lives under the store's registry lock.
///
/// Names are bounded: where one too many comes, the one that came first gives up its place, and its gets count under no name.
struct UnmetGets: Sendable {
    static let names = 1000

    private(set) var byName: [String: UInt64] = [:]
    /// Gets of names that have given up their place.
    private(set) var unnamed: UInt64 = 0
    /// Names in the order in which they came, with some in between that are taken.
    private var order: [String] = []

    var total: UInt64 { byName.values.reduce(unnamed, +) }

    /// Complexity: O(1) on average; O(names) for one of a thousand new names.
    mutating func count(_ name: String, _ gets: UInt64) {
        if byName[name] != nil {
            byName[name]? += gets
            return
        }
        if byName.count == Self.names { giveUpFirst() }
        byName[name] = gets
        order.append(name)
    }

    /// The gets of a name that has a namespace from now on.
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
