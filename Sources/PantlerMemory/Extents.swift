import Glibc
import Synchronization

/// The address space of a tier, out of which its blocks come: large extents, so that the kernel can back them by large pages.
///
/// What is asked for lies anywhere. With pages of 4 KiB each look-up among millions of entries walks the page tables several times, and
/// has to fetch parts of these too. The kernel makes large pages as memory is first touched, but only where all of one is
/// mapped by then, which it is not if each block of less is a mapping.
///
/// A block that is given back has no memory any more. Its addresses are kept for the next of its size; there are few sizes. And no large
/// page may be where such a block is: the kernel would make one of what is left there, in the background, and so give the process memory
/// again that the tier has given back.
final class Extents: Sendable {
    private struct State {
        /// What is left of the latest extent.
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
            // What is touched again reads as zeros.
            madvise(block, size, MADV_DONTNEED)
            state.free[size, default: []].append(UInt(bitPattern: block))
        }
    }

    /// A block has left: first the kernel must know better than to make a large page there. Where it does not listen, as when the process
    /// has all the mappings that it may have, memory may come back; else nothing is wrong.
    private static func empty(_ block: UInt, _ size: Int, _ state: inout State) {
        for page in largePages(block, size) {
            let holes = state.holes[page, default: 0]
            state.holes[page] = holes + 1
            if holes == 0 { advise(page, MADV_NOHUGEPAGE) }
        }
    }

    /// A block is in use again.
    private static func fill(_ block: UInt, _ size: Int, _ state: inout State) {
        for page in largePages(block, size) {
            let holes = state.holes[page, default: 1] - 1
            state.holes[page] = holes == 0 ? nil : holes
            if holes == 0, !isInFirst(page, state) { advise(page, MADV_HUGEPAGE) }
        }
    }

    /// Numbers of the large pages that a block has a part of.
    private static func largePages(_ block: UInt, _ size: Int) -> ClosedRange<UInt> {
        block / UInt(largePage)...(block + UInt(size) - 1) / UInt(largePage)
    }

    private static func advise(_ page: UInt, _ advice: Int32) {
        // Extents begin and end with large pages.
        madvise(UnsafeMutableRawPointer(bitPattern: page * UInt(largePage)), largePage, advice)
    }

    private static func isInFirst(_ page: UInt, _ state: State) -> Bool {
        guard let first = state.extents.first else { return false }
        return (first.start..<first.start + UInt(first.bytes)).contains(page * UInt(largePage))
    }

    /// A new extent. What is left of the latest is not used: it was never touched, and costs addresses alone.
    private static func extend(_ state: inout State, for size: Int) -> Bool {
        // Where the process may not have as much address space, as much as is needed.
        for bytes in [max(extentBytes, roundUp(size)), roundUp(size)] {
            guard let start = map(bytes) else { continue }
            // The first has small pages: a tier that holds little would else have megabytes that nothing is in.
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

    /// Maps memory that begins where a large page can.
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
