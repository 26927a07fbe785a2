import Glibc

/// Memory directly from the kernel, so that the tier counts what the process really has, and what the tier gives back leaves the process at
/// once.
enum Pages {
    static let size = 4096

    static func roundUp(_ bytes: Int) -> Int { (bytes + size - 1) & ~(size - 1) }

    /// Zeroed pages that cost nothing until they are touched; `nil` when the kernel has none left.
    static func map(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let base = mmap(nil, roundUp(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let base, base != MAP_FAILED else { return nil }
        // With large pages, a value of megabytes does not take a page fault for each 4 KiB.
        madvise(base, roundUp(bytes), MADV_HUGEPAGE)
        return base
    }

    static func unmap(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
        munmap(base, roundUp(bytes))
    }
}

/// A table of equally large blocks that grows and shrinks at its end without moving what is in it.
struct BlockTable: ~Copyable {
    let blockBytes: Int
    private let ledger: Ledger
    private(set) var count = 0
    private var capacity = 0
    private var bases: UnsafeMutablePointer<UnsafeMutableRawPointer>

    init(blockBytes: Int, ledger: Ledger) {
        self.blockBytes = blockBytes
        self.ledger = ledger
        bases = .allocate(capacity: 0)
    }

    deinit {
        for index in 0..<count { ledger.extents.give(bases[index], blockBytes) }
        bases.deallocate()
    }

    var heldBytes: Int { count * Pages.roundUp(blockBytes) }

    @inline(__always)
    subscript(index: Int) -> UnsafeMutableRawPointer { bases[index] }

    /// Adds a zeroed block. Returns `false` when there is no memory. Complexity: O(1) amortised.
    mutating func grow() -> Bool {
        guard let base = ledger.extents.take(blockBytes) else { return false }
        if count == capacity {
            let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: max(8, capacity * 2))
            larger.moveInitialize(from: bases, count: count)
            bases.deallocate()
            bases = larger
            capacity = max(8, capacity * 2)
        }
        (bases + count).initialize(to: base)
        count += 1
        ledger.hold(Pages.roundUp(blockBytes))
        return true
    }

    /// Gives the last block back.
    mutating func shrink() {
        count -= 1
        ledger.extents.give(bases[count], blockBytes)
        ledger.release(Pages.roundUp(blockBytes))
    }
}
