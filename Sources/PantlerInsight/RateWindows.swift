/// How many gets and hits a namespace had lately: what its counters read at past moments, in bounded memory.
///
/// Someone calls `sample` about once a second; a second without gets costs nothing, and a namespace that has been idle
/// for an hour holds no memory. Windows up to a minute are exact to the second; longer ones begin up to 10 seconds,
/// those over five minutes up to 30 seconds too early. Windows over an hour are not kept.
///
/// It has no synchronisation of its own: it lives under a lock.
package struct RateWindows: Sendable {
    /// The gets and hits that were counted between the end of the step before it and its own end.
    private struct Step {
        /// The second of the sample that closed it.
        var end: UInt32
        var gets: UInt32
        var hits: UInt32
    }

    /// Seconds of the longest window.
    package static let longest = 3600
    /// The most steps that are kept: 60 of a second, 24 of 10 and 110 of 30, and one that is cut at each seam. Of 12
    /// bytes each, they are 2.3 KiB.
    private static let capacity = 60 + 24 + 110 + 3

    /// From the oldest to the newest. Only steps in which something was counted.
    private var steps: [Step] = []
    /// The counters as the newest sample has read them.
    private var gets: UInt64 = 0
    private var hits: UInt64 = 0

    /// Begins where the counters do, at 0.
    package init() {}

    /// Takes down what the counters read now. They only grow: a reading that is below an earlier one is passed over.
    ///
    /// - Parameter now: seconds of a monotonic clock. Some may be left out, or come twice.
    /// - Complexity: O(1) where nothing was counted since the last sample, otherwise O(steps).
    package mutating func sample(gets: UInt64, hits: UInt64, atSeconds now: UInt64) {
        let now = max(UInt32(clamping: now), steps.last?.end ?? 0)
        if gets > self.gets, hits >= self.hits {
            // What exceeds a step's 32 bits is left to the next.
            let step = Step(
                end: now,
                gets: UInt32(clamping: gets - self.gets),
                hits: UInt32(clamping: hits - self.hits)
            )
            self.gets += UInt64(step.gets)
            self.hits += UInt64(step.hits)
            if steps.count == 16 { steps.reserveCapacity(Self.capacity) }
            steps.append(step)
            thin(now)
        } else if let oldest = steps.first, Self.age(oldest, now) >= Self.longest {
            thin(now)
        }
    }

    /// Gets and hits of the last `seconds`, at most 3600: the counters' present reading less that of the sample at the
    /// window's beginning, or the last one before it. Everything since the start where that was later.
    ///
    /// - Complexity: O(steps).
    package func window(
        seconds: Int,
        gets: UInt64,
        hits: UInt64,
        atSeconds now: UInt64
    ) -> (gets: UInt64, hits: UInt64) {
        // A reader's figures may be a little older than those of a sample that overtook it.
        var windowGets = gets > self.gets ? gets - self.gets : 0
        var windowHits = hits > self.hits ? hits - self.hits : 0
        for step in steps.reversed() {
            if Self.age(step, UInt32(clamping: now)) >= seconds { break }
            windowGets += UInt64(step.gets)
            windowHits += UInt64(step.hits)
        }
        return (windowGets, min(windowHits, windowGets))
    }

    /// Forgets what is too old, and joins steps that are old enough to be coarser.
    private mutating func thin(_ now: UInt32) {
        var kept = 0
        for step in steps {
            let age = Self.age(step, now)
            if age >= Self.longest { continue }
            if kept > 0, Self.joins(steps[kept - 1], step, age: age) {
                steps[kept - 1].end = step.end
                steps[kept - 1].gets += step.gets
                steps[kept - 1].hits += step.hits
            } else {
                steps[kept] = step
                kept += 1
            }
        }
        if kept == 0 { steps = [] } else { steps.removeLast(steps.count - kept) }
    }

    /// Whether two neighbours lie in one step of the resolution that the later one's age asks for, and fit into one.
    private static func joins(_ earlier: Step, _ later: Step, age: Int) -> Bool {
        let resolution: UInt32 = age >= 300 ? 30 : age >= 60 ? 10 : 1
        return earlier.end / resolution == later.end / resolution
            && !earlier.gets.addingReportingOverflow(later.gets).overflow
    }

    private static func age(_ step: Step, _ now: UInt32) -> Int { now > step.end ? Int(now - step.end) : 0 }
}
