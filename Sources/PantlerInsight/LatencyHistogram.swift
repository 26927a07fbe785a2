/// How long something took, counted in fixed buckets from 10 microseconds to 25 seconds. The long ones are for requests that wait for
/// somebody else's fill, for 30 seconds at most.
///
/// It holds no reference and never allocates. It has no synchronisation of its own: it lives with its one writer or
/// under a lock, and `+=` sums the parts for a reader. `RequestTally` is the one that other threads may read.
package struct LatencyHistogram: Sendable {
    /// The buckets of `bounds`, and a last one for all that is longer.
    package static let bucketCount = 21

    /// The longest duration that each bucket but the last takes, in nanoseconds.
    package static let bounds: [UInt64] = [
        10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
        1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000,
        1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000, 25_000_000_000,
    ]

    /// How many durations each bucket took.
    private var counts = InlineArray<21, UInt64>(repeating: 0)
    /// The sum of all durations. Wraps after 584 years.
    package private(set) var sumNanoseconds: UInt64 = 0

    package init() {}

    /// A histogram of what was counted elsewhere, in the buckets of `bounds`.
    package init(sumNanoseconds: UInt64, counts: (Int) -> UInt64) {
        self.sumNanoseconds = sumNanoseconds
        for bucket in 0..<Self.bucketCount { self.counts[bucket] = counts(bucket) }
    }

    package mutating func record(nanoseconds: UInt64) {
        counts[Self.bucket(of: nanoseconds)] &+= 1
        sumNanoseconds &+= nanoseconds
    }

    package static func += (left: inout LatencyHistogram, right: LatencyHistogram) {
        for bucket in 0..<bucketCount { left.counts[bucket] &+= right.counts[bucket] }
        left.sumNanoseconds &+= right.sumNanoseconds
    }

    /// How many durations were recorded.
    package var count: UInt64 { cumulativeCounts[Self.bucketCount - 1] }

    package var sumSeconds: Double { Double(sumNanoseconds) / 1e9 }

    /// For each bucket how many durations it and those before it took; the last is the count of all.
    package var cumulativeCounts: [UInt64] {
        var total: UInt64 = 0
        return (0..<Self.bucketCount).map { bucket in
            total &+= counts[bucket]
            return total
        }
    }

    /// The bucket that takes a duration: one comparison for most hits, and never more than eleven.
    static func bucket(of nanoseconds: UInt64) -> Int {
        if nanoseconds <= 10_000 { return 0 }
        if nanoseconds <= 25_000 { return 1 }
        if nanoseconds > 25_000_000_000 { return 20 }
        // Each decade from 10^4 on is three buckets, whose bounds are 2.5, 5 and 10 times its beginning.
        var decade = 0
        var start: UInt64 = 10_000
        while nanoseconds > start &* 10 {
            start &*= 10
            decade += 1
        }
        return decade * 3 + (nanoseconds <= start &* 5 / 2 ? 1 : nanoseconds <= start &* 5 ? 2 : 3)
    }
}
