import PantlerInsight
import PantlerModel
import Support
import Testing

@Suite("Miss memory")
struct MissMemoryTests {
    private static let reasons = MissReason.allCases.filter { $0 != .absent }

    @Test("a reason comes back, the newest one, until it is forgotten", arguments: reasons)
    func roundTrip(reason: MissReason) {
        var memory = MissMemory(bytes: 4096)
        #expect(memory.reason(for: 77) == nil)
        memory.record(77, .deleted)
        memory.record(77, reason)
        #expect(memory.reason(for: 77) == reason)
        memory.forget(77)
        #expect(memory.reason(for: 77) == nil)
        memory.record(77, reason)
        memory.record(77, .absent)
        #expect(memory.reason(for: 77) == nil)
    }

    @Test("a key whose bits are all 0, or all 1, is a key like others", arguments: [0, UInt64.max])
    func edges(hash: UInt64) {
        var memory = MissMemory(bytes: 64)
        #expect(memory.reason(for: hash) == nil)
        memory.record(hash, .expired)
        #expect(memory.reason(for: hash) == .expired)
        #expect(memory.reason(for: ~hash) == nil)
    }

    @Test("it agrees with sets of sixteen that forget their oldest", arguments: [64, 128, 1 << 12])
    func model(bytes: Int) {
        var generator = SeededGenerator()
        var memory = MissMemory(bytes: bytes)
        let sets = UInt64(bytes / 64)
        // Newest first.
        var model: [UInt64: [(hash: UInt64, reason: MissReason)]] = [:]
        // Two keys of one set whose 29 bits of fingerprint are equal are one to the memory, and two to the model.
        var fingerprints: Set<UInt64> = []
        let hashes = (0..<40 * sets).map { _ in generator.next() }
            .filter { fingerprints.insert($0 >> 27 & (1 << 29 - 1)).inserted }
        for step in 0..<20_000 {
            let hash = hashes[Int.random(in: 0..<hashes.count, using: &generator)]
            var set = model[hash % sets, default: []]
            switch Int.random(in: 0..<4, using: &generator) {
            case 0, 1:
                let reason = Self.reasons.randomElement(using: &generator) ?? .deleted
                memory.record(hash, reason)
                set.removeAll { $0.hash == hash }
                set.insert((hash, reason), at: 0)
                if set.count > 16 { set.removeLast() }
            case 2:
                memory.forget(hash)
                set.removeAll { $0.hash == hash }
            default:
                #expect(memory.reason(for: hash) == set.first { $0.hash == hash }?.reason, "step \(step), \(generator)")
            }
            model[hash % sets] = set
        }
        for hash in hashes {
            #expect(memory.reason(for: hash) == model[hash % sets]?.first { $0.hash == hash }?.reason, "\(generator)")
        }
    }

    @Test("a table remembers a quarter of a key for each of its bytes")
    func capacity() {
        var generator = SeededGenerator()
        var memory = MissMemory(bytes: 1 << 16)
        let hashes = (0..<1 << 14).map { _ in generator.next() }
        for hash in hashes { memory.record(hash, .evicted) }
        // Sets are filled unevenly: about a tenth of the oldest fall out of theirs.
        let kept = hashes.count { memory.reason(for: $0) == .evicted }
        #expect(kept > hashes.count * 8 / 10, "\(kept), \(generator)")
        // Of a million strangers, at most a handful may be taken for one of them.
        let strangers = (0..<1_000_000).count { _ in memory.reason(for: generator.next()) != nil }
        #expect(strangers < 5, "\(strangers), \(generator)")
    }

    @Test("sizes are rounded down to a power of two, and below one set nothing is remembered")
    func sizes() {
        #expect([0, 63, 64, 127, 128, 1000].map { MissMemory.allocatedBytes(for: $0) } == [0, 0, 128, 128, 192, 576])
        for bytes in [0, -5, 63] {
            var memory = MissMemory(bytes: bytes)
            memory.record(1, .deleted)
            memory.forget(1)
            #expect(memory.reason(for: 1) == nil)
        }
    }
}
