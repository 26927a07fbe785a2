import Glibc
import Synchronization

/// The address space from which a tier takes its blocks. It consists of large extents, so that the kernel can back them with large pages.
///
/// Lookups read memory at random places. With pages of 4 KiB, each lookup among millions of entries walks the page tables several times,
/// and has to fetch parts of the tables too. The kernel makes a large page when memory is first touched, but only where all of the large
/// page is mapped by then. It would not be if each smaller block were a mapping of its own.
///
/// A block that was given back has no memory. Its addresses are kept for the next block of the same size; there are few sizes. No large
/// page may cover such a block: in the background the kernel would make one of the pages that are left there, and so give the process
/// memory that the tier has given back.
final class Extents: Sendable {
    private struct State {
        /// The unused rest of the latest extent: from `next` to below `end`.
        var next: UInt = 0
        var end: UInt = 0
        var free: [Int: [UInt]] = [:]
        /// How many free blocks lie in a large page or reach into it, by the page's number. Pages without any are not here.
        var holes: [UInt: Int] = [:]
        var extents: [(start: UInt, bytes: Int)] = []
    }

    private static let largePage = 2 << 20
    private static let extentBytes = 32 << 20

    private let state = Mutex(State())

    deinit {
        state.withLock { state in
            for extent in state.extents { munmap(UnsafeMutableRawPointer(bitPattern: extent.start), extent.bytes) }
        }
    }

    /// A zeroed block that costs nothing until it is touched; `nil` when the kernel has no memory left. Complexity: O(1).
    func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let size = Pages.roundUp(bytes)
        return state.withLock { state -> UInt? in
            if let block = state.free[size]?.popLast() {
                Self.fill(block, size, &state)
                return block
            }
            if size > Int(state.end - state.next), !Self.extend(&state, for: size) { return nil }
            defer { state.next += UInt(size) }
            return state.next
        }.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
    }

    /// Gives a block back, and its memory to the system.
    func give(_ block: UnsafeMutableRawPointer, _ bytes: Int) {
        let size = Pages.roundUp(bytes)
        state.withLock { state in
            Self.empty(UInt(bitPattern: block), size, &state)
            // The block reads as zeros when it is touched again.
            madvise(block, size, MADV_DONTNEED)
            state.free[size, default: []].append(UInt(bitPattern: block))
        }
    }

    /// Notes that a block is free. The kernel is told first not to make a large page there. Where it refuses, for example because the
    /// process has as many mappings as it may have, some memory may come back to the process; nothing else goes wrong then.
    private static func empty(_ block: UInt, _ size: Int, _ state: inout State) {
        for page in largePages(block, size) {
            let holes = state.holes[page, default: 0]
            state.holes[page] = holes + 1
            if holes == 0 { advise(page, MADV_NOHUGEPAGE) }
        }
    }

    /// Notes that a block is in use again.
    private static func fill(_ block: UInt, _ size: Int, _ state: inout State) {
        for page in largePages(block, size) {
            let holes = state.holes[page, default: 1] - 1
            state.holes[page] = holes == 0 ? nil : holes
            if holes == 0, !isInFirst(page, state) { advise(page, MADV_HUGEPAGE) }
        }
    }

    /// The numbers of the large pages of which a block covers a part.
    private static func largePages(_ block: UInt, _ size: Int) -> ClosedRange<UInt> {
        block / UInt(largePage)...(block + UInt(size) - 1) / UInt(largePage)
    }

    private static func advise(_ page: UInt, _ advice: Int32) {
        // All of the page is in the extent: extents begin and end where large pages do.
        madvise(UnsafeMutableRawPointer(bitPattern: page * UInt(largePage)), largePage, advice)
    }

    private static func isInFirst(_ page: UInt, _ state: State) -> Bool {
        guard let first = state.extents.first else { return false }
        return (first.start..<first.start + UInt(first.bytes)).contains(page * UInt(largePage))
    }

    /// Maps a new extent; returns `false` when there is no memory. The rest of the latest extent stays unused: it was never touched, and
    /// costs only addresses.
    private static func extend(_ state: inout State, for size: Int) -> Bool {
        // Where the process may not have that much address space, an extent of just the size that is needed is tried.
        for bytes in [max(extentBytes, roundUp(size)), roundUp(size)] {
            guard let start = map(bytes) else { continue }
            // The first extent has small pages: with large ones, a tier that holds little would take megabytes that hold nothing.
            if !state.extents.isEmpty { madvise(UnsafeMutableRawPointer(bitPattern: start), bytes, MADV_HUGEPAGE) }
            state.extents.append((start, bytes))
            state.next = start
            state.end = start + UInt(bytes)
            return true
        }
        return false
    }

    private static func roundUp(_ size: Int) -> Int {
        let (sum, isOver) = size.addingReportingOverflow(largePage - 1)
        return isOver ? size : sum & ~(largePage - 1)
    }

    /// Maps memory that begins at an address where a large page can begin.
    private static func map(_ bytes: Int) -> UInt? {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let base = mmap(nil, bytes + largePage, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let base, base != MAP_FAILED else { return nil }
        let address = UInt(bitPattern: base)
        let start = (address + UInt(largePage) - 1) & ~UInt(largePage - 1)
        let before = Int(start - address)
        if before > 0 { munmap(base, before) }
        if before < largePage { munmap(UnsafeMutableRawPointer(bitPattern: start + UInt(bytes)), largePage - before) }
        return start
    }
}
