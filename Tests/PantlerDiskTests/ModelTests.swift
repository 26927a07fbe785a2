import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The disk tier against a dictionary")
struct ModelTests {
    private struct Place: Hashable {
        var namespace: NamespaceID
        var key: String
    }

    @Test("thousands of random operations, restarts and crashes in between, leave both the same", arguments: 0..<6)
    func random(round: Int) throws {
        var random = SeededGenerator()
        var fixture = try Fixture {
            $0.lingerMilliseconds = round % 2 == 0 ? 0 : 20
            // Rows at once; the journal for every commit, which is merged all the time; the journal as it is by default.
            $0.journaledChanges = [.max, 1, $0.journaledChanges][round / 2]
            if round / 2 == 1 { $0.journalEntries = 12 }
            // So short that it is copied into the file all the time.
            if round < 4 { $0.walBytes = 64 << 10 }
        }
        var model: [Place: Entry] = [:]
        func place() -> Place {
            Place(
                namespace: NamespaceID.random(in: 1...3, using: &random),
                key: String(repeating: "k", count: Int.random(in: 1...3, using: &random))
                    + "\(Int.random(in: 0..<40, using: &random))"
            )
        }
        func compare(_ step: Int) throws {
            for namespace in 1...3 as ClosedRange<NamespaceID> {
                let expected = model.filter { $0.key.namespace == namespace }
                let listed = try fixture.list(in: namespace)
                #expect(
                    listed.map { String(decoding: $0.key, as: UTF8.self) } == expected.keys.map { $0.key }.sorted(),
                    "\(random), step \(step)"
                )
                for row in listed {
                    let key = Place(namespace: namespace, key: String(decoding: row.key, as: UTF8.self))
                    #expect(row.version == model[key]?.version, "\(random), step \(step)")
                }
            }
        }
        for step in 0..<1500 {
            let place = place()
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<50:
                let size = Int.random(in: 0...3000, using: &random)
                let value = Bool.random(using: &random) ? random.bytes(size) : [UInt8](repeating: 5, count: size)
                let ttl = Bool.random(using: &random) ? Int64.random(in: 1...100_000, using: &random) : nil
                let entry = fixture.entry(value, ttl: ttl, tags: step % 3 == 0 ? ["a", "b"] : [])
                model[place] = entry
                let ticket = fixture.put(place.key, entry, in: place.namespace)
                let durability: Durability = Int.random(in: 0..<20, using: &random) == 0 ? .through : .behind
                #expect(fixture.settle(ticket, durability) == nil)
            case 50..<65:
                model[place] = nil
                fixture.delete(place.key, in: place.namespace)
            case 65..<95:
                let found = try fixture.read(place.key, in: place.namespace)
                #expect(found == model[place], "\(random), step \(step)")
            case 95:
                let gone = model.keys.filter { $0.namespace == place.namespace && $0.key.hasPrefix(place.key) }
                let before = fixture.nextVersion()
                #expect(try fixture.removePrefix(place.key, before: before, in: place.namespace) == gone.count)
                for key in gone { model[key] = nil }
            case 96:
                try fixture.tier.flush()
            case 97:
                try fixture.reopen()
            case 98:
                // A change that is awaited does not wait for values that are still being deflated, which a crash may take.
                try fixture.tier.flush()
                #expect(fixture.putThrough("last", fixture.entry("v"), in: 4) == nil)
                fixture = try fixture.crashed()
            default:
                try compare(step)
            }
        }
        try compare(1500)
        try fixture.tier.flush()
        for namespace in 1...3 as ClosedRange<NamespaceID> {
            let count = model.keys.count { $0.namespace == namespace }
            #expect(fixture.tier.usage(of: namespace).entries == Int64(count), "\(random)")
        }
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [], "\(random)")
    }

    @Test("readers and writers at once see each key's versions grow, and never a torn value")
    func concurrent() throws {
        let fixture = try Fixture()
        let tier = fixture.tier
        let addresses = (0..<8).map { fixture.address("k\($0)") }
        let options = PutOptions(compressionThreshold: 100, compressionLevel: 1)
        let isOver = Shared(false)
        let readers = BackgroundThreads(2) { number in
            var seen = [Version](repeating: 0, count: addresses.count)
            var reads = 0
            while !isOver.value || reads < 100 {
                let place = reads % addresses.count
                let done = BlockingAnswer<Result<Entry?, TierFault>>()
                tier.read(addresses[place]) { done.answer($0) }
                if let entry = try done.wait().get() {
                    guard entry.version >= seen[place] else {
                        throw Failure("back from \(seen[place]) to \(entry.version)")
                    }
                    guard entry.value == Array(repeating: UInt8(entry.version % 251), count: 300) else {
                        throw Failure("torn at \(entry.version)")
                    }
                    seen[place] = entry.version
                }
                reads += 1
            }
            return reads
        }
        for version in 1...4000 as ClosedRange<Version> {
            let value = [UInt8](repeating: UInt8(version % 251), count: 300)
            let entry = Entry(value: value, kind: .json, version: version, expiresAt: .never)
            let ticket = tier.enqueue(.put(addresses[Int(version) % 8], entry, options))
            if version % 400 == 0 { #expect(fixture.settle(ticket) == nil) }
        }
        isOver.value = true
        #expect(try readers.join().allSatisfy { $0 >= 100 })
    }
}
