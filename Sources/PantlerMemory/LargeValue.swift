import Glibc
import PantlerModel

/// The bytes of a value that is too large for a shard's log, in an allocation of their own. The bytes stay as long as anyone holds the
/// object; the tier counts them as long as they are an entry's value.
package final class LargeValue: Sendable {
    // The bytes are written in `init` and freed in `deinit`, so that nobody can write while somebody reads.
    nonisolated(unsafe) package let bytes: UnsafeRawBufferPointer
    private let home: Home
    /// Bytes that the allocation takes of the process's memory, this object included.
    package let heldBytes: Int

    private enum Home {
        /// A mapping of its own.
        case mapping
        /// A block among others of about its size.
        case block
        case heap
    }

    /// A value of this size or more has a mapping of its own. With a mapping for each smaller one there would be too many: a process may
    /// have a limited number.
    private static let mappedBytes = 64 << 10
    /// From this size on, a thread of its own gives the pages back. That takes some 50 microseconds a MiB, which is too long to hold an
    /// event loop or a shard's lock.
    private static let longBytes = 4 << 20
    /// The place of values that are too small for a mapping, of all tiers. On malloc's heap, freed values would stay with the process in
    /// between those that are in use: up to as many bytes as there ever were at a time.
    private static let sharedBlocks = Extents()
    private let blocks: Extents
    private static let unmapping = WorkerPool("unmap")
    /// Bytes of the object itself, as malloc rounds them.
    private static let objectBytes = 64
    /// Bytes that malloc takes for `bytes` bytes: one word more, rounded up to a multiple of 16.
    private static func allocated(_ bytes: Int) -> Int { (bytes + 8 + 15) & ~15 }

    /// Copies `source`; `nil` when there is no memory.
    package convenience init?(copying source: UnsafeRawBufferPointer) {
        self.init(copying: source, among: Self.sharedBlocks)
    }

    /// - Parameter blocks: where a value lies that is too small for a mapping of its own.
    init?(copying source: UnsafeRawBufferPointer, among blocks: Extents) {
        self.blocks = blocks
        let isMapped = source.count >= Self.mappedBytes
        let pages = isMapped ? Pages.map(source.count) : blocks.take(max(1, source.count))
        home = pages == nil ? .heap : isMapped ? .mapping : .block
        // Where no more mappings can be had, malloc may still have memory.
        guard let base = pages ?? malloc(max(1, source.count)) else { return nil }
        base.copy(source)
        bytes = UnsafeRawBufferPointer(start: base, count: source.count)
        heldBytes =
            Self.objectBytes
            + (pages == nil ? Self.allocated(source.count) : Pages.roundUp(max(1, source.count)))
    }

    deinit {
        guard let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress) else { return }
        let count = bytes.count
        switch home {
        case .block: blocks.give(base, max(1, count))
        case .heap: Glibc.free(base)
        case .mapping:
            guard count >= Self.longBytes else { return Pages.unmap(base, count) }
            // Nobody else knows the address any more.
            nonisolated(unsafe) let pages = base
            Self.unmapping.async { Pages.unmap(pages, count) }
        }
    }
}
