/// A moment on the service's own time line: milliseconds that began at the Unix epoch when the data folder was made,
/// and that have run with the machine's monotonic clock ever since (see `ServiceClock`).
///
/// It is close to the wall clock, but a jump of the wall clock does not move it. Callers name and are told a `WallTime`.
package struct Timestamp: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    package var milliseconds: Int64

    package init(milliseconds: Int64) {
        self.milliseconds = milliseconds
    }

    /// Later than every other moment: the expiry of an entry that never expires.
    package static let never = Timestamp(milliseconds: .max)

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// The moment `milliseconds` later; saturates at `never`, and `never` stays `never`.
    package func advanced(byMilliseconds milliseconds: Int64) -> Timestamp {
        if self == .never { return .never }
        let (sum, overflow) = self.milliseconds.addingReportingOverflow(milliseconds)
        return overflow ? .never : Timestamp(milliseconds: sum)
    }

    /// Milliseconds from `earlier` to this moment; negative if this moment is the earlier one.
    package func milliseconds(since earlier: Timestamp) -> Int64 {
        let (difference, overflow) = milliseconds.subtractingReportingOverflow(earlier.milliseconds)
        return overflow ? .max : difference
    }
}
