/// A moment by the wall clock: what callers name, and what they are told. Inside the service there are only `Timestamp`s.
///
/// The two differ by what `Clock.wallOffset` says, which is next to nothing until somebody sets the machine's clock. A moment is
/// carried over by the difference that holds when it is named or told, so that it means what the caller's own clock says
/// then, while TTLs go on undisturbed.
package struct WallTime: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// Later than every other moment, like `Timestamp.never`.
    package static let never = WallTime(milliseconds: .max)

    package static func < (left: WallTime, right: WallTime) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// The moment on the service's time line, of which the wall clock is so many milliseconds ahead.
    package func timestamp(aheadBy offset: Int64) -> Timestamp {
        self == .never ? .never : Timestamp(milliseconds: milliseconds.addingClamped(0 &- offset))
    }
}

extension Timestamp {
    /// The moment by a wall clock that is so many milliseconds ahead of the service's time line.
    package func wallTime(aheadBy offset: Int64) -> WallTime {
        self == .never ? .never : WallTime(milliseconds: milliseconds.addingClamped(offset))
    }
}

extension Int64 {
    /// The sum, kept below the number that stands for never.
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        if overflow { return other < 0 ? .min : .max - 1 }
        return Swift.min(sum, .max - 1)
    }
}
