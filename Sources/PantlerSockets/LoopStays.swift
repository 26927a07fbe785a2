import Synchronization

/// How long single events have held a loop, counted in buckets. An event is what came over one connection, a timer, or work that another
/// thread has handed over. Everything else that the loop has to do waits for so long.
///
/// Counted by the loop alone, read by any thread: a count is a plain load, an addition and a plain store. All cells are relaxed: none
/// publishes other memory.
package final class LoopStays: Sendable {
    /// The longest stay that each bucket but the last takes, in nanoseconds, in rising order.
    package let bounds: [UInt64]

    // Allocated in `init`, freed in `deinit`, never moved between, and nothing but atomics: any thread may use it as
    // long as it has the object. A cell a bucket, and the last for the sum.
    nonisolated(unsafe) private let cells: UnsafeMutablePointer<Atomic<UInt64>>

    package init(bounds: [UInt64]) {
        self.bounds = bounds
        cells = .allocate(capacity: bounds.count + 2)
        for cell in 0..<bounds.count + 2 { (cells + cell).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: bounds.count + 2).deallocate()
    }

    /// Counts a stay. On the loop. Most are in the first bucket.
    func record(nanoseconds: UInt64) {
        var bucket = 0
        while bucket < bounds.count, nanoseconds > bounds[bucket] { bucket += 1 }
        add(1, to: bucket)
        add(nanoseconds, to: bounds.count + 1)
    }

    /// Not atomic as a whole, which is right as long as nobody else writes.
    private func add(_ amount: UInt64, to cell: Int) {
        let sum = cells[cell].load(ordering: .relaxed) &+ amount
        cells[cell].store(sum, ordering: .relaxed)
    }

    /// How many stays a bucket has counted; the last bucket, after those of `bounds`, is for all that are longer.
    package func count(_ bucket: Int) -> UInt64 { cells[bucket].load(ordering: .relaxed) }

    /// The sum of all stays.
    package var sumNanoseconds: UInt64 { cells[bounds.count + 1].load(ordering: .relaxed) }
}

/// The present stay of a loop. It is measured by times that are read for other reasons: the handlers of a connection read the clock as a burst begins and as
/// it ends, and the loop itself before it rests.
struct LoopStay {
    /// When the event began that holds the loop; 0 while it rests.
    private var began: UInt64 = 0
    private var latest: UInt64 = 0

    /// Takes note of a time that was read on the loop.
    mutating func note(_ nanoseconds: UInt64) {
        if began == 0 { began = nanoseconds }
        latest = nanoseconds
    }

    /// Ends the stay at the latest time that was read. What the event took after that counts as part of the next one.
    ///
    /// - Returns: how long the stay was; `nil` where no time was read since it began.
    mutating func endEvent() -> UInt64? {
        guard began > 0, latest > began else { return nil }
        defer { began = latest }
        return latest - began
    }

    /// Notes that the loop rests: the next stay begins with the first time that is read after that.
    mutating func rest() { began = 0 }
}
