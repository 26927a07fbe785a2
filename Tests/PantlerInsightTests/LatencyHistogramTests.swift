import Testing

@testable import PantlerInsight

@Suite("Latency histogram")
struct LatencyHistogramTests {
    @Test("each bucket takes what is over the bound before it, up to its own and with it")
    func bounds() {
        #expect(LatencyHistogram.bounds.count == LatencyHistogram.bucketCount - 1)
        #expect(LatencyHistogram.bounds == LatencyHistogram.bounds.sorted())
        #expect(LatencyHistogram.bucket(of: 0) == 0)
        for (bucket, bound) in LatencyHistogram.bounds.enumerated() {
            #expect(LatencyHistogram.bucket(of: bound - 1) == bucket)
            #expect(LatencyHistogram.bucket(of: bound) == bucket)
            #expect(LatencyHistogram.bucket(of: bound + 1) == bucket + 1)
        }
        #expect(LatencyHistogram.bucket(of: .max) == LatencyHistogram.bucketCount - 1)
    }

    @Test("counts cumulate, and the sum is that of the durations")
    func record() {
        var histogram = LatencyHistogram()
        for nanoseconds in [0, 10_000, 10_001, 3_000_000, 9_000_000_000, 26_000_000_000] as [UInt64] {
            histogram.record(nanoseconds: nanoseconds)
        }
        let cumulated = [(2, 1), (3, 7), (4, 10), (5, 2), (6, 1)] as [(UInt64, Int)]
        #expect(histogram.cumulativeCounts == cumulated.flatMap { Array(repeating: $0, count: $1) })
        #expect(histogram.count == 6)
        #expect(histogram.sumNanoseconds == 35_003_020_001)
        #expect(histogram.sumSeconds == 35.003020001)
    }

    @Test("parts add up")
    func addition() {
        var whole = LatencyHistogram()
        var parts = [LatencyHistogram(), LatencyHistogram()]
        for number in 0..<100 {
            let nanoseconds = UInt64(number * number) * 100_000
            whole.record(nanoseconds: nanoseconds)
            parts[number % 2].record(nanoseconds: nanoseconds)
        }
        parts[0] += parts[1]
        #expect(parts[0].cumulativeCounts == whole.cumulativeCounts)
        #expect(parts[0].sumNanoseconds == whole.sumNanoseconds)
    }
}
