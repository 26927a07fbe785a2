import Testing

@testable import pantler

@Suite("Sizes and durations")
struct QuantityTests {
    @Test(
        "sizes are read with units of 1024 and of 1000",
        arguments: [
            ("0", 0), ("4096", 4096), ("1KiB", 1024), ("64MiB", 64 << 20), ("10GB", 10_000_000_000), ("1.5 KiB", 1536),
            ("2gib", 2 << 30), ("1TiB", 1 << 40), ("7B", 7), ("1kB", 1000), ("9223372036854775807", .max),
        ] as [(String, Int64)]
    )
    func sizes(text: String, bytes: Int64) {
        #expect(Quantity.bytes(text) == bytes)
    }

    @Test(
        "what is no size is refused",
        arguments: [
            "", "MiB", "-1", "+1", "1 2", "1XB", "1.5", "1.", ".5KiB", "1.2.3MiB", "0x10", "9223372036854775808",
            "8388608TiB", "1e3",
            "٣", "1KiB ", "64 MiB extra",
        ]
    )
    func badSizes(text: String) {
        #expect(Quantity.bytes(text) == nil)
    }

    @Test(
        "durations are read down to the millisecond",
        arguments: [
            ("300ms", 300), ("5s", 5000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("60", 60_000),
            ("0.25", 250),
            ("1.5h", 5_400_000), ("0", 0), ("0.001s", 1),
        ] as [(String, Int64)]
    )
    func durations(text: String, milliseconds: Int64) {
        #expect(Quantity.milliseconds(text) == milliseconds)
    }

    @Test(
        "what is no whole number of milliseconds is refused",
        arguments: ["", "s", "-5s", "5 minutes", "5M", "0.0001", "0.5ms", "1e3", "inf", "NaN", "106751991168d"]
    )
    func badDurations(text: String) {
        #expect(Quantity.milliseconds(text) == nil)
    }

    @Test(
        "what is written reads back",
        arguments: [0, 1, 999, 1000, 1024, 1536, 60_000, 86_400_000, 1 << 40, .max] as [Int64]
    )
    func roundTrip(value: Int64) {
        #expect(Quantity.bytes(Quantity.text(bytes: value)) == value)
        #expect(Quantity.milliseconds(Quantity.text(milliseconds: value)) == value)
    }

    @Test("figures are grouped and rounded")
    func readable() {
        #expect(Readable.count(1_234_567) == "1,234,567")
        #expect(Readable.count(-999) == "-999")
        #expect(Readable.percent(0.68476) == "68.48 %")
        #expect(Readable.percent(nil) == "-")
        #expect(Readable.fixed(0.05, 1) == "0.1")
        #expect(Readable.fixed(-1.005, 0) == "-1")
        #expect(Readable.bytes(1536) == "1.5 KiB")
        #expect(Readable.duration(seconds: 93_784) == "1d 2h")
    }
}
