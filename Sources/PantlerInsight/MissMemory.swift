internal import Glibc
package import PantlerModel

/// Why keys that are gone went, in bounded memory: the newest departures are remembered, the oldest forgotten.
///
/// A table of sets of sixteen 32-bit cells, a set being one cache line. A cell holds 29 bits of the key's hash and 3
/// bits of the reason; a set is ordered from the newest to the oldest, its empty cells, which are 0, at the end. A full
/// set forgets its oldest.
///
/// A key that was never recorded finds a reason of another key with a probability of at most 16 / 2^29, one in 33
/// million: its 29 bits would have to be those of one of sixteen. Nothing but the reason of a miss depends on it.
///
/// The bits of a hash must be as good as random. Bits 0..<27 choose the set, bits 27..<56 are kept, and bits 56..<64
/// are left to the caller, who may have chosen among several tables by them.
///
/// It has no synchronisation of its own: it lives under a lock.
package struct MissMemory: ~Copyable {
    private static let ways = 16
    private static let setBytes = 64
    private static let reasonBits: UInt32 = 3

    /// The memory as `calloc` has returned it; `nil` = nothing is remembered.
    private let allocation: UnsafeMutableRawPointer?
    /// The first set, at the beginning of a cache line within `allocation`.
    private let cells: UnsafeMutablePointer<UInt32>?
    private let setMask: UInt64

    /// - Parameter bytes: the size of the table, rounded down to a power of two; below 64, and where there is no memory
    ///   left, nothing is remembered. A byte of it remembers a quarter of a key.
    package init(bytes: Int) {
        let size = Self.tableBytes(for: bytes)
        allocation = size > 0 ? calloc(1, Self.allocatedBytes(for: bytes)) : nil
        cells = allocation?.alignedUp(toMultipleOf: Self.setBytes).assumingMemoryBound(to: UInt32.self)
        setMask = size > 0 ? UInt64(size / Self.setBytes - 1) : 0
    }

    deinit {
        free(allocation)
    }

    /// What `init(bytes:)` takes from the heap: the rounded size and a cache line for its alignment, or 0.
    package static func allocatedBytes(for bytes: Int) -> Int {
        let size = tableBytes(for: bytes)
        return size > 0 ? size + setBytes : 0
    }

    /// Remembers why a key went, in the place of what was remembered of it before. `.absent` forgets it.
    package mutating func record(_ hash: UInt64, _ reason: MissReason) {
        guard reason != .absent else { return forget(hash) }
        guard let set = set(of: hash) else { return }
        let fingerprint = Self.fingerprint(of: hash)
        // The cell that becomes free: that of the same key, or the first empty one, or the oldest.
        var place = 0
        while place < Self.ways - 1, set[place] != 0, set[place] >> Self.reasonBits != fingerprint { place += 1 }
        while place > 0 {
            set[place] = set[place - 1]
            place -= 1
        }
        set[0] = fingerprint << Self.reasonBits | UInt32(reason.rawValue)
    }

    /// Why a key went, or `nil` where nothing is remembered of it.
    package func reason(for hash: UInt64) -> MissReason? {
        guard let set = set(of: hash), let place = Self.place(of: Self.fingerprint(of: hash), in: set) else {
            return nil
        }
        return MissReason(rawValue: UInt8(truncatingIfNeeded: set[place] & (1 << Self.reasonBits - 1)))
    }

    /// Remembers nothing of a key any more: there is an entry again.
    package mutating func forget(_ hash: UInt64) {
        guard let set = set(of: hash), var place = Self.place(of: Self.fingerprint(of: hash), in: set) else { return }
        while place < Self.ways - 1, set[place + 1] != 0 {
            set[place] = set[place + 1]
            place += 1
        }
        set[place] = 0
    }

    private static func place(of fingerprint: UInt32, in set: UnsafeMutablePointer<UInt32>) -> Int? {
        var place = 0
        // An empty cell is no key's: the 3 bits of a reason are never 0.
        while place < ways, set[place] != 0 {
            if set[place] >> reasonBits == fingerprint { return place }
            place += 1
        }
        return nil
    }

    private func set(of hash: UInt64) -> UnsafeMutablePointer<UInt32>? {
        cells.map { $0 + Int(truncatingIfNeeded: hash & setMask) * Self.ways }
    }

    private static func fingerprint(of hash: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: hash >> 27) & (1 << (32 - reasonBits) - 1)
    }

    /// The largest power of two that is not over `bytes`, of at least a set and at most the 2^27 sets that the hash
    /// tells apart; or 0.
    private static func tableBytes(for bytes: Int) -> Int {
        guard bytes >= setBytes else { return 0 }
        return min(1 << (Int.bitWidth - 1 - bytes.leadingZeroBitCount), setBytes << 27)
    }
}

// The pointer is the only one to its memory and goes nowhere else: a value that cannot be copied takes the memory with
// it from thread to thread, and `mutating` excludes a second user.
extension MissMemory: @unchecked Sendable {}
