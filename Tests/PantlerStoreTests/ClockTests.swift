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
