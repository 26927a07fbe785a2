import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The filter of keys")
struct KeyFilterTests {
    @Test("what was inserted is never denied, and little else is taken for it", arguments: [1, 100, 50_000])
    func sure(capacity: Int) {
        var random = SeededGenerator()
        let filter = KeyFilter(capacity: capacity)
        let keys = (0..<capacity).map { _ in random.next() }
        for key in keys { filter.insert(key) }
        #expect(keys.allSatisfy { filter.mayContain($0) }, "\(random)")
        let others = (0..<20_000).count { _ in filter.mayContain(random.next()) }
        #expect(others < 600, "\(random)")
    }

    @Test("until the first is ready anything may be there; a new one is due when as many came as it has room for")
    func turns() {
        let filters = KeyFilters()
        #expect(filters.mayContain(5) && filters.isDue)
        let first = filters.begin(rows: 3)
        #expect(!filters.isDue)
        filters.insert(7)
        first.insert(8)
        #expect(filters.mayContain(5))
        filters.finish(isWhole: true)
        #expect(filters.mayContain(7) && filters.mayContain(8) && !filters.mayContain(5))
        for hash in 0...UInt64(KeyFilters.leastCapacity / 2) { filters.insert(hash &* 0x9e37_79b9_7f4a_7c15) }
        #expect(filters.isDue)
        let second = filters.begin(rows: 1)
        filters.insert(1 << 63)
        #expect(filters.mayContain(1 << 63) && filters.mayContain(7))
        filters.finish(isWhole: false)
        #expect(filters.mayContain(1 << 63) && filters.mayContain(7), "the old one goes on after a walk that failed")
        #expect(second !== filters.begin(rows: 1))
        filters.finish(isWhole: true)
        #expect(!filters.mayContain(7), "bits of rows that are gone go with it")
    }

    @Test("a key without a row is not looked for in the file, one with a row is, after a restart too")
    func noLook() throws {
        let fixture = try Fixture()
        for number in 0..<500 { fixture.put("\(number)", fixture.entry("v")) }
        try fixture.reopen()
        fixture.put("new", fixture.entry("v"))
        try fixture.tier.flush()
        try fixture.sql("ALTER TABLE entries RENAME TO elsewhere")
        try eventually("the walk is over") { (try? fixture.read("absent")) == .some(nil) }
        for key in ["0", "499", "new"] { #expect(throws: TierFault.self, "\(key)") { _ = try fixture.read(key) } }
        try fixture.sql("ALTER TABLE elsewhere RENAME TO entries")
        for key in ["0", "499", "new"] { #expect(try fixture.value(key) == "v") }
    }

    @Test("all keys are walked over, in steps")
    func walk() throws {
        let fixture = try Fixture()
        for number in 0..<50 { fixture.put("\(number)", fixture.entry("v"), in: NamespaceID(number % 3)) }
        try fixture.tier.flush()
        let reader = try Reader(path: fixture.file, cacheBytes: 1 << 16)
        var found: Set<String> = []
        var last: (NamespaceID, [UInt8])? = (0, [])
        while let from = last {
            last = try reader.keys(after: from, limit: 7) { _, namespace, key in
                found.insert("\(namespace) \(String(decoding: key, as: UTF8.self))")
            }
        }
        #expect(found == Set((0..<50).map { "\($0 % 3) \($0)" }))
    }
}
