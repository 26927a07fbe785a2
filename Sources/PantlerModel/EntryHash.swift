/// A seeded 64-bit hash of a namespace and a key: the memory tier's index and the disk tier's row number.
///
/// The mixing is that of wyhash (Wang Yi, public domain): 64 x 64 to 128 bit multiplications folded by exclusive or. The
/// seed is drawn at random when a data folder is made and kept in it, so that no outsider can choose keys that collide.
package struct EntryHash: Sendable {
    private let seed: UInt64

    package init(seed: UInt64) {
        self.seed = Self.mix(seed ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db) ^ seed
    }

    /// Complexity: O(length of the key), about 16 bytes a multiplication.
    package func hash(namespace: NamespaceID, key: UnsafeRawBufferPointer) -> UInt64 {
        var state = seed ^ Self.mix(UInt64(namespace) ^ 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3)
        let count = key.count
        var offset = 0
        while count - offset > 16 {
            let first = key.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            let second = key.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
            state = Self.mix(first ^ 0xe703_7ed1_a0b4_28db, second ^ state)
            offset += 16
        }
        var first: UInt64 = 0
        var second: UInt64 = 0
        let rest = count - offset
        if rest >= 8 {
            first = key.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            second = key.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
        } else if rest >= 4 {
            first = UInt64(key.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            second = UInt64(key.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        } else if rest > 0 {
            first =
                UInt64(key[offset]) << 16 | UInt64(key[offset + rest / 2]) << 8 | UInt64(key[count - 1])
        }
        let folded = Self.mix(first ^ 0xa076_1d64_78bd_642f, second ^ state)
        return Self.mix(folded ^ 0xe703_7ed1_a0b4_28db, UInt64(count) ^ 0x8ebc_6af0_9c88_c6e3)
    }

    package func hash(namespace: NamespaceID, key: [UInt8]) -> UInt64 {
        key.withUnsafeBytes { hash(namespace: namespace, key: $0) }
    }

    private static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let (high, low) = left.multipliedFullWidth(by: right)
        return high ^ low
    }
}
