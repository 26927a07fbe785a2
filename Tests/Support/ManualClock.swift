package import PantlerModel
internal import Synchronization

/// A clock that stands still until it is told to move.
package final class ManualClock: Clock {
    private struct Reading {
        var milliseconds: Int64
        var microseconds: UInt64 = 1_000_000
        var wallOffset: Int64 = 0
    }

    private let reading: Mutex<Reading>

    package init(at start: Timestamp = Timestamp(milliseconds: 1_800_000_000_000)) {
        reading = Mutex(Reading(milliseconds: start.milliseconds))
    }

    package func now() -> Timestamp {
        Timestamp(milliseconds: reading.withLock { $0.milliseconds })
    }

    package func monotonicMicroseconds() -> UInt64 {
        reading.withLock { $0.microseconds }
    }

    package var wallOffset: Int64 { reading.withLock { $0.wallOffset } }

    /// Sets the wall clock, forward or back, and no other.
    package func setWall(byMilliseconds milliseconds: Int64) {
        reading.withLock { $0.wallOffset += milliseconds }
    }

    /// Moves both readings; fractions of a millisecond move the monotonic one alone.
    package func advance(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let microseconds = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        precondition(microseconds >= 0, "time does not go backwards")
        reading.withLock {
            let whole = (Int64($0.microseconds) + microseconds) / 1000 - Int64($0.microseconds) / 1000
            $0.milliseconds += whole
            $0.microseconds += UInt64(microseconds)
        }
    }

    package func advance(byMilliseconds milliseconds: Int64) {
        advance(by: .milliseconds(milliseconds))
    }
}
