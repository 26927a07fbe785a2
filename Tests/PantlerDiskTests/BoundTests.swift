import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerDisk

@Suite("The bounds of the disk tier")
struct BoundTests {
    /// What an entry of the key and `size` bytes costs.
    private func cost(_ key: String, _ size: Int) -> Int64 {
        RowCost.bytes(content: key.utf8.count + size, key: key.utf8.count, expires: false)
    }

    private func value(_ size: Int) -> [UInt8] { [UInt8](repeating: 7, count: size) }

    /// Puts entries of one size, each committed by itself, so that their order is certain.
    private func fill(_ fixture: Fixture, _ keys: [String], _ size: Int = 1000, in namespace: NamespaceID = 1) throws {
        for key in keys { fixture.put(key, fixture.entry(value(size)), in: namespace, threshold: .max) }
        try fixture.tier.flush()
    }

    @Test("usage is what the rows cost, and goes down to nothing with them")
    func usage() throws {
        let fixture = try Fixture()
        try fill(fixture, ["aa", "bb"], 500)
        #expect(fixture.tier.usage(of: 1) == TierUsage(entries: 2, bytes: 2 * cost("aa", 500)))
        try fill(fixture, ["aa"], 2000)
        #expect(fixture.tier.usage(of: 1) == TierUsage(entries: 2, bytes: cost("aa", 500) + cost("aa", 2000)))
        try fixture.reopen()
        #expect(fixture.tier.usage(of: 1) == TierUsage(entries: 2, bytes: cost("aa", 500) + cost("aa", 2000)))
        #expect(fixture.tier.usage(of: 2) == TierUsage())
        fixture.delete("aa")
        fixture.delete("bb")
        try fixture.tier.flush()
        #expect(fixture.tier.usage(of: 1) == TierUsage())
    }

    @Test("the oldest leave first, and just as many as it takes")
    func oldestFirst() throws {
        let limit = 10 * cost("k0", 1000)
        let fixture = try Fixture { $0.maxBytes = limit }
        try fill(fixture, (0..<10).map { "k\($0)" })
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == [])
        try fill(fixture, ["n0", "n1", "n2"])
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == ["k0", "k1", "k2"])
        #expect(fixture.tier.usage(of: 1).bytes == limit)
        #expect(fixture.tier.health().evictions == 3)
        try fixture.reopen()
        try fill(fixture, ["n3"])
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == ["k0", "k1", "k2", "k3"])
    }

    @Test("of the rows that are here longest those leave that were not read or rewritten lately")
    func secondChance() throws {
        let fixture = try Fixture { $0.maxBytes = 5 * cost("k0", 1000) }
        try fill(fixture, (0..<5).map { "k\($0)" })
        _ = try fixture.read("k0")
        try fill(fixture, ["k2"])
        try fill(fixture, ["n0", "n1"])
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == ["k1", "k3"])
        // Those that were passed over stand behind the others now, in the order of a restart, too.
        #expect(try fixture.rowOrder() == ["k4", "n0", "n1", "k0", "k2"])
    }

    @Test("what is in memory and was used there lately stays while colder rows are on disk, also if those came later")
    func usedInMemory() throws {
        let count = 400
        let fixture = try Fixture { $0.maxBytes = Int64(count) * cost("k000", 1000) }
        let keys = (0..<count).map { "k\($0 + 100)" }
        try fill(fixture, keys)
        let hot = Set(keys.prefix(100))
        var evicted: [String] = []
        for round in 0..<6 {
            fixture.clock.advance(byMilliseconds: 1000)
            let now = fixture.clock.monotonicMicroseconds()
            // Half of them are in memory all the time; the others were there, and left it.
            fixture.delegate.state.withLock { state in
                for key in hot.sorted().prefix(50) { state.lastUses[key] = now }
            }
            for key in hot.sorted().suffix(50) { fixture.tier.noteLastUse(fixture.address(key).hash, at: now) }
            try fill(fixture, (0..<100).map { "n\(round * 100 + $0 + 100)" })
            try fixture.tier.tidy()
            evicted = fixture.delegate.departed(.evicted)
        }
        #expect(evicted.count == 600)
        let lost = evicted.filter { hot.contains($0) }
        // Bits that two keys share can only make a cold one stay.
        #expect(lost.isEmpty, "\(lost)")
    }

    @Test("rows that all were used just now leave all the same when there are too many")
    func allHot() throws {
        let fixture = try Fixture { $0.maxBytes = 50 * cost("k0000", 1000) }
        for round in 0..<5 {
            let keys = (0..<100).map { "k\(round)\($0 + 100)" }
            fixture.delegate.state.withLock { state in for key in keys { state.lastUses[key] = .max / 2 } }
            try fill(fixture, keys)
            try fixture.tier.tidy()
            #expect(fixture.tier.usage(of: 1).entries == 50)
        }
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("large rows stay where they are, and are not written anew for staying")
    func largeRows() throws {
        let fixture = try Fixture { $0.maxBytes = 10 * cost("k0", 100_000) }
        try fill(fixture, (0..<10).map { "k\($0)" }, 100_000)
        for key in ["k0", "k1", "k2"] { _ = try fixture.read(key) }
        try fill(fixture, ["n0", "n1"], 100_000)
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == ["k3", "k4"])
        #expect(try fixture.rowOrder() == ["k0", "k1", "k2", "k5", "k6", "k7", "k8", "k9", "n0", "n1"])
    }

    @Test("what has expired makes room before anything that lives has to")
    func expiredFirst() throws {
        let fixture = try Fixture { $0.maxBytes = 5 * cost("k0", 1000) + 100 }
        try fill(fixture, ["k0", "k1"])
        for key in ["e0", "e1"] {
            fixture.put(key, fixture.entry(value(1000), ttl: 1000, staleTTL: 1000), threshold: .max)
        }
        try fill(fixture, ["k2"])
        fixture.clock.advance(byMilliseconds: 2000)
        try fill(fixture, ["n0", "n1"])
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == [])
        #expect(Set(fixture.delegate.departed(.expired)) == ["e0", "e1"])
        #expect(try fixture.keys() == ["k0", "k1", "k2", "n0", "n1"])
    }

    @Test("a namespace is held to its own bound, at the cost of its own entries")
    func namespaceBound() throws {
        let fixture = try Fixture()
        try fill(fixture, (0..<4).map { "a\($0)" }, in: 1)
        try fill(fixture, (0..<4).map { "b\($0)" }, in: 2)
        fixture.delegate.state.withLock { $0.bounds[2] = 3 * cost("b0", 1000) }
        try fill(fixture, ["b4"], in: 2)
        try fixture.tier.tidy()
        #expect(fixture.delegate.departed(.evicted) == ["b0", "b1"])
        #expect(fixture.tier.usage(of: 2).entries == 3)
        #expect(fixture.tier.usage(of: 1).entries == 4)
    }

    @Test("a bound that shrinks takes effect by itself")
    func shrinkingBound() throws {
        let fixture = try Fixture()
        try fill(fixture, (0..<4).map { "a\($0)" })
        fixture.delegate.state.withLock { $0.bounds[1] = 0 }
        try eventually("all leave") { fixture.tier.usage(of: 1).entries == 0 }
    }

    @Test("the bound of the whole tier can be changed while it serves")
    func changedBound() throws {
        let fixture = try Fixture()
        try fill(fixture, (0..<10).map { "k\($0)" })
        fixture.tier.setMaxBytes(4 * cost("k0", 1000))
        // They are told last, once they count no more.
        try eventually("six leave") { fixture.delegate.departed(.evicted).count == 6 }
        #expect(fixture.delegate.departed(.evicted) == (0..<6).map { "k\($0)" })
        #expect(fixture.tier.usage(of: 1).entries == 4)
        fixture.tier.setMaxBytes(5 * cost("k0", 1000))
        try fill(fixture, ["n0", "n1"])
        try fixture.tier.tidy()
        #expect(fixture.tier.usage(of: 1).entries == 5)
    }

    @Test("a namespace of many rows is brought within a bound in many steps")
    func manySteps() throws {
        let fixture = try Fixture()
        try fill(fixture, (0..<3000).map { "\($0)" }, 10)
        let before = fixture.tier.usage(of: 1)
        fixture.delegate.state.withLock { $0.bounds[1] = before.bytes / 10 }
        try eventually("they leave") { fixture.tier.usage(of: 1).bytes <= before.bytes / 10 }
        try fixture.tier.tidy()
        #expect(fixture.tier.usage(of: 1).entries + Int64(fixture.delegate.departed(.evicted).count) == 3000)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test(
        "the cost of a row is what the file grows by",
        arguments: [10, 200, 900, 1400, 2500, 4000, 4100, 6000, 30_000]
    )
    func cost(size: Int) throws {
        let fixture = try Fixture()
        let count = min(max(40, 2_000_000 / size), 10_000)
        for number in 0..<count {
            let entry = fixture.entry(value(size), ttl: number % 2 == 0 ? 100_000_000 + Int64(number) : nil)
            fixture.put("some/longer/key/\(number * 7919 % count)", entry, threshold: .max)
            if number % 500 == 0 { try fixture.tier.flush() }
        }
        try fixture.tier.flush()
        let usage = fixture.tier.usage(of: 1)
        fixture.tier.close()
        let file = DatabaseFile.bytes(of: fixture.file)
        #expect(usage.entries == Int64(count))
        #expect((0.8...1.2).contains(Double(usage.bytes) / Double(file)), "\(usage.bytes) counted, \(file) on disk")
    }

    @Test("the file gives room back once a quarter of it is unused")
    func shrinking() throws {
        let fixture = try Fixture()
        try fill(fixture, (0..<1000).map { "k/\($0)" }, 5000)
        try fixture.tier.flush()
        #expect(try fixture.removePrefix("k/") == 1000)
        try eventually("the file shrinks") {
            try fixture.number("PRAGMA freelist_count") * 4 <= fixture.number("PRAGMA page_count")
                || fixture.number("PRAGMA freelist_count") <= 256
        }
        fixture.tier.close()
        #expect(DatabaseFile.bytes(of: fixture.file) < 2_000_000)
    }

    @Test("the log stays within its bound while much is written")
    func logBound() throws {
        let fixture = try Fixture { $0.walBytes = 1 << 20 }
        for round in 0..<30 {
            try fill(fixture, (0..<100).map { "\(round)/\($0)" }, 5000)
            #expect(fixture.tier.health().walBytes < 8 << 20)
        }
    }
}
