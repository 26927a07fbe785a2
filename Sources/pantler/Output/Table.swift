/// Aligned columns for people.
struct Table {
    enum Alignment {
        case left
        case right
    }

    private let header: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []
    private var widths: [Int]

    /// - Parameter columns: a name that ends in `>` stands for a column of numbers, aligned to the right.
    init(_ columns: String...) {
        header = columns.map { $0.hasSuffix(">") ? String($0.dropLast()) : $0 }
        alignments = columns.map { $0.hasSuffix(">") ? .right : .left }
        widths = columns.map { _ in 0 }
    }

    var isEmpty: Bool { rows.isEmpty }

    mutating func add(_ cells: [String]) {
        rows.append(cells.map(Self.printable))
    }

    mutating func removeRows() { rows = [] }

    /// The lines, with a header unless all its names are empty.
    ///
    /// - Parameter goesOn: whether they follow others of the same table: then they have no header, and columns as wide as those at least.
    mutating func lines(_ style: Style, goesOn: Bool = false) -> [String] {
        let hasHeader = !goesOn && header.contains { !$0.isEmpty }
        let all = (hasHeader ? [header] : []) + rows
        for column in header.indices {
            widths[column] = max(widths[column], all.map { $0[column].count }.max() ?? 0)
        }
        return all.enumerated().map { index, cells in
            let line = cells.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - cells[column].count)
                return alignments[column] == .right ? padding + cells[column] : cells[column] + padding
            }.joined(separator: "  ")
            let trimmed = String(line.reversed().drop { $0 == " " }.reversed())
            return hasHeader && index == 0 ? style.bold(trimmed) : trimmed
        }
    }

    /// Keys may hold anything: control characters would move the cursor about.
    static func printable(_ cell: String) -> String {
        guard cell.unicodeScalars.contains(where: isControl) else { return cell }
        return cell.unicodeScalars.map { isControl($0) ? $0.escaped(asASCII: true) : String($0) }.joined()
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    }
}

extension Session {
    func write(_ table: Table) throws {
        var table = table
        let lines = table.lines(style)
        if !lines.isEmpty { try write(line: lines.joined(separator: "\n")) }
    }
}

/// Figures as people read them.
enum Readable {
    /// `1,234,567`
    static func count(_ value: Int64) -> String {
        let digits = String(value.magnitude)
        var grouped = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { grouped.append(",") }
            grouped.append(digit)
        }
        return value < 0 ? "-" + grouped : grouped
    }

    /// `12.3 MiB`
    static func bytes(_ value: Int64) -> String {
        var rest = Double(value)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if abs(rest) < 1024 { return unit == "B" ? "\(value) B" : "\(fixed(rest, 1)) \(unit)" }
            rest /= 1024
        }
        return "\(fixed(rest, 1)) TiB"
    }

    /// `68.48 %`; a dash where there is nothing to take a part of.
    static func percent(_ ratio: Double?) -> String {
        ratio.map { fixed($0 * 100, 2) + " %" } ?? "-"
    }

    /// `1d 2h`, `3m 20s`, `12s`
    static func duration(seconds: Double) -> String {
        let whole = Int64(seconds)
        let parts = [(whole / 86_400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")]
        let first = parts.firstIndex { $0.0 > 0 } ?? 3
        return parts[first...].prefix(2).map { "\($0.0)\($0.1)" }.joined(separator: " ")
    }

    /// With exactly so many decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let power = (0..<decimals).reduce(1.0) { power, _ in power * 10 }
        let scaled = (abs(value) * power).rounded()
        guard scaled < 9e15 else { return "\(value)" }
        let digits = String(Int64(scaled))
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        let sign = value < 0 && scaled > 0 ? "-" : ""
        return decimals == 0 ? sign + padded : sign + padded.dropLast(decimals) + "." + padded.suffix(decimals)
    }
}
