#if canImport(Glibc)
internal import Glibc
#endif

/// The seam for time: everything that asks what time it is holds one of these, so that tests move time by hand.
package protocol Clock: Sendable {
    /// The present moment on the service's time line. Never goes backwards, not even over a restart.
    func now() -> Timestamp
    /// Microseconds on a monotonic clock of any origin, for durations and for the order of accesses.
    func monotonicMicroseconds() -> UInt64
}

/// The readings a `ServiceClock` is made of; made up in tests.
package struct ClockReadings: Sendable {
    /// Names the machine's present boot: two readings of `bootMilliseconds` compare only within one boot.
    package var bootID: String
    /// Milliseconds since boot, suspend included (CLOCK_BOOTTIME).
    package var bootMilliseconds: @Sendable () -> Int64
    /// Milliseconds since the Unix epoch by the wall clock.
    package var wallMilliseconds: @Sendable () -> Int64

    package init(
        bootID: String,
        bootMilliseconds: @escaping @Sendable () -> Int64,
        wallMilliseconds: @escaping @Sendable () -> Int64
    ) {
        self.bootID = bootID
        self.bootMilliseconds = bootMilliseconds
        self.wallMilliseconds = wallMilliseconds
    }
}

/// Where the service's time line stood when it was last written down. Kept in the data folder.
package struct ClockAnchor: Hashable, Sendable {
    package var bootID: String
    package var bootMilliseconds: Int64
    package var wallMilliseconds: Int64
    package var serviceMilliseconds: Int64

    package init(bootID: String, bootMilliseconds: Int64, wallMilliseconds: Int64, serviceMilliseconds: Int64) {
        self.bootID = bootID
        self.bootMilliseconds = bootMilliseconds
        self.wallMilliseconds = wallMilliseconds
        self.serviceMilliseconds = serviceMilliseconds
    }
}

/// A monotonic clock that survives restarts.
///
/// Within one boot of the machine the time line follows CLOCK_BOOTTIME alone, whether the service runs or not, so that
/// no jump of the wall clock can revive or kill an entry. Only across a reboot, where no monotonic clock reaches, is
/// the wall clock asked how long the machine was away, and it is never believed backwards.
package struct ServiceClock: Clock {
    /// Service milliseconds minus boot milliseconds: constant while the process lives.
    private let offset: Int64
    private let readings: ClockReadings

    /// - Parameter anchor: what the previous run left, or `nil` in a new data folder: the time line then begins at the
    ///   wall clock.
    package init(readings: ClockReadings, resuming anchor: ClockAnchor?) {
        self.readings = readings
        let boot = readings.bootMilliseconds()
        let wall = readings.wallMilliseconds()
        guard let anchor else {
            offset = wall - boot
            return
        }
        if anchor.bootID == readings.bootID {
            offset = anchor.serviceMilliseconds - anchor.bootMilliseconds
        } else {
            offset = anchor.serviceMilliseconds + max(0, wall - anchor.wallMilliseconds) - boot
        }
    }

    package func now() -> Timestamp {
        Timestamp(milliseconds: readings.bootMilliseconds() + offset)
    }

    package func monotonicMicroseconds() -> UInt64 {
        monotonicNanoseconds() / 1000
    }

    /// What to write down, so that the next run resumes here.
    package func anchor() -> ClockAnchor {
        let boot = readings.bootMilliseconds()
        return ClockAnchor(
            bootID: readings.bootID,
            bootMilliseconds: boot,
            wallMilliseconds: readings.wallMilliseconds(),
            serviceMilliseconds: boot + offset
        )
    }
}

extension ClockReadings {
    /// The machine's own clocks.
    package static func system() -> ClockReadings {
        ClockReadings(
            bootID: readBootID(),
            bootMilliseconds: { milliseconds(CLOCK_BOOTTIME) },
            wallMilliseconds: { milliseconds(CLOCK_REALTIME) }
        )
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

private func milliseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// The kernel's random name of this boot; empty where there is none, which makes every start look like the same boot
/// only to a machine without /proc, where CLOCK_BOOTTIME is then compared as it stands.
private func readBootID() -> String {
    let file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = read(file, &bytes, bytes.count)
    guard count > 0 else { return "" }
    return String(decoding: bytes[..<count].prefix { $0 > 0x20 }, as: UTF8.self)
}
