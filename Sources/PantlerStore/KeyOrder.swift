import Glibc

/// The order of keys by their bytes. It uses the C library's comparison, because a walk over a namespace compares every key.
enum KeyOrder {
    static func precedes(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard let leftBase = left.baseAddress, let rightBase = right.baseAddress else {
            return left.count < right.count
        }
        let order = memcmp(leftBase, rightBase, min(left.count, right.count))
        return order < 0 || order == 0 && left.count < right.count
    }

    static func precedes(_ left: UnsafeRawBufferPointer, _ right: [UInt8]) -> Bool {
        right.withUnsafeBytes { precedes(left, $0) }
    }

    static func precedes(_ left: [UInt8], _ right: UnsafeRawBufferPointer) -> Bool {
        left.withUnsafeBytes { precedes($0, right) }
    }

    static func begins(_ key: UnsafeRawBufferPointer, with prefix: [UInt8]) -> Bool {
        if prefix.isEmpty { return true }
        guard key.count >= prefix.count, let base = key.baseAddress else { return false }
        return prefix.withUnsafeBytes { prefix in prefix.baseAddress.map { memcmp(base, $0, prefix.count) == 0 } ?? true
        }
    }
}
