/// A number of seconds, read as milliseconds.
package enum MillisecondsResult: Hashable, Sendable {
    /// Above 0; rounded to the nearest millisecond, halves up, but never down to 0.
    case milliseconds(Int64)
    /// Exactly 0, in whatever form.
    case zero
    case negative
    /// Beyond 2^63 - 1 milliseconds, up to numbers that no double holds.
    case tooLarge
    /// Not a JSON number at all.
    case notANumber
}

extension JSON {
    /// Reads a JSON number as seconds. All of it is done in decimal digits: 0.1 s is 100 ms and 9007199254740.993 s keeps every digit.
    ///
    /// - Complexity: O(n) in the bytes of the literal, whatever its exponent.
    package static func milliseconds(fromSeconds literal: UnsafeRawBufferPointer) -> MillisecondsResult {
        guard isNumber(literal) else { return .notANumber }
        let number = Decimal(literal)
        guard let first = number.firstSignificant else { return .zero }
        if number.isNegative { return .negative }

        // The digits before `point` are whole milliseconds: seconds shifted by three places.
        let point = number.point + 3
        let places = point - first
        guard places <= 19 else { return .tooLarge }
        guard places > 0 else { return .milliseconds(1) }
        // 19 digits stay below 10^19 < 2^64.
        var whole: UInt64 = 0
        for index in first..<point {
            whole = whole * 10 + UInt64(number.digit(index))
        }
        if number.digit(point) >= 5 { whole += 1 }
        return Int64(exactly: whole).map { .milliseconds($0) } ?? .tooLarge
    }

    /// Milliseconds, of which there are none below 0, as the shortest JSON number of seconds: `0.25`, `60`.
    package static func seconds(milliseconds: Int64) -> String {
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        if rest == 0 { return String(seconds) }
        let digits = String(1000 + rest).dropFirst()
        var text = "\(seconds).\(digits)"
        while text.hasSuffix("0") { text.removeLast() }
        return text
    }

    /// The integer that a JSON number is, however it is written (`1e2`, `10.0`); `nil` where it is none, lies beyond ±(2^63 - 1), or is
    /// not a JSON number. All of it is done in decimal digits: nothing is rounded to an integer.
    ///
    /// - Complexity: O(n) in the bytes of the literal, whatever its exponent.
    package static func exactInteger(_ literal: UnsafeRawBufferPointer) -> Int64? {
        guard isNumber(literal) else { return nil }
        let number = Decimal(literal)
        guard let first = number.firstSignificant else { return 0 }
        let places = number.point - first
        guard (1...19).contains(places), number.isZero(from: number.point) else { return nil }
        // 19 digits stay below 10^19 < 2^64.
        var magnitude: UInt64 = 0
        for index in first..<number.point {
            magnitude = magnitude * 10 + UInt64(number.digit(index))
        }
        return Int64(exactly: magnitude).map { number.isNegative ? -$0 : $0 }
    }
}

/// A JSON number taken apart: 0.d₀d₁d₂… times 10 to the power of `point`.
private struct Decimal {
    let isNegative: Bool
    /// Where the decimal point stands among the digits; may lie outside them.
    let point: Int
    /// The index of the first digit that is not 0; `nil` for zero.
    let firstSignificant: Int?

    /// Integer and fraction, with nothing around them.
    private let mantissa: UnsafeRawBufferPointer
    /// How many digits stand before the literal's own point.
    private let wholeDigits: Int
    private let digitCount: Int

    /// - Parameter literal: a valid JSON number.
    init(_ literal: UnsafeRawBufferPointer) {
        isNegative = literal.first == UInt8(ascii: "-")
        let exponentMark = literal.firstIndex { $0 | 0x20 == UInt8(ascii: "e") } ?? literal.count
        mantissa = literal.slice((isNegative ? 1 : 0)..<exponentMark)
        let fractionMark = mantissa.firstIndex(of: UInt8(ascii: "."))
        wholeDigits = fractionMark ?? mantissa.count
        digitCount = fractionMark == nil ? mantissa.count : mantissa.count - 1
        point = wholeDigits + Self.exponent(literal[exponentMark...].dropFirst())
        let significant = mantissa.firstIndex { $0 != UInt8(ascii: "0") && $0 != UInt8(ascii: ".") }
        firstSignificant = significant.map { [wholeDigits] in $0 > wholeDigits ? $0 - 1 : $0 }
    }

    /// The digit at `index`, which is not negative; 0 behind the last.
    func digit(_ index: Int) -> UInt8 {
        guard index < digitCount else { return 0 }
        return mantissa[index < wholeDigits ? index : index + 1] - UInt8(ascii: "0")
    }

    /// Whether all digits from `index` on, which is not negative, are 0.
    func isZero(from index: Int) -> Bool {
        var index = index
        while index < digitCount {
            if digit(index) != 0 { return false }
            index += 1
        }
        return true
    }

    /// Held within ±2^40: further out no buffer that fits in memory makes a difference.
    private static func exponent(_ text: Slice<UnsafeRawBufferPointer>) -> Int {
        var magnitude = 0
        for byte in text where byte != UInt8(ascii: "+") && byte != UInt8(ascii: "-") {
            magnitude = min(magnitude * 10 + Int(byte - UInt8(ascii: "0")), 1 << 40)
        }
        return text.first == UInt8(ascii: "-") ? -magnitude : magnitude
    }
}
