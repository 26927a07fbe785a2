import PantlerModel
import Synchronization

/// Tells of most keys without a row that they have none, so that a miss, and the first put of a key, need not ask the file.
///
/// A Bloom filter whose bits for one key lie in one cache line (Putze, Sanders and Singler, "Cache-, hash- and space-efficient Bloom filters",
/// 2007). With ten bits a key, eight of them set, it takes a key without a row for one with one in about a hundred times; never the other
/// way round. A row that is removed leaves its bits behind, until another filter replaces this one: see `KeyFilters`.
///
/// Bits are only ever set, by atomic operations, so that any thread may do so. These are relaxed: a thread that has to see a bit has before
/// that taken the write queue's lock, which was released after the bit was set.
final class KeyFilter: Sendable {
    private static let bitsAKey = 10
    private static let wordsALine = 8
    /// Bits that a key sets, one in each word of its line.
    private static let bitsSet = 8

    /// How many keys it was made for.
    let capacity: Int
    private let lines: UInt64
    private let words: Words

    /// The words, which are made and freed with the filter.
    private struct Words: ~Copyable, @unchecked Sendable {
        // Sendable without the compiler's proof: the memory holds atomics alone, the pointer to it never changes, and goes nowhere else.
        let start: UnsafeMutablePointer<Atomic<UInt64>>
        let count: Int

        init(count: Int) {
            self.count = count
            start = .allocate(capacity: count)
            for index in 0..<count { (start + index).initialize(to: Atomic(0)) }
        }

        deinit {
            start.deinitialize(count: count)
            start.deallocate()
        }
    }

    /// - Parameter capacity: a number of keys. With more of them the filter is wrong more often.
    init(capacity: Int) {
        self.capacity = max(1, capacity)
        lines = UInt64(self.capacity * Self.bitsAKey / (Self.wordsALine * 64) + 1)
        words = Words(count: Int(lines) * Self.wordsALine)
    }

    /// Complexity: O(1).
    func insert(_ hash: UInt64) {
        let line = line(of: hash)
        var bits = Self.bits(of: hash)
        for index in 0..<Self.bitsSet {
            words.start[line + index].bitwiseOr(1 << (bits & 63), ordering: .relaxed)
            bits >>= 6
        }
    }

    /// Whether the hash may have been inserted; `false` = it surely was not. Complexity: O(1).
    func mayContain(_ hash: UInt64) -> Bool {
        let line = line(of: hash)
        var bits = Self.bits(of: hash)
        for index in 0..<Self.bitsSet {
            if words.start[line + index].load(ordering: .relaxed) & 1 << (bits & 63) == 0 { return false }
            bits >>= 6
        }
        return true
    }

    /// By the upper bits of the hash (Lemire, "Fast random integer generation in an interval", 2019).
    private func line(of hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash.multipliedFullWidth(by: lines).high) * Self.wordsALine
    }

    /// Eight times six bits that have little to do with those that chose the line.
    private static func bits(of hash: UInt64) -> UInt64 {
        (hash &* 0x9e37_79b9_7f4a_7c15) >> 16
    }
}

/// The filter that is looked at, and the one that is being made to replace it.
///
/// A filter is made by a walk over all rows, while new rows are inserted in it as they come; it is asked once the walk is over. A new one is
/// made when as many rows have come as the present one was made for: their number may have grown, and rows that are gone have left bits.
final class KeyFilters: Sendable {
    /// Least keys that a filter is made for: 320 KiB.
    static let leastCapacity = 1 << 18

    private struct State {
        /// The filter that is asked; `nil` until the first walk has ended.
        var ready: KeyFilter?
        /// The filter that a walk is filling.
        var growing: KeyFilter?
        /// How many rows came since the latest filter was begun.
        var inserted = 0
    }

    private let state = Mutex(State())

    /// Whether a key can have a row.
    func mayContain(_ hash: UInt64) -> Bool {
        state.withLock { $0.ready }?.mayContain(hash) ?? true
    }

    /// Inserts the hash of a new row.
    func insert(_ hash: UInt64) {
        state.withLock {
            $0.ready?.insert(hash)
            $0.growing?.insert(hash)
            $0.inserted += 1
        }
    }

    /// Whether a new filter is due: at the start, and when the present one is used up.
    var isDue: Bool {
        state.withLock { state in
            state.growing == nil && (state.ready.map { state.inserted > $0.capacity / 2 } ?? true)
        }
    }

    /// Begins a new filter.
    ///
    /// - Parameter rows: how many there are.
    /// - Returns: the filter to insert all of them in, and to call `finish` for.
    func begin(rows: Int) -> KeyFilter {
        let filter = KeyFilter(capacity: max(Self.leastCapacity, rows * 2))
        state.withLock { state in
            state.growing = filter
            state.inserted = 0
        }
        return filter
    }

    /// Takes the new filter into use, which has all rows; or drops it, where the walk over them has failed.
    func finish(isWhole: Bool) {
        state.withLock {
            if isWhole { $0.ready = $0.growing }
            $0.growing = nil
        }
    }
}
