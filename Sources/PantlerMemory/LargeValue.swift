import Dispatch
import Glibc

/// The bytes of a value that is too large for a shard's log, in an allocation of their own. Whoever holds it keeps the
/// bytes; the tier counts it as long as it is an entry's value.
package final class LargeValue: Sendable {
    // Written in `init` alone, freed in `deinit`: no one can write while someone reads.
    nonisolated(unsafe) package let bytes: UnsafeRawBufferPointer
    private let isMapped: Bool
    /// What the allocation takes of the process's memory, this object included.
    package let heldBytes: Int

    /// From this size on the bytes have pages of their own, so that the system has them back when they are freed.
    private static let mappedBytes = 64 << 10
    /// From this size on giving pages back takes so long (some 50 microseconds a MiB) that neither an event loop nor a shard's lock is held
    /// meanwhile.
    private static let longBytes = 4 << 20
    /// The object itself, as malloc rounds it.
    private static let objectBytes = 64
    /// What malloc takes for `bytes` bytes: a word beside them, rounded to 16.
    private static func allocated(_ bytes: Int) -> Int { (bytes + 8 + 15) & ~15 }

    /// Copies `source`; `nil` without memory.
    package init?(copying source: UnsafeRawBufferPointer) {
        var pages: UnsafeMutableRawPointer?
        if source.count >= Self.mappedBytes { pages = Pages.map(source.count) }
        isMapped = pages != nil
        // A process has a limited number of mappings: malloc is the way out when they are used up.
        guard let base = pages ?? malloc(max(1, source.count)) else { return nil }
        base.copy(source)
        bytes = UnsafeRawBufferPointer(start: base, count: source.count)
        heldBytes = Self.objectBytes + (isMapped ? Pages.roundUp(source.count) : Self.allocated(source.count))
    }

    deinit {
        let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
        guard isMapped, let base else { return Glibc.free(base) }
        let count = bytes.count
        if count < Self.longBytes { return Pages.unmap(base, count) }
        // Nobody else knows the address any more.
        nonisolated(unsafe) let pages = base
        DispatchQueue.global(qos: .utility).async { Pages.unmap(pages, count) }
    }
}
