import PantlerInsight
import PantlerModel
import Testing

@Suite("Namespace tally")
struct NamespaceTallyTests {
    @Test("a hit counts in its tier, and once among the hits and the gets", arguments: Tier.allCases)
    func hits(tier: Tier) {
        var tally = NamespaceTally()
        tally.countHit(tier)
        for other in Tier.allCases { #expect(tally.hits(other) == (other == tier ? 1 : 0)) }
        #expect([tally.hits, tally.misses, tally.gets] == [1, 0, 1])
    }

    @Test("a miss counts under its reason, and once among the misses and the gets", arguments: MissReason.allCases)
    func misses(reason: MissReason) {
        var tally = NamespaceTally()
        tally.countMiss(reason)
        for other in MissReason.allCases { #expect(tally.misses(other) == (other == reason ? 1 : 0)) }
        #expect([tally.hits, tally.misses, tally.gets] == [0, 1, 1])
    }

    @Test("a stale hit is a hit, of no tier")
    func stale() {
        var tally = NamespaceTally()
        tally.hitsStale += 1
        #expect(tally.hits == 1)
        #expect(Tier.allCases.map { tally.hits($0) }.reduce(0, +) == 0)
    }

    @Test("what a negative entry answered is neither a hit nor a miss")
    func absent() {
        var tally = NamespaceTally()
        tally.hitsAbsent += 1
        #expect([tally.hits, tally.misses, tally.gets] == [0, 0, 0])
    }

    @Test("parts add up, in every field")
    func addition() {
        // Each field has a digit of its own, so that a field that is left out, or taken for another, shows.
        let fields: [WritableKeyPath<NamespaceTally, UInt64>] = [
            \.hitsMemory, \.hitsDisk, \.hitsShared, \.hitsStale, \.missAbsent, \.missExpired, \.missEvicted,
            \.missDeleted,
            \.missInvalidated, \.missRejected, \.puts, \.deletes, \.touches, \.counters, \.invalidations,
            \.expirations, \.tierFaults, \.hitsAbsent, \.leasesGiven, \.leasesFilled, \.leasesRefused, \.leasesLost,
            \.leasesExpired, \.leasesReleased, \.leasesFailed, \.earlyRefreshes, \.leasesRunning, \.loadMicroseconds,
            \.waits, \.waitMicroseconds,
        ]
        #expect(
            MemoryLayout<NamespaceTally>.size == fields.count * MemoryLayout<UInt64>.size,
            "a field is missing here"
        )
        var left = NamespaceTally()
        var right = NamespaceTally()
        for (number, field) in fields.enumerated() {
            left[keyPath: field] = UInt64(1 + number)
            right[keyPath: field] = UInt64(1000 * (1 + number))
        }
        left += right
        for (number, field) in fields.enumerated() { #expect(left[keyPath: field] == UInt64(1001 * (1 + number))) }
        #expect(left.hits == 10 * 1001)
        #expect(left.misses == 45 * 1001)
        #expect(left.gets == 55 * 1001)
    }
}
