import PantlerModel

#if canImport(Glibc)
import Glibc
#endif

/// The field that says when an answer was made (RFC 9110, section 6.6.1), as a whole line: `date: Sun, 06 Nov 1994 08:49:37 GMT`.
struct HTTPDate: Sendable {
    static let lineBytes = 37

    private var line = InlineArray<37, UInt8>(repeating: 0)

    /// - Parameter seconds: seconds since 1970, by the wall clock; not before, and within the year 9999.
    init(unixSeconds seconds: Int64) {
        let text = RFC3339.string(WallTime(milliseconds: seconds * 1000))
        let digits = Array(text.utf8)
        let weekday = Int((seconds / 86_400 + 4) % 7)
        let month = Int(digits[5] - UInt8(ascii: "0")) * 10 + Int(digits[6] - UInt8(ascii: "0"))
        let year = String(decoding: digits[0..<4], as: UTF8.self)
        let day = String(decoding: digits[8..<10], as: UTF8.self)
        let time = String(decoding: digits[11..<19], as: UTF8.self)
        let whole = "date: \(Self.weekdays[weekday]), \(day) \(Self.months[month - 1]) \(year) \(time) GMT\r\n"
        for (place, byte) in zip(0..., whole.utf8.prefix(Self.lineBytes)) { line[place] = byte }
    }

    /// The date of the present second, and how many nanoseconds of that are left.
    static func now() -> (date: HTTPDate, lasts: Int64) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return (HTTPDate(unixSeconds: Int64(time.tv_sec)), 1_000_000_000 - Int64(time.tv_nsec))
    }

    func write(to cursor: inout ByteCursor) {
        line.span.withUnsafeBytes { cursor.write($0) }
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
}
