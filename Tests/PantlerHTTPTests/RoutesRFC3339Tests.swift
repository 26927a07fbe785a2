import PantlerModel
import Testing

@Suite("Moments as text")
struct RFC3339Tests {
    @Test(
        "are read with any offset and any fraction",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2099-01-01T00:00:00.500Z", 4_070_908_800_500),
            ("2099-01-01T01:00:00.5+01:00", 4_070_908_800_500), ("2098-12-31t14:30:00z", 4_070_874_600_000),
            ("2098-12-31T14:30:00-09:30", 4_070_908_800_000), ("2099-01-01T00:00:00.123999999999Z", 4_070_908_800_123),
            ("2099-01-01T00:00:00.0009Z", 4_070_908_800_000), ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("1969-12-31T23:59:59.999Z", -1), ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999), ("2024-02-29T12:00:00-00:00", 1_709_208_000_000),
        ] as [(String, Int64)]
    )
    func read(text: String, milliseconds: Int64) {
        #expect(RFC3339.parse(text) == WallTime(milliseconds: milliseconds))
    }

    @Test(
        "are refused where the calendar or the form has none such",
        arguments: [
            "", "2099", "2099-01-01", "2099-01-01T00:00:00", "2099-01-01 00:00:00Z", "2099-1-1T00:00:00Z",
            "2099-02-30T00:00:00Z",
            "2099-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2099-00-01T00:00:00Z", "2099-13-01T00:00:00Z",
            "2099-04-31T00:00:00Z",
            "2099-01-00T00:00:00Z", "2099-01-32T00:00:00Z", "2099-01-01T24:00:00Z", "2099-01-01T00:60:00Z",
            "2099-01-01T23:59:60Z",
            "2099-01-01T00:00:00.Z", "2099-01-01T00:00:00,5Z", "2099-01-01T00:00Z", "2099-01-01T00:00:00+0100",
            "2099-01-01T00:00:00+24:00", "2099-01-01T00:00:00+01:60", "2099-01-01T00:00:00+01", "2099-01-01T00:00:00Zx",
            " 2099-01-01T00:00:00Z", "+2099-01-01T00:00:00Z", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+00:01",
            "２099-01-01T00:00:00Z",
        ]
    )
    func refused(text: String) {
        #expect(RFC3339.parse(text) == nil)
    }

    @Test("are written in UTC with milliseconds, and read back the same, on every day of 800 years")
    func roundTrip() {
        var moment = WallTime(milliseconds: -6_847_804_800_000)  // 1753-01-01
        for day in 0..<292_194 {
            let text = RFC3339.string(moment)
            guard text.utf8.count == RFC3339.writtenBytes, RFC3339.parse(text) == moment else {
                Issue.record("day \(day): \(text)")
                return
            }
            // A little more than a day, so that the time of day goes round as well.
            moment = WallTime(milliseconds: moment.milliseconds + 86_400_000 + 1733)
        }
        #expect(RFC3339.string(WallTime(milliseconds: 4_070_908_800_500)) == "2099-01-01T00:00:00.500Z")
        #expect(RFC3339.string(WallTime(milliseconds: 951_868_799_009)) == "2000-02-29T23:59:59.009Z")
        #expect(RFC3339.string(.never) == "9999-12-31T23:59:59.999Z")
    }
}
