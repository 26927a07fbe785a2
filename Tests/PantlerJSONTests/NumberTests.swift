import PantlerJSON
import Testing

@Suite("Numbers")
struct NumberTests {
    @Test(
        "integers are read exactly",
        arguments: [
            ("0", 0), ("-0", 0), ("1", 1), ("-1", -1), ("10", 10), ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", Int64.max), ("-9223372036854775807", -Int64.max),
        ] as [(String, Int64)]
    )
    func integers(_ literal: String, _ value: Int64) {
        #expect(guarded(literal) { JSON.integer($0) } == value)
    }

    @Test(
        "what is written otherwise, or is too large, is no integer",
        arguments: [
            "", "-", "1.0", "1e3", "1E0", "01", "-01", "00", "+1", " 1", "1 ", "a", "1a", "0x1", "--1",
            "9223372036854775808",
            "-9223372036854775808", "99999999999999999999999999", "\"1\"", "null", "1\u{0}", "10000000000000000000",
        ]
    )
    func noIntegers(_ literal: String) {
        #expect(guarded(literal) { JSON.integer($0) } == nil)
    }

    @Test(
        "an integer is found in whatever form, and nothing is rounded to one",
        arguments: [
            ("0", 0), ("-0.000e9", 0), ("0e999999999999999999999", 0), ("1.0", 1), ("-1e0", -1), ("1e3", 1000),
            ("12.50e1", 125), ("10e-1", 1), ("0.00001e5", 1), ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807.0", Int64.max), ("-9223372036854775807e0", -Int64.max),
            ("0.99999999999999999999", nil), ("1.00000000000000000001", nil), ("-0.99999999999999999999", nil),
            ("1e-1", nil), ("1.5", nil), ("9007199254740990.99999999", nil), ("1e19", nil), ("1e999", nil),
            ("1e-999999999999999999999", nil), ("9223372036854775808", nil), ("01", nil), ("\"1\"", nil), ("", nil),
        ] as [(String, Int64?)]
    )
    func exactIntegers(_ literal: String, _ value: Int64?) {
        #expect(guarded(literal) { JSON.exactInteger($0) } == value)
    }

    @Test(
        "numbers are rounded correctly",
        arguments: [
            ("0", 0), ("-0.0", -0.0), ("1.0", 1), ("1e3", 1000), ("0.1", 0.1), ("-2.5E-3", -0.0025), ("1E+2", 100),
            ("9007199254740993", 9_007_199_254_740_992), ("2.2250738585072014e-308", Double.leastNormalMagnitude),
            ("5e-324", Double.leastNonzeroMagnitude), ("1e-400", 0),
            ("1.7976931348623157e308", Double.greatestFiniteMagnitude),
            ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
        ] as [(String, Double)]
    )
    func numbers(_ literal: String, _ value: Double) {
        #expect(guarded(literal) { JSON.number($0) }?.bitPattern == value.bitPattern)
    }

    @Test(
        "what is no finite number is none",
        arguments: ["", "1e400", "-1e309", "nan", "inf", "0x1p3", "01", "1.", ".5", "+1", " 1", "1 "]
    )
    func noNumbers(_ literal: String) {
        #expect(guarded(literal) { JSON.number($0) } == nil)
    }

    @Test(
        "integers and doubles are written so that they read back",
        arguments: [0, 1, -1, 9, 10, -10, 12_345_678_901, Int64.max, Int64.min] as [Int64]
    )
    func writesIntegers(_ value: Int64) {
        var output: [UInt8] = [0x5b]
        JSON.appendInteger(value, to: &output)
        #expect(text(output) == "[\(value)")
    }

    @Test("every width of integer is written")
    func writesWidths() {
        var output: [UInt8] = []
        JSON.appendInteger(UInt64.max, to: &output)
        JSON.appendInteger(Int8.min, to: &output)
        JSON.appendInteger(UInt8.max, to: &output)
        #expect(text(output) == "18446744073709551615-128255")
    }

    @Test("doubles are written as JSON")
    func writesDoubles() throws {
        let values = [
            0, -0.0, 1, 0.1, 1e300, .leastNonzeroMagnitude, -1.5e-7, 1e16, 123_456_789.125, .greatestFiniteMagnitude,
            .pi,
        ]
        for value in values {
            var output: [UInt8] = []
            JSON.appendNumber(value, to: &output)
            #expect(try guarded(output) { try JSON.validate($0, maxDepth: 0) } == 0..<output.count)
            #expect(guarded(output) { JSON.number($0) }?.bitPattern == value.bitPattern)
        }
        for value in [Double.nan, .infinity, -.infinity] {
            var output: [UInt8] = []
            JSON.appendNumber(value, to: &output)
            #expect(text(output) == "null")
        }
    }
}
