/// Moments as text (RFC 3339): read in any form that the RFC has, written in one.
///
/// Days are counted in the proleptic Gregorian calendar by Howard Hinnant's algorithms ("chrono-Compatible Low-Level Date
/// Algorithms"): years begin in March, so that the leap day is a year's last, and 400 years are 146,097 days.
package enum RFC3339 {
    /// Bytes of a moment as `write` writes it.
    package static let writtenBytes = 24

    /// The first and the last moment whose year has four digits, in milliseconds since 1970.
    private static let first: Int64 = -62_167_219_200_000
    private static let last: Int64 = 253_402_300_799_999

    // MARK: Writing

    /// Writes a moment in UTC with milliseconds, `2099-01-01T00:00:00.500Z`: exactly `writtenBytes` bytes, without allocating.
    ///
    /// A moment beyond the years 0000 to 9999 is written as the last one within them; `never` has no text, and is the
    /// caller's to tell.
    package static func write(_ moment: WallTime, into output: UnsafeMutableRawPointer) {
        let milliseconds = min(max(moment.milliseconds, first), last)
        let days = floorDivide(milliseconds, 86_400_000)
        let time = Int(milliseconds - days * 86_400_000)
        let (year, month, day) = date(ofDay: days)
        write(year / 100, at: 0, output)
        write(year % 100, at: 2, output)
        write(UInt8(ascii: "-"), at: 4, output)
        write(month, at: 5, output)
        write(UInt8(ascii: "-"), at: 7, output)
        write(day, at: 8, output)
        write(UInt8(ascii: "T"), at: 10, output)
        write(time / 3_600_000, at: 11, output)
        write(UInt8(ascii: ":"), at: 13, output)
        write(time / 60_000 % 60, at: 14, output)
        write(UInt8(ascii: ":"), at: 16, output)
        write(time / 1000 % 60, at: 17, output)
        write(UInt8(ascii: "."), at: 19, output)
        write(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: time / 100 % 10), at: 20, output)
        write(time % 100, at: 21, output)
        write(UInt8(ascii: "Z"), at: 23, output)
    }

    /// The same as a string.
    package static func string(_ moment: WallTime) -> String {
        String(unsafeUninitializedCapacity: writtenBytes) { buffer in
            guard let base = buffer.baseAddress else { return 0 }
            write(moment, into: UnsafeMutableRawPointer(base))
            return writtenBytes
        }
    }

    private static func write(_ byte: UInt8, at offset: Int, _ output: UnsafeMutableRawPointer) {
        output.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
    }

    /// Two digits of a number from 0 to 99.
    private static func write(_ number: Int, at offset: Int, _ output: UnsafeMutableRawPointer) {
        write(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10), at: offset, output)
        write(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10), at: offset + 1, output)
    }

    // MARK: Reading

    /// The moment that `text` says: any offset, any fraction of a second, of which whole milliseconds count.
    ///
    /// Strict about the calendar: no 30th of February, no hour 24. A leap second (`:60`) is refused too, because the
    /// service's time line has none.
    ///
    /// - Returns: `nil` for anything else, and for a moment whose year in UTC has not four digits.
    /// - Complexity: O(n).
    package static func parse(_ text: UnsafeRawBufferPointer) -> WallTime? {
        var reader = MomentReader(text)
        guard let century = reader.twoDigits(), let ofCentury = reader.twoDigits(), reader.pass("-", "-"),
            let month = reader.twoDigits(), (1...12).contains(month), reader.pass("-", "-"),
            let day = reader.twoDigits(), day >= 1, day <= days(inMonth: month, of: century * 100 + ofCentury),
            reader.pass("T", "t"),
            let hour = reader.twoDigits(), hour < 24, reader.pass(":", ":"),
            let minute = reader.twoDigits(), minute < 60, reader.pass(":", ":"),
            let second = reader.twoDigits(), second < 60,
            let fraction = reader.milliseconds(), let offset = reader.offsetMinutes(), reader.isAtEnd
        else { return nil }
        let day1970 = dayNumber(year: century * 100 + ofCentury, month: month, day: day)
        let minutes = (day1970 * 24 + Int64(hour)) * 60 + Int64(minute - offset)
        let moment = minutes * 60_000 + Int64(second * 1000 + fraction)
        guard (first...last).contains(moment) else { return nil }
        return WallTime(milliseconds: moment)
    }

    package static func parse(_ text: String) -> WallTime? {
        var text = text
        return text.withUTF8 { parse(UnsafeRawBufferPointer($0)) }
    }

    /// The parts of a moment, from left to right; each reads its own and stands behind it.
    private struct MomentReader {
        private let text: UnsafeRawBufferPointer
        private var offset = 0

        init(_ text: UnsafeRawBufferPointer) { self.text = text }

        var isAtEnd: Bool { offset == text.count }

        private mutating func digit() -> Int? {
            let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
            guard offset < text.count, digits.contains(text[offset]) else { return nil }
            defer { offset += 1 }
            return Int(text[offset] - UInt8(ascii: "0"))
        }

        mutating func twoDigits() -> Int? {
            guard let tens = digit(), let ones = digit() else { return nil }
            return tens * 10 + ones
        }

        /// Whether one of two characters stands here.
        mutating func pass(_ one: Unicode.Scalar, _ other: Unicode.Scalar) -> Bool {
            guard offset < text.count, text[offset] == UInt8(ascii: one) || text[offset] == UInt8(ascii: other) else {
                return false
            }
            offset += 1
            return true
        }

        /// 0 where there is no fraction; further digits than three are checked and dropped.
        mutating func milliseconds() -> Int? {
            guard pass(".", ".") else { return 0 }
            guard let tenths = digit() else { return nil }
            var milliseconds = tenths * 100
            var unit = 10
            while let next = digit() {
                milliseconds += next * unit
                unit /= 10
            }
            return milliseconds
        }

        /// How far local time is ahead of UTC.
        mutating func offsetMinutes() -> Int? {
            if pass("Z", "z") { return 0 }
            let isAhead = pass("+", "+")
            guard isAhead || pass("-", "-"), let hours = twoDigits(), hours < 24, pass(":", ":"),
                let minutes = twoDigits(), minutes < 60
            else { return nil }
            return isAhead ? hours * 60 + minutes : -(hours * 60 + minutes)
        }
    }

    // MARK: The calendar

    private static func days(inMonth month: Int, of year: Int) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    /// Days from 1970-01-01 to a date; negative before.
    private static func dayNumber(year: Int, month: Int, day: Int) -> Int64 {
        let year = Int64(month <= 2 ? year - 1 : year)
        let era = floorDivide(year, 400)
        let yearOfEra = year - era * 400
        let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func date(ofDay number: Int64) -> (year: Int, month: Int, day: Int) {
        let day = number + 719_468
        let era = floorDivide(day, 146_097)
        let dayOfEra = day - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let march = (5 * dayOfYear + 2) / 153
        let month = march < 10 ? march + 3 : march - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (Int(year), Int(month), Int(dayOfYear - (153 * march + 2) / 5 + 1))
    }

    private static func floorDivide(_ dividend: Int64, _ divisor: Int64) -> Int64 {
        dividend >= 0 ? dividend / divisor : -((divisor - 1 - dividend) / divisor)
    }
}
