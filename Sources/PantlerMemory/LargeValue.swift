import Glibc
import PantlerModel

/// The bytes of a value that is too large for a shard's log, in an allocation of their own. Whoever holds it keeps the
/// bytes; the tier counts it as long as it is an entry's value.
package final class LargeValue: Sendable {
    // Written in `init` alone, freed in `deinit`: no one can write while someone reads.
    nonisolated(unsafe) package let bytes: UnsafeRawBufferPointer
    private let home: Home
    /// What the allocation takes of the process's memory, this object included.
    package let heldBytes: Int

    private enum Home {
        /// A mapping of its own.
        case mapping
        /// A block among others of about its size.
        case block
        case heap
    }

    /// From this size on the bytes are a mapping of their own. Smaller ones would be too many: a process has a limited number.
    private static let mappedBytes = 64 << 10
    /// From this size on giving pages back takes so long (some 50 microseconds a MiB) that neither an event loop nor a shard's lock is held
    /// meanwhile.
    private static let longBytes = 4 << 20
    /// Where smaller ones lie, of all tiers. On malloc's heap what is freed would stay with the process, among what is not: up to as much
    /// as there ever was.
    private static let sharedBlocks = Extents()
    private let blocks: Extents
    private static let unmapping = WorkerPool("unmap")
    /// The object itself, as malloc rounds it.
    private static let objectBytes = 64
    /// What malloc takes for `bytes` bytes: a word beside them, rounded to 16.
    private static func allocated(_ bytes: Int) -> Int { (bytes + 8 + 15) & ~15 }

    /// Copies `source`; `nil` without memory.
    package convenience init?(copying source: UnsafeRawBufferPointer) {
        self.init(copying: source, among: Self.sharedBlocks)
    }

    /// - Parameter blocks: where it lies if it is not large enough for a mapping.
    init?(copying source: UnsafeRawBufferPointer, among blocks: Extents) {
        self.blocks = blocks
        let isMapped = source.count >= Self.mappedBytes
        let pages = isMapped ? Pages.map(source.count) : blocks.take(max(1, source.count))
        home = pages == nil ? .heap : isMapped ? .mapping : .block
        // malloc is the way out when mappings are used up.
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
