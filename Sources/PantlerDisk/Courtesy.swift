import Glibc
import PantlerModel

/// Lets other threads have the core that the writer is on, while it does what nobody waits for.
///
/// A kernel lets a thread run for milliseconds before another has its turn, and an event loop that wakes up on the writer's core would
/// answer that much later. Measured on two cores, with 2,000 puts a second: the p99 of hits beside them is 1.3 ms without and 0.3 ms
/// with it.
struct Courtesy {
    /// How long the writer goes on before it gives way again: each time is a system call.
    private static let intervalNanoseconds: UInt64 = 10_000

    private let end: UInt64
    private var next: UInt64

    /// - Parameter end: in monotonic nanoseconds. It lasts no longer, so that work is done in time where others never leave the core
    ///   of their own accord.
    init(until end: UInt64) {
        self.end = end
        next = monotonicNanoseconds() + Self.intervalNanoseconds
    }

    /// Never gives way.
    static var none: Courtesy { Courtesy(until: 0) }

    /// To be called often. Complexity: O(1), a look at the clock.
    mutating func giveWay() {
        if end == 0 { return }
        let now = monotonicNanoseconds()
        guard now >= next, now < end else { return }
        sched_yield()
        next = monotonicNanoseconds() + Self.intervalNanoseconds
    }
}
