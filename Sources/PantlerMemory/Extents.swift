import Glibc
import Synchronization

/// The address space of a tier, out of which its blocks come: large extents, so that the kernel can back them by large pages.
///
/// What is asked for lies anywhere. With pages of 4 KiB each look-up among millions of entries walks the page tables several times, and
/// has to fetch parts of these too. The kernel makes large pages as memory is first touched, but only where all of one is
/// mapped by then, which it is not if each block of less is a mapping.
///
/// A block that is given back has no memory any more. Its addresses are kept for the next of its size; there are few sizes.
final class Extents: Sendable {
    private struct State {
        /// What is left of the latest extent.
        var next: UInt = 0
        var end: UInt = 0
        var free: [Int: [UInt]] = [:]
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
            if let block = state.free[size]?.popLast() { return block }
            if size > Int(state.end - state.next), !Self.extend(&state, for: size) { return nil }
            defer { state.next += UInt(size) }
            return state.next
        }.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
    }

    /// Gives a block back, and its memory to the system.
    func give(_ block: UnsafeMutableRawPointer, _ bytes: Int) {
        let size = Pages.roundUp(bytes)
        // What is touched again reads as zeros.
        madvise(block, size, MADV_DONTNEED)
        state.withLock { $0.free[size, default: []].append(UInt(bitPattern: block)) }
    }

    /// A new extent. What is left of the latest is not used: it was never touched, and costs addresses alone.
    private static func extend(_ state: inout State, for size: Int) -> Bool {
        // Where the process may not have as much address space, as much as is needed.
        for bytes in [max(extentBytes, size), size] {
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
