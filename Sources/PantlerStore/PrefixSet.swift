import PantlerModel

/// A set of prefixes that are all looked for in a key at once.
struct PrefixSet: Sendable {
    private struct Node {
        let prefix: [UInt8]
        /// The node of the longest other prefix that this one begins with; -1 if there is none.
        var cover: Int
        /// The orders for this prefix, by rising numbers. Each concerns entries below a version.
        var orders: [(number: Int, before: Version)]
    }

    /// The prefixes, each once, in byte order.
    private var nodes: [Node] = []

    /// - Parameter orders: with numbers that rise in the order in which they came.
    init(_ orders: [(number: Int, prefix: [UInt8], before: Version)]) {
        let sorted = orders.sorted { left, right in
            left.prefix == right.prefix
                ? left.number < right.number : left.prefix.lexicographicallyPrecedes(right.prefix)
        }
        for (number, prefix, before) in sorted {
            if let last = nodes.last, last.prefix == prefix {
                nodes[nodes.count - 1].orders.append((number, before))
                continue
            }
            // A prefix that this one begins with stands before it, and covers all that stands between them.
            var cover = nodes.count - 1
            while cover >= 0, !prefix.starts(with: nodes[cover].prefix) { cover = nodes[cover].cover }
            nodes.append(Node(prefix: prefix, cover: cover, orders: [(number, before)]))
        }
    }

    var isEmpty: Bool { nodes.isEmpty }

    /// The first order that concerns an entry: the one that would have come to it first if each order had had a walk of its own.
    ///
    /// - Complexity: O(length x log(prefixes) + prefixes that cover each other).
    func first(_ key: UnsafeRawBufferPointer, _ version: Version) -> Int? {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = (low + high) / 2
            if KeyOrder.precedes(key, nodes[middle].prefix) { high = middle } else { low = middle + 1 }
        }
        // A prefix of the key does not stand behind it, and all that stands between the two begins with that prefix.
        var node = low - 1
        while node >= 0, !KeyOrder.begins(key, with: nodes[node].prefix) { node = nodes[node].cover }
        var first: Int?
        while node >= 0 {
            for (number, before) in nodes[node].orders where version < before { first = min(first ?? number, number) }
            node = nodes[node].cover
        }
        return first
    }

    /// Each prefix once, with the numbers of its orders and the largest version of them, in the order of their first numbers.
    var distinct: [(prefix: [UInt8], numbers: [Int], before: Version)] {
        nodes.map { ($0.prefix, $0.orders.map(\.number), $0.orders.map(\.before).max() ?? 0) }
            .sorted { ($0.numbers.first ?? 0) < ($1.numbers.first ?? 0) }
    }

    /// The prefixes that no other prefix covers.
    var uncovered: [[UInt8]] { nodes.filter { $0.cover < 0 }.map(\.prefix) }
}
