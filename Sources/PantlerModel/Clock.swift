internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#endif

/// What time it is. Everything that asks for the time holds a clock, so that tests can move time by hand.
package protocol Clock: Sendable {
    /// The present moment on the service's time line. Never goes backwards, not even over a restart.
    func now() -> Timestamp
    /// Microseconds on a monotonic clock of any origin, for durations and for the order of accesses.
    func monotonicMicroseconds() -> UInt64
    /// Milliseconds that the wall clock is ahead of the service's time line, as it was last seen.
    var wallOffset: Int64 { get }
}

/// The machine's clocks, which a `ServiceClock` reads; tests make up their own.
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
    package var doubt: ClockDoubt?

    package init(
        bootID: String,
        bootMilliseconds: Int64,
        wallMilliseconds: Int64,
        serviceMilliseconds: Int64,
        doubt: ClockDoubt? = nil
    ) {
        self.bootID = bootID
        self.bootMilliseconds = bootMilliseconds
        self.wallMilliseconds = wallMilliseconds
        self.serviceMilliseconds = serviceMilliseconds
        self.doubt = doubt
    }
}

/// A start after a boot whose wall clock was so far ahead that it may well have been wrong, as with a battery that is empty. Whether
/// it was, an operator alone can tell: so for a day on the time line what it has expired is not removed, and there is a way
/// back (`pantler serve --reset-clock`).
package struct ClockDoubt: Hashable, Sendable {
    /// Where the time line was put at that start.
    package var serviceMilliseconds: Int64
    /// Time line and wall clock as they were last written down before it.
    package var earlierServiceMilliseconds: Int64
    package var earlierWallMilliseconds: Int64

    /// How long a machine may have been off without a doubt, and how long the doubt lasts, in milliseconds.
    static let gap: Int64 = 30 * 86_400_000
    static let lasts: Int64 = 86_400_000

    package init(serviceMilliseconds: Int64, earlierServiceMilliseconds: Int64, earlierWallMilliseconds: Int64) {
        self.serviceMilliseconds = serviceMilliseconds
        self.earlierServiceMilliseconds = earlierServiceMilliseconds
        self.earlierWallMilliseconds = earlierWallMilliseconds
    }

    /// How long the machine would have been off.
    package var milliseconds: Int64 { serviceMilliseconds - earlierServiceMilliseconds }
}

/// A monotonic clock that survives restarts.
///
/// Within one boot of the machine the time line follows CLOCK_BOOTTIME alone, whether the service runs or not, so that
/// no jump of the wall clock can revive or kill an entry. Only across a reboot, where no monotonic clock reaches, is
/// the wall clock asked how long the machine was away, and it is never believed backwards.
package final class ServiceClock: Clock {
    /// Service milliseconds minus boot milliseconds: constant while the process lives.
    private let offset: Int64
    private let readings: ClockReadings
    private let startedWith: ClockDoubt?
    /// Written by `lookAtWall` alone. Relaxed, since nothing else is ordered by it: a thread may see the earlier difference for a moment.
    private let seenWallOffset: Atomic<Int64>

    /// A smaller change of the difference between the two clocks does not count, in milliseconds: they are not read at one instant, and the
    /// moments that are told of an entry are to stay what they are.
    private static let tolerance: Int64 = 10

    /// - Parameter anchor: what the previous run left, or `nil` in a new data folder: the time line then begins at the
    ///   wall clock.
    package init(readings: ClockReadings, resuming anchor: ClockAnchor?) {
        self.readings = readings
        let boot = readings.bootMilliseconds()
        let wall = readings.wallMilliseconds()
        var doubt = anchor?.doubt
        if let anchor, anchor.bootID == readings.bootID {
            offset = anchor.serviceMilliseconds - anchor.bootMilliseconds
        } else if let anchor {
            let away = max(0, wall - anchor.wallMilliseconds)
            offset = anchor.serviceMilliseconds + away - boot
            // Of several such starts in a row the first one counts: the time line before it is the one to come back to.
            if away > ClockDoubt.gap, doubt.map({ Self.isOver($0, at: anchor.serviceMilliseconds) }) ?? true {
                doubt = ClockDoubt(
                    serviceMilliseconds: anchor.serviceMilliseconds + away,
                    earlierServiceMilliseconds: anchor.serviceMilliseconds,
                    earlierWallMilliseconds: anchor.wallMilliseconds
                )
            }
        } else {
            offset = wall - boot
        }
        startedWith = doubt
        // Moments are told as the earlier run told them, unless the clock was set meanwhile.
        let told = anchor.map { $0.wallMilliseconds - $0.serviceMilliseconds } ?? 0
        let seen = Self.wallOffset(readings, offset) ?? told
        seenWallOffset = Atomic((seen - told).magnitude < Self.tolerance.magnitude ? told : seen)
    }

    package func now() -> Timestamp {
        Timestamp(milliseconds: readings.bootMilliseconds() + offset)
    }

    package func monotonicMicroseconds() -> UInt64 {
        monotonicNanoseconds() / 1000
    }

    package var wallOffset: Int64 { seenWallOffset.load(ordering: .relaxed) }

    /// Looks whether the wall clock was set. To be called a few times a second, by one thread at a time.
    ///
    /// - Returns: the milliseconds by which it was set forward since the last look, negative = back; `nil` = it was not set.
    package func lookAtWall() -> Int64? {
        guard let seen = Self.wallOffset(readings, offset) else { return nil }
        let step = seen - wallOffset
        guard step.magnitude >= Self.tolerance.magnitude else { return nil }
        seenWallOffset.store(seen, ordering: .relaxed)
        return step
    }

    /// How far the wall clock is ahead of the time line; `nil` where that cannot be told now.
    private static func wallOffset(_ readings: ClockReadings, _ offset: Int64) -> Int64? {
        // A thread that is held up between two readings sees too large a difference. So the shortest of some attempts counts.
        var shortest: (width: Int64, offset: Int64)?
        for _ in 0..<8 {
            let before = readings.bootMilliseconds()
            let wall = readings.wallMilliseconds()
            let width = readings.bootMilliseconds() - before
            if width < shortest?.width ?? .max { shortest = (width, wall - before - offset) }
            if width <= 1 { break }
        }
        return shortest.flatMap { $0.width < tolerance ? $0.offset : nil }
    }

    /// The doubt about the wall clock; `nil` where there is none, or it is over.
    package var doubt: ClockDoubt? {
        guard let startedWith, !Self.isOver(startedWith, at: now().milliseconds) else { return nil }
        return startedWith
    }

    private static func isOver(_ doubt: ClockDoubt, at service: Int64) -> Bool {
        service - doubt.serviceMilliseconds >= ClockDoubt.lasts
    }

    /// What expired later than this is not to be removed yet.
    package var expiryHorizon: Timestamp {
        doubt.map { Timestamp(milliseconds: $0.earlierServiceMilliseconds) } ?? .never
    }

    /// What to write down, so that the next run resumes here. Unless the wall clock was set, its reading is computed from the difference and
    /// not read: so the difference, and the moments that are told of an entry, stay the same over a restart.
    package func anchor() -> ClockAnchor {
        let boot = readings.bootMilliseconds()
        let wall = readings.wallMilliseconds()
        let told = boot + offset + wallOffset
        return ClockAnchor(
            bootID: readings.bootID,
            bootMilliseconds: boot,
            wallMilliseconds: (wall - told).magnitude < Self.tolerance.magnitude ? told : wall,
            serviceMilliseconds: boot + offset,
            doubt: doubt
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

extension WallTime {
    /// What the machine's clock says.
    package static func now() -> WallTime { WallTime(milliseconds: PantlerModel.milliseconds(CLOCK_REALTIME)) }
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
