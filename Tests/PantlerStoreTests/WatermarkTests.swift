import PantlerModel
import Support
import Testing

@Suite("Watermarks")
struct WatermarkTests {
    private func mark(_ before: Version, _ since: Int64) -> StaleMark {
        StaleMark(before: before, since: Timestamp(milliseconds: since))
    }

    @Test("an entry is stale since the first mark that came after it was written")
    func first() {
        let mark = Watermark(staleMarks: [mark(30, 300), mark(10, 100), mark(20, 200)])
        let since = ([0, 9, 10, 19, 20, 29, 30, 31] as [Version]).map { mark.staleSince($0)?.milliseconds }
        #expect(since == [100, 100, 200, 200, 300, 300, nil, nil])
        #expect(mark.newest == 30)
    }

    @Test("marks in any order say what all of them say together")
    func model() {
        var generator = SeededGenerator()
        for _ in 0..<200 {
            let marks = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                mark(.random(in: 1...40, using: &generator), .random(in: 0...15, using: &generator))
            }
            let gone = Version.random(in: 0...20, using: &generator)
            var watermark = Watermark(goneBefore: gone)
            for mark in marks { watermark = watermark.merged(Watermark(staleMarks: [mark])) }
            for version in gone...42 {
                let expected = marks.filter { $0.before > version }.map(\.since).min()
                #expect(watermark.staleSince(version) == expected, "\(generator)")
            }
            #expect(watermark == Watermark(goneBefore: gone, staleMarks: marks))
        }
    }

    @Test("however many marks there are, few are kept, and none prolongs anything")
    func bounded() {
        var watermark = Watermark()
        for number in 1...1000 {
            watermark = watermark.merged(Watermark(staleMarks: [mark(Version(number * 10), Int64(number * 100))]))
        }
        #expect(watermark.staleMarks.count == Watermark.staleLimit)
        for number in 1...1000 {
            let since = watermark.staleSince(Version(number * 10 - 1))?.milliseconds ?? .max
            #expect(since <= number * 100)
        }
        #expect(watermark.staleSince(10_000) == nil)
    }

    @Test("what nobody needs is forgotten, and what comes later stays")
    func forgetting() {
        var watermark = Watermark(goneBefore: 5, staleMarks: [mark(10, 1), mark(20, 2), mark(30, 3), mark(40, 4)])
        watermark.forgetStale(before: 40) { $0.before == 20 }
        #expect(watermark == Watermark(goneBefore: 5, staleMarks: [mark(20, 2), mark(40, 4)]))
    }
}
