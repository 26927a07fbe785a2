internal import Glibc
internal import PantlerModel

/// Asks again and again until `condition` holds: the one place where tests wait for what they cannot be told of.
///
/// The deadline is no measure of speed, but of when a test is given up: other tests may have the machine.
///
/// - Throws: `Failure` when the deadline passes; whatever `condition` throws, at once.
package func eventually(
    within seconds: Double = 60,
    _ what: @autoclosure () -> String,
    _ condition: () throws -> Bool
) throws {
    let deadline = Deadline(after: seconds)
    while true {
        if try condition() { return }
        if deadline.hasPassed { throw Failure("Not within \(seconds) s: \(what())") }
        poll(nil, 0, 5)
    }
}

/// Like `eventually`, for what shows itself by a value.
package func eventually<Value>(
    within seconds: Double = 60,
    _ what: @autoclosure () -> String,
    value: () throws -> Value?
) throws -> Value {
    var found: Value?
    try eventually(within: seconds, what()) {
        found = try value()
        return found != nil
    }
    guard let found else { throw Failure(what()) }
    return found
}

/// A moment on the monotonic clock by which something has to have happened.
package struct Deadline: Sendable {
    private let nanoseconds: UInt64

    package init(after seconds: Double) {
        nanoseconds = monotonicNanoseconds() + UInt64(seconds * 1e9)
    }

    package var hasPassed: Bool { monotonicNanoseconds() >= nanoseconds }

    /// What is left, for `poll`; at least 0.
    package var remainingMilliseconds: Int32 {
        let now = monotonicNanoseconds()
        return now >= nanoseconds ? 0 : Int32(clamping: (nanoseconds - now) / 1_000_000 + 1)
    }
}
