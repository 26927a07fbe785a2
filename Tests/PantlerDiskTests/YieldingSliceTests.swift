import Testing

@testable import PantlerDisk

@Suite("Giving way to other threads")
struct YieldingSliceTests {
    /// A core on which time passes as the test says.
    private final class Core {
        var now: UInt64 = 1_000_000_000
        var yields = 0
        /// What others take of it at a time.
        var turn: UInt64 = 0

        func slice(for nanoseconds: UInt64) -> YieldingSlice {
            YieldingSlice(for: nanoseconds) {
                self.now
            } yield: {
                self.yields += 1
                self.now += self.turn
            }
        }

        /// Works in pieces of a microsecond. Returns how many there was time for.
        func work(_ slice: inout YieldingSlice) -> Int {
            var pieces = 0
            repeat {
                now += 1000
                pieces += 1
                slice.giveWay()
            } while !slice.isOver
            return pieces
        }
    }

    @Test("it gives way every ten microseconds, until its time is over")
    func alone() {
        let core = Core()
        var slice = core.slice(for: 3_000_000)
        #expect(core.work(&slice) == 3000)
        #expect(core.yields == 299)
        for _ in 0..<100 {
            core.now += 1000
            slice.giveWay()
        }
        #expect(core.yields == 299)
    }

    @Test("what others take a little at a time is part of its time")
    func busy() {
        let core = Core()
        core.turn = 90_000
        var slice = core.slice(for: 3_000_000)
        #expect(core.work(&slice) == 300)
        #expect(core.yields == 30)
    }

    @Test("where others fill the core it gives way once, and has all of its time nevertheless")
    func full() {
        let core = Core()
        core.turn = 12_000_000
        var slice = core.slice(for: 3_000_000)
        #expect(core.work(&slice) == 3000)
        #expect(core.yields == 1)
    }
}
