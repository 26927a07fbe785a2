import PantlerModel
import Support
import Testing

@Suite("The service's clock")
struct ClockTests {
    /// A machine whose clocks a test sets.
    private final class Machine: Sendable {
        let boot = Shared<Int64>(5000)
        let wall = Shared<Int64>(1_800_000_000_000)

        func readings(_ bootID: String = "boot") -> ClockReadings {
            let (boot, wall) = (boot, wall)
            return ClockReadings(bootID: bootID, bootMilliseconds: { boot.value }, wallMilliseconds: { wall.value })
        }
    }

    @Test("begins at the wall clock, and no jump of that moves it")
    func jumps() {
        let machine = Machine()
        let clock = ServiceClock(readings: machine.readings(), resuming: nil)
        #expect(clock.now().milliseconds == 1_800_000_000_000)
        for jump in [86_400_000, -7 * 86_400_000] as [Int64] {
            machine.wall.value += jump
            machine.boot.value += 10
        }
        #expect(clock.now().milliseconds == 1_800_000_000_020)
    }

    @Test(
        "goes on over a restart of the service, whatever the wall clock did meanwhile",
        arguments: [-1_000_000, 0, 1_000_000] as [Int64]
    )
    func restart(jump: Int64) {
        let machine = Machine()
        let anchor = ServiceClock(readings: machine.readings(), resuming: nil).anchor()
        machine.boot.value += 60_000
        machine.wall.value += jump
        let clock = ServiceClock(readings: machine.readings(), resuming: anchor)
        #expect(clock.now().milliseconds == 1_800_000_060_000)
    }

    @Test(
        "a start far ahead is in doubt for a day, and nothing that it expired is to be removed",
        arguments: [29, 31, 26_000] as [Int64]
    )
    func doubt(days: Int64) {
        let machine = Machine()
        let before = ServiceClock(readings: machine.readings(), resuming: nil).anchor()
        machine.boot.value = 10
        machine.wall.value += days * 86_400_000
        let clock = ServiceClock(readings: machine.readings("another"), resuming: before)
        #expect(clock.now().milliseconds == 1_800_000_000_000 + days * 86_400_000)
        guard days > 30 else {
            #expect(clock.doubt == nil)
            #expect(clock.expiryHorizon == .never)
            return
        }
        #expect(clock.doubt?.milliseconds == days * 86_400_000)
        #expect(clock.expiryHorizon.milliseconds == before.serviceMilliseconds)
        // Another start, and another boot still further ahead, change nothing about where it was before.
        let again = ServiceClock(readings: machine.readings("another"), resuming: clock.anchor())
        #expect(again.doubt == clock.doubt)
        machine.wall.value += 400 * 86_400_000
        let further = ServiceClock(readings: machine.readings("third"), resuming: again.anchor())
        #expect(further.doubt == clock.doubt)
        machine.boot.value += 86_400_000
        #expect(again.doubt == nil)
        #expect(again.expiryHorizon == .never)
        #expect(again.anchor().doubt == nil)
    }

    @Test(
        "tells how far the wall clock is ahead, and sees it being set",
        arguments: [86_400_000, -86_400_000] as [Int64]
    )
    func wallOffset(step: Int64) {
        let machine = Machine()
        let clock = ServiceClock(readings: machine.readings(), resuming: nil)
        #expect(clock.wallOffset == 0)
        #expect(clock.lookAtWall() == nil)
        machine.wall.value += step
        #expect(clock.lookAtWall() == step)
        #expect(clock.wallOffset == step)
        #expect(clock.lookAtWall() == nil)
        // What two readings one after the other differ by is no step; many small ones are.
        machine.wall.value += 9
        #expect(clock.lookAtWall() == nil)
        machine.wall.value += 1
        #expect(clock.lookAtWall() == 10)
        let next = ServiceClock(readings: machine.readings(), resuming: clock.anchor())
        #expect(next.wallOffset == step + 10)
    }

    @Test(
        "tells the same moments after a restart, although its two clocks are never read at one instant",
        arguments: ["boot", "another"]
    )
    func toldAfterRestart(bootID: String) {
        let machine = Machine()
        let clock = ServiceClock(readings: machine.readings(), resuming: nil)
        machine.wall.value += 4000
        #expect(clock.lookAtWall() == 4000)
        for _ in 0..<3 {
            machine.wall.value += 1
            let next = ServiceClock(readings: machine.readings(bootID), resuming: clock.anchor())
            #expect(next.wallOffset == 4000)
            #expect(next.lookAtWall() == nil)
        }
    }

    @Test("does not take a pause between two readings for a step")
    func pauses() {
        let machine = Machine()
        let pause = Shared<Int64>(0)
        var readings = machine.readings()
        readings.wallMilliseconds = { [boot = machine.boot, wall = machine.wall] in
            boot.value += pause.value
            wall.value += pause.value
            return wall.value
        }
        let clock = ServiceClock(readings: readings, resuming: nil)
        pause.value = 5000
        #expect(clock.lookAtWall() == nil)
        pause.value = 0
        #expect(clock.lookAtWall() == nil)
        #expect(clock.wallOffset == 0)
    }

    @Test("moments are carried over both ways, and never stays never")
    func carriedOver() {
        for offset in [0, 86_400_000, -86_400_000] as [Int64] {
            let told = Timestamp(milliseconds: 1_800_000_000_000).wallTime(aheadBy: offset)
            #expect(told.milliseconds == 1_800_000_000_000 + offset)
            #expect(told.timestamp(aheadBy: offset).milliseconds == 1_800_000_000_000)
            #expect(Timestamp.never.wallTime(aheadBy: offset) == .never)
            #expect(WallTime.never.timestamp(aheadBy: offset) == .never)
            #expect(Timestamp(milliseconds: .max - 1).wallTime(aheadBy: offset) != .never)
        }
    }

    @Test(
        "asks the wall clock across a reboot, and never goes back",
        arguments: [(-1_000_000, 0), (90_000, 90_000)] as [(Int64, Int64)]
    )
    func reboot(away: Int64, passed: Int64) {
        let machine = Machine()
        let anchor = ServiceClock(readings: machine.readings(), resuming: nil).anchor()
        machine.boot.value = 10
        machine.wall.value += away
        let clock = ServiceClock(readings: machine.readings("another"), resuming: anchor)
        #expect(clock.now().milliseconds == 1_800_000_000_000 + passed)
    }
}
