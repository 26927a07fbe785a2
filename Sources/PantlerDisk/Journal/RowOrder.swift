import Glibc
import PantlerModel

/// The order of rows in the index of keys: by namespaces, and within these by the bytes of keys. Changes in this order touch each page once.
enum RowOrder {
    /// What is sorted in the place of a change, with what is compared first. To move the changes themselves, which are objects, would count
    /// their references with each move, and that took more time than the comparing.
    private struct Head {
        let namespace: NamespaceID
        /// Bytes of the key after those that all keys have in common.
        let bytes: UInt64
        let place: Int
    }

    /// Complexity: O(n · log n).
    static func sorted(_ changes: JournaledChanges.Changes) -> [KeyedChange] {
        let changes = Array(changes.values)
        let shared = sharedBytes(changes)
        var heads = changes.indices.map { place in
            let address = changes[place].address
            return Head(namespace: address.namespace, bytes: head(of: address.key, after: shared), place: place)
        }
        heads.sort { left, right in
            if left.namespace != right.namespace { return left.namespace < right.namespace }
            if left.bytes != right.bytes { return left.bytes < right.bytes }
            return precedes(changes[left.place].address.key, changes[right.place].address.key)
        }
        return heads.map { changes[$0.place] }
    }

    /// With how many bytes all keys begin alike: those of one service often do with a name of what they are keys of.
    private static func sharedBytes(_ changes: [KeyedChange]) -> Int {
        guard let first = changes.first?.address.key else { return 0 }
        var shared = first.count
        for keyed in changes {
            let key = keyed.address.key
            shared = min(shared, key.count)
            shared = (0..<shared).first { key[$0] != first[$0] } ?? shared
        }
        return shared
    }

    /// Eight bytes as a number that orders as they do. What a shorter key lacks counts as 0.
    private static func head(of key: [UInt8], after shared: Int) -> UInt64 {
        var head: UInt64 = 0
        for place in shared..<shared + 8 { head = head << 8 | (place < key.count ? UInt64(key[place]) : 0) }
        return head
    }

    private static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        let common = min(left.count, right.count)
        let order = left.withUnsafeBytes { left in
            right.withUnsafeBytes { right -> Int32 in
                guard let left = left.baseAddress, let right = right.baseAddress else { return 0 }
                return memcmp(left, right, common)
            }
        }
        return order == 0 ? left.count < right.count : order < 0
    }
}
