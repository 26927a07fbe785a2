import PantlerInsight
import Testing

@Suite("Load times")
struct LoadTimesTests {
    @Test("a key's last load is remembered, until another key takes its place")
    func places() {
        var times = LoadTimes()
        #expect(times.milliseconds(5) == nil)
        times.note(5, milliseconds: 70)
        #expect(times.milliseconds(5) == 70)
        times.note(5, milliseconds: 90)
        #expect(times.milliseconds(5) == 90)
        #expect(times.milliseconds(6) == nil)
        // The same place, and another mark.
        let other: UInt64 = 5 | 2 << 12
        #expect(times.milliseconds(other) == nil)
        times.note(other, milliseconds: 1)
        #expect(times.milliseconds(5) == nil)
    }
}
