import PantlerJSON
import Testing

import struct Support.SeededGenerator

@Suite("Seconds to milliseconds")
struct MillisecondsTests {
    @Test(
        "milliseconds are written as the shortest decimal seconds",
        arguments: [
            (0, "0"), (1, "0.001"), (250, "0.25"), (1000, "1"), (1500, "1.5"), (60_000, "60"), (61_500, "61.5"),
            (3_600_000, "3600"),
        ] as [(Int64, String)]
    )
    func written(milliseconds: Int64, text: String) {
        #expect(JSON.seconds(milliseconds: milliseconds) == text)
    }

    @Test(
        "seconds become milliseconds without a double in between",
        arguments: [
            ("1", 1000), ("60", 60_000), ("0.1", 100), ("0.001", 1), ("1.005", 1005), ("1.5", 1500), ("2.0", 2000),
            ("2.000", 2000),
            ("1e3", 1_000_000), ("1E+3", 1_000_000), ("1.5e1", 15_000), ("150e-1", 15_000), ("5e-3", 5), ("0.5e-2", 5),
            ("0e0001", nil), ("1e-0", 1000), ("100e-5", 1), ("0.00001e5", 1000), ("3153600000", 3_153_600_000_000),
            // More digits than a double has.
            ("9007199254740.993", 9_007_199_254_740_993), ("9223372036854775.807", Int64.max),
            ("9223372036854775.8074", Int64.max), ("9223372036854775807e-3", Int64.max),
            // Rounding: to the nearest, halves up.
            ("0.0014", 1), ("0.0015", 2), ("1.0004", 1000), ("1.0005", 1001), ("1.00049999999999999999999999", 1000),
            ("0.9995", 1000), ("0.9994999", 999), ("15e-4", 2), ("0.0024999e0", 2),
            // Positive never becomes 0.
            ("0.0004", 1), ("0.0005", 1), ("0.00049", 1), ("1e-4", 1), ("1e-300", 1), ("1e-99999999999999999999999", 1),
            ("0.000000000000000000000000000000000000000001", 1), ("1e-3", 1),
        ] as [(String, Int64?)]
    )
    func converts(_ literal: String, _ milliseconds: Int64?) {
        let expected = milliseconds.map { MillisecondsResult.milliseconds($0) } ?? .zero
        #expect(guarded(literal) { JSON.milliseconds(fromSeconds: $0) } == expected)
    }

    @Test(
        "what is no positive time says why",
        arguments: [
            ("0", .zero), ("-0", .zero), ("0.000", .zero), ("0e5", .zero), ("0e999999999999999999999", .zero),
            ("-0.0e-9", .zero),
            ("-1", .negative), ("-0.0001", .negative), ("-1e-400", .negative), ("-1e400", .negative),
            ("1e300", .tooLarge), ("1e400", .tooLarge), ("1e16", .tooLarge), ("9223372036854775.8075", .tooLarge),
            ("9223372036854775.808", .tooLarge), ("9999999999999999.9999", .tooLarge),
            ("18446744073709551.616", .tooLarge),
            ("100000000000000000000", .tooLarge), ("1e99999999999999999999999", .tooLarge),
            ("0.1e99999999999999999999999", .tooLarge), ("12345678901234567890123", .tooLarge),
            ("NaN", .notANumber), ("Infinity", .notANumber), ("", .notANumber), ("-", .notANumber),
            ("\"1\"", .notANumber),
            ("1s", .notANumber), ("01", .notANumber), ("+1", .notANumber), (".5", .notANumber), ("1 ", .notANumber),
            ("null", .notANumber),
        ] as [(String, MillisecondsResult)]
    )
    func refuses(_ literal: String, _ result: MillisecondsResult) {
        #expect(guarded(literal) { JSON.milliseconds(fromSeconds: $0) } == result)
    }

    @Test("a time is the same however its point is shifted by an exponent")
    func shifts() {
        var random = SeededGenerator.announced("milliseconds")
        for _ in 0..<2000 {
            let milliseconds = Int64.random(in: 1...(.max >> Int64.random(in: 0...60, using: &random)), using: &random)
            // The time in microseconds and an eighth: the digits behind the milliseconds round it up or down.
            let tail = Int.random(in: 0...999, using: &random)
            let digits = "\(milliseconds)" + String("\(1000 + tail)".dropFirst()) + "125"
            let shift = Int.random(in: 1..<digits.count, using: &random)
            let padded = String(repeating: "0", count: Int.random(in: 0...3, using: &random))
            let point = digits.count - shift
            // digits × 10^-9 s, written with the point `shift` digits from the right.
            var literal = "\(digits.prefix(point)).\(digits.suffix(shift))\(padded)e\(shift - 9)"
            if point > 1, Bool.random(using: &random) { literal = "\(digits)e-9" }
            let (expected, overflow) = milliseconds.addingReportingOverflow(tail >= 500 ? 1 : 0)
            let result = guarded(literal) { JSON.milliseconds(fromSeconds: $0) }
            #expect(result == (overflow ? .tooLarge : .milliseconds(expected)), "\(literal)")
        }
    }

    @Test("a million zeros change nothing")
    func manyZeros() {
        let zeros = String(repeating: "0", count: 1_000_000)
        #expect(guarded("0.\(zeros)1") { JSON.milliseconds(fromSeconds: $0) } == .milliseconds(1))
        #expect(guarded("0.\(zeros)1e1000001") { JSON.milliseconds(fromSeconds: $0) } == .milliseconds(1000))
        #expect(guarded("1\(zeros)e-1000000") { JSON.milliseconds(fromSeconds: $0) } == .milliseconds(1000))
        #expect(guarded("1.\(zeros)") { JSON.milliseconds(fromSeconds: $0) } == .milliseconds(1000))
        #expect(guarded("1e\(zeros)1") { JSON.milliseconds(fromSeconds: $0) } == .milliseconds(10_000))
    }
}
