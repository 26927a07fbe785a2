/// Reads number literals. A literal comes with nothing around it.
extension JSON {
    /// The integer that a number without fraction and exponent stands for.
    ///
    /// - Returns: `nil` if it is written otherwise, or beyond ±(2^63 - 1). -0 is 0.
    package static func integer(_ literal: UnsafeRawBufferPointer) -> Int64? {
        let isNegative = literal.first == UInt8(ascii: "-")
        let digits = literal[(isNegative ? 1 : 0)...]
        guard let first = digits.first, first != UInt8(ascii: "0") || digits.count == 1 else { return nil }
        var magnitude: Int64 = 0
        for byte in digits {
            let digit = byte &- UInt8(ascii: "0")
            let (tenfold, overflowed) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carried) = tenfold.addingReportingOverflow(Int64(digit))
            guard digit < 10, !overflowed, !carried else { return nil }
            magnitude = sum
        }
        return isNegative ? -magnitude : magnitude
    }

    /// The double nearest to a number, however it is written.
    ///
    /// - Returns: `nil` if it is no number, or so large that the nearest is infinity.
    package static func number(_ literal: UnsafeRawBufferPointer) -> Double? {
        guard isNumber(literal), let value = Double(String(decoding: literal, as: UTF8.self)), value.isFinite else {
            return nil
        }
        return value
    }

    static func isNumber(_ literal: UnsafeRawBufferPointer) -> Bool {
        var scanner = JSONScanner(literal)
        do {
            try scanner.scanNumber()
        } catch {
            return false
        }
        return scanner.isAtEnd
    }
}
