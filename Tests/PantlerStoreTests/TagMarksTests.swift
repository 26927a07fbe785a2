import PantlerModel
import Support
import Testing

@testable import PantlerStore

@Suite("The marks of a namespace's tags")
struct TagMarksTests {
    @Test("are those of a dictionary, in parts of which none has many more than its share")
    func likeADictionary() {
        var random = SeededGenerator()
        var marks = TagMarks()
        var model: [EntryTag: Watermark] = [:]
        for step in 0..<20_000 {
            let tag = EntryTag("tag-\(Int.random(in: 0..<12_000, using: &random))")
            let mark = Int.random(in: 0..<5, using: &random) == 0 ? nil : Watermark(goneBefore: Version(step))
            marks[tag] = mark
            model[tag] = mark
        }
        #expect(marks.count == model.count)
        for number in 0..<12_000 {
            let tag = EntryTag("tag-\(number)")
            #expect(marks[tag] == model[tag], "\(random)")
        }
        let parts = (0..<TagMarks.partCount).map { marks.part($0) }
        #expect(parts.reduce(into: [:]) { $0.merge($1) { $1 } } == model, "\(random)")
        #expect(parts.allSatisfy { $0.count < 3 * model.count / TagMarks.partCount }, "\(random)")
    }
}
