/// An exact LRU over numbers: what the memory tier is held against. Every operation O(1).
package struct ReferenceLRU: Sendable {
    private struct Node {
        var key: Int
        var newer: Int
        var older: Int
    }

    private static let none = -1
    package let capacity: Int
    private var places: [Int: Int] = [:]
    private var nodes: [Node] = []
    private var newest = none
    private var oldest = none

    package init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
    }

    package var count: Int { places.count }

    /// Whether the key is here; uses it.
    package mutating func get(_ key: Int) -> Bool {
        guard let place = places[key] else { return false }
        unlink(place)
        linkNewest(place)
        return true
    }

    /// Makes or uses the key, and lets the one go that was used longest ago where there are too many.
    package mutating func put(_ key: Int) {
        if get(key) { return }
        let place: Int
        if places.count == capacity {
            place = oldest
            unlink(place)
            places[nodes[place].key] = nil
            nodes[place].key = key
        } else {
            place = nodes.count
            nodes.append(Node(key: key, newer: Self.none, older: Self.none))
        }
        places[key] = place
        linkNewest(place)
    }

    /// One request of a cache-aside client: a get, and a put after a miss. Returns whether it hit.
    package mutating func request(_ key: Int) -> Bool {
        let hit = get(key)
        if !hit { put(key) }
        return hit
    }

    private mutating func unlink(_ place: Int) {
        let node = nodes[place]
        if node.newer == Self.none { newest = node.older } else { nodes[node.newer].older = node.older }
        if node.older == Self.none { oldest = node.newer } else { nodes[node.older].newer = node.newer }
    }

    private mutating func linkNewest(_ place: Int) {
        nodes[place].newer = Self.none
        nodes[place].older = newest
        if newest == Self.none { oldest = place } else { nodes[newest].newer = place }
        newest = place
    }
}
