import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("When keys were last used")
struct RecentUseTests {
    private let hash = EntryHash(seed: 11)

    private func hash(_ number: Int) -> UInt64 { hash.hash(namespace: 1, key: Array("\(number)".utf8)) }

    /// Notes a use, as the writer does: epochs go on with it.
    private func use(_ number: Int, _ uses: inout LastUses, rows: Int, now: UInt64 = 0) {
        while uses.isDue(rows: rows) { uses.advance(now: now) }
        uses.note(hash(number))
    }

    @Test("what was used longer ago is older, and what was used before twice the rows were is as old as what never was")
    func ages() {
        var uses = LastUses(capacity: 8192)
        for number in 0..<9000 { use(number, &uses, rows: 3000) }
        let ages = stride(from: 8999, through: 0, by: -100).map { uses.age(of: hash($0)) }
        // Sixteen epochs are as many uses as there are rows. What shares its bits with a younger one seems younger.
        let misjudged = ages.enumerated().count { back, age in abs(age - min(back * 100 / 187, 31)) > 1 }
        #expect(misjudged <= 9, "\(ages)")
        #expect(uses.age(of: hash(8999)) == 0)
        #expect((20_000..<21_000).count { uses.age(of: hash($0)) < LastUses.ages } < 50)
    }

    @Test("one use more makes a key young, however often it is noted")
    func again() {
        var uses = LastUses(capacity: 4096)
        for number in 0..<2000 { use(number, &uses, rows: 1000) }
        let before = uses.age(of: hash(900))
        use(900, &uses, rows: 1000)
        #expect(before > 10)
        #expect(uses.age(of: hash(900)) == 0)
        for _ in 0..<5000 { use(900, &uses, rows: 1000) }
        #expect((900..<1000).count { abs(uses.age(of: hash($0 + 1000)) - (1000 - ($0 - 900) - 1) / 63) > 16 } < 10)
        #expect(uses.age(of: hash(1999)) <= 1, "it is one key, and time goes on by keys")
    }

    @Test("a moment has the age of the epoch that it was in; what is older than all of them is oldest")
    func moments() {
        var uses = LastUses(capacity: 4096)
        #expect(uses.age(at: 5) == 0)
        for epoch in 1...10 {
            uses.note(hash(epoch))
            uses.advance(now: UInt64(epoch) * 100)
        }
        #expect(uses.age(at: 1000) == 0)
        #expect(uses.age(at: 999) == 1)
        #expect(uses.age(at: 100) == 9)
        #expect(uses.age(at: 99) == 10)
        uses.note(hash(77), at: 350)
        #expect(uses.age(of: hash(77)) == 7)
        uses.note(hash(77), at: 250)
        #expect(uses.age(of: hash(77)) == 7, "an older use says nothing new")
        for epoch in 11...50 { uses.advance(now: UInt64(epoch) * 100) }
        #expect(uses.age(of: hash(77)) == LastUses.ages)
        #expect(uses.age(at: 1000) == LastUses.ages)
        #expect(uses.age(at: 5000) == 0)
    }

    @Test("a tier that grows forgets nothing of what is young")
    func growth() {
        let uses = RecentUse()
        for number in 0..<20_000 {
            uses.advance(rows: number, now: 0)
            uses.note(hash(number))
        }
        let known = (19_000..<20_000).count { uses.age(hash($0)) < 3 }
        #expect(known > 990, "\(known)")
    }

    @Test("of the rows that a hand looks at the oldest quarter leaves, and never none")
    func hand() {
        var hand = EvictionHand()
        #expect(hand.leastAge(adding: [0, 0, 0, 0]) == 0)
        var other = EvictionHand()
        #expect(other.leastAge(adding: [31, 5, 3, 1, 0, 0, 0, 0]) == 5)
        // What it saw before counts, too: among young ones it need not take any.
        for _ in 0..<20 { _ = other.leastAge(adding: [31, 31, 31, 5, 3, 1, 0, 0]) }
        #expect(other.leastAge(adding: [2, 2, 2, 2]) == 31)
    }
}
