/// How long the last load of a key took, for as many keys as fit into a fixed number of bytes.
///
/// A key has one place, which its hash tells, and the last key to come there has it: what is remembered of a key is right or not there, but
/// for two keys with the same 32 bits of their hashes. Nothing is allocated before the first load.
package struct LoadTimes: Sendable {
    private struct Place {
        var mark: UInt32 = 0
        var milliseconds: UInt32 = 0
    }

    /// Places, a power of 2; 8 bytes each.
    private static let count = 4096

    private var places: [Place] = []

    package init() {}

    /// Complexity: O(1).
    package mutating func note(_ hash: UInt64, milliseconds: UInt32) {
        if places.isEmpty { places = Array(repeating: Place(), count: Self.count) }
        places[Self.place(hash)] = Place(mark: Self.mark(hash), milliseconds: milliseconds)
    }

    /// Milliseconds that the key's last load took; `nil` where that is not known. Complexity: O(1).
    package func milliseconds(_ hash: UInt64) -> UInt32? {
        if places.isEmpty { return nil }
        let place = places[Self.place(hash)]
        return place.mark == Self.mark(hash) ? place.milliseconds : nil
    }

    // The highest bits of a hash choose its shard, so that they say nothing here.
    private static func place(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (count - 1) }

    /// Never 0, which stands for a place that nobody has.
    private static func mark(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 12) | 1 }
}
