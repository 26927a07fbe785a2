/// Sizes and durations as people write them, in the configuration and on the command line.
enum Quantity {
    /// Bytes: `64MiB`, `10GB`, `1.5 KiB`, `4096`. Units are powers of 1024 with an `i` and of 1000 without one; case does not
    /// matter.
    ///
    /// - Returns: `nil` for anything else, and beyond 2^63 - 1.
    static func bytes(_ text: String) -> Int64? {
        guard let (number, unit) = split(text) else { return nil }
        let factor: Int64? =
            switch unit.lowercased() {
            case "", "b": 1
            case "kib": 1 << 10
            case "mib": 1 << 20
            case "gib": 1 << 30
            case "tib": 1 << 40
            case "kb": 1000
            case "mb": 1_000_000
            case "gb": 1_000_000_000
            case "tb": 1_000_000_000_000
            default: nil
            }
        guard let factor else { return nil }
        return scaled(number, by: factor)
    }

    /// Milliseconds: `300ms`, `30s`, `5m`, `2h`, `1d`, `1.5h`, or plain seconds.
    ///
    /// - Returns: `nil` for anything else, and for what is no whole number of milliseconds.
    static func milliseconds(_ text: String) -> Int64? {
        guard let (number, unit) = split(text) else { return nil }
        let factor: Int64? =
            switch unit {
            case "ms": 1
            case "", "s": 1000
            case "m": 60_000
            case "h": 3_600_000
            case "d": 86_400_000
            default: nil
            }
        guard let factor else { return nil }
        return scaled(number, by: factor)
    }

    /// The shortest way to write a number of bytes exactly: `64MiB`, `1000`.
    static func text(bytes: Int64) -> String {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        where bytes != 0 && bytes % (1 << shift) == 0 {
            return "\(bytes >> shift)\(unit)"
        }
        return "\(bytes)"
    }

    /// The shortest way to write a number of milliseconds exactly: `5m`, `90s`, `300ms`.
    static func text(milliseconds: Int64) -> String {
        let units: [(String, Int64)] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        for (unit, length) in units where milliseconds != 0 && milliseconds % length == 0 {
            return "\(milliseconds / length)\(unit)"
        }
        return milliseconds == 0 ? "0s" : "\(milliseconds)ms"
    }

    /// Digits with at most one point among them, and the unit behind them.
    private static func split(_ text: String) -> (number: Substring, unit: Substring)? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard number.first != ".", number.last != ".", !number.isEmpty else { return nil }
        guard number.count(where: { $0 == "." }) <= 1 else { return nil }
        return (number, text[number.endIndex...].drop { $0 == " " })
    }

    /// The product, where it is whole and fits.
    private static func scaled(_ number: Substring, by factor: Int64) -> Int64? {
        let parts = number.split(separator: ".")
        guard let whole = Int64(parts[0]) else { return nil }
        let (product, overflow) = whole.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        guard parts.count == 2 else { return product }
        guard parts[1].count <= 9, let digits = Int64(parts[1]) else { return nil }
        let power = (0..<parts[1].count).reduce(Int64(1)) { power, _ in power * 10 }
        let (scaled, tooLarge) = digits.multipliedReportingOverflow(by: factor)
        guard !tooLarge, scaled % power == 0 else { return nil }
        let (sum, carried) = product.addingReportingOverflow(scaled / power)
        return carried ? nil : sum
    }
}

extension Duration {
    /// Whole milliseconds, the rest cut off.
    var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
