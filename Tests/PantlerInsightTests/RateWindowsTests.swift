import PantlerInsight
import Support
import Testing

@Suite("Rate windows")
struct RateWindowsTests {
    /// The plainest implementation: every sample is kept.
    private struct Reference {
        var samples: [(second: UInt64, gets: UInt64, hits: UInt64)] = []

        /// The counters' difference to the last sample at or before `begin`.
        func window(from begin: Int, gets: UInt64, hits: UInt64) -> [UInt64] {
            let base = samples.last { Int($0.second) <= begin }
            return [gets - (base?.gets ?? 0), hits - (base?.hits ?? 0)]
        }
    }

    private func window(
        _ windows: RateWindows,
        _ seconds: Int,
        _ gets: UInt64,
        _ hits: UInt64,
        at now: UInt64
    ) -> [UInt64] {
        let window = windows.window(seconds: seconds, gets: gets, hits: hits, atSeconds: now)
        return [window.gets, window.hits]
    }

    @Test("before the first sample every window counts since the start")
    func start() {
        let windows = RateWindows()
        for seconds in [60, 300, 3600] { #expect(window(windows, seconds, 7, 5, at: 1000) == [7, 5]) }
    }

    @Test("a get leaves a window when it is as old as the window is long", arguments: [60, 300, 3600])
    func leaving(seconds: Int) {
        var windows = RateWindows()
        // A second that begins no coarser step, so that the steps' ends are where the samples are.
        let start: UInt64 = 999
        for second in start...start + 4000 {
            windows.sample(gets: 10, hits: 4, atSeconds: second)
            let expected: [UInt64] = second - start < seconds ? [10, 4] : [0, 0]
            #expect(window(windows, seconds, 10, 4, at: second) == expected, "second \(second)")
        }
    }

    @Test("windows agree with one that keeps every sample, at their resolution", arguments: 1...4)
    func agreement(number: Int) {
        var generator = SeededGenerator()
        var windows = RateWindows()
        var reference = Reference()
        var (gets, hits, now) = (UInt64(0), UInt64(0), UInt64(5000))
        for _ in 0..<6000 {
            // Ticks that are missed, that come twice, and times in which nothing happens.
            now += [0, 1, 1, 1, 1, 1, 1, 3, 40].randomElement(using: &generator) ?? 1
            if now % 1000 < 700 {
                let more = UInt64.random(in: 0...50, using: &generator)
                gets += more
                hits += UInt64.random(in: 0...more, using: &generator)
            }
            windows.sample(gets: gets, hits: hits, atSeconds: now)
            reference.samples.append((now, gets, hits))
            let (laterGets, laterHits) = (gets + 5, hits + 2)
            for (seconds, resolution) in [(60, 1), (300, 10), (3600, 30)] {
                let got = window(windows, seconds, laterGets, laterHits, at: now)
                let begin = Int(now) - seconds
                let least = reference.window(from: begin, gets: laterGets, hits: laterHits)
                let most = reference.window(from: begin - resolution, gets: laterGets, hits: laterHits)
                #expect(got[0] >= least[0] && got[0] <= most[0], "\(seconds) s at \(now), \(generator)")
                #expect(got[1] >= least[1] && got[1] <= most[1], "\(seconds) s at \(now), \(generator)")
                if resolution == 1 { #expect(got == least, "at \(now), \(generator)") }
            }
        }
    }

    @Test("a reading that a later sample overtook gives no negative figures, and never more hits than gets")
    func overtaken() {
        var windows = RateWindows()
        windows.sample(gets: 100, hits: 50, atSeconds: 10)
        #expect(window(windows, 60, 90, 45, at: 9) == [100, 50])
        #expect(window(windows, 60, 100, 60, at: 10) == [100, 60])
        #expect(window(windows, 60, 90, 200, at: 10) == [100, 100])
        windows.sample(gets: 90, hits: 45, atSeconds: 11)
        #expect(window(windows, 60, 100, 50, at: 11) == [100, 50])
    }

    @Test("more gets than a step can hold are not lost")
    func overflow() {
        var windows = RateWindows()
        let many = UInt64(UInt32.max) * 3
        for second in 1...5 as ClosedRange<UInt64> { windows.sample(gets: many, hits: many, atSeconds: second) }
        #expect(window(windows, 60, many, many, at: 5) == [many, many])
        // Steps that cannot be joined stay apart.
        for second in 6...200 as ClosedRange<UInt64> {
            windows.sample(gets: many + second, hits: many, atSeconds: second)
        }
        #expect(window(windows, 300, many + 200, many, at: 200) == [many + 200, many])
    }
}
