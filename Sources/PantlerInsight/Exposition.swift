/// Writes a page of metrics, in the text that Prometheus reads (version 0.0.4) or in OpenMetrics 1.0.
///
/// A family is declared once, and its samples follow it:
///
///     var page = Exposition(.openMetrics)
///     page.counter("pantler_hits", "Gets that found their entry, by namespace and tier.")
///     page.sample(hits, ["namespace": name, "tier": "memory"])
///     let bytes = page.finish()
///
/// The two formats differ in few places, all of them here: in OpenMetrics a counter's family has no `_total`, a family
/// may name its unit, bounds of buckets are floating-point numbers, and the page says where it ends.
package struct Exposition: Sendable {
    package enum Format: Sendable {
        case prometheus, openMetrics

        /// The value of the page's Content-Type.
        package var contentType: String {
            switch self {
            case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
            case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }

    package typealias Labels = KeyValuePairs<StaticString, String>

    private let format: Format
    private var page: [UInt8] = []
    /// What the present family's samples are called.
    private var sampleName = ""
    private var families: Set<String> = []

    package init(_ format: Format) {
        self.format = format
        page.reserveCapacity(16 << 10)
    }

    // MARK: Families

    /// - Parameters:
    ///   - name: without `_total`, which each sample is given.
    ///   - help: a sentence that says what exactly is counted.
    package mutating func counter(_ name: String, _ help: String) {
        declare(format == .openMetrics ? name : name + "_total", "counter", help)
        sampleName = name + "_total"
    }

    package mutating func gauge(_ name: String, _ help: String) {
        declare(name, "gauge", help)
    }

    package mutating func histogram(_ name: String, _ help: String) {
        declare(name, "histogram", help)
    }

    private mutating func declare(_ name: String, _ type: String, _ help: String) {
        // Two families of one name make the page invalid, and names are constants: any test that renders the page finds
        // it.
        assert(families.insert(name).inserted, "\(name) is declared twice")
        assert(name.utf8.allSatisfy(Self.isNameByte), "\(name) is no name of a metric")
        sampleName = name
        append("# HELP \(name) ")
        appendEscaped(help, quotes: format == .openMetrics)
        append("\n# TYPE \(name) \(type)\n")
        guard format == .openMetrics else { return }
        for unit in ["seconds", "bytes"] where name.hasSuffix("_" + unit) { append("# UNIT \(name) \(unit)\n") }
    }

    // MARK: Samples

    package mutating func sample(_ value: some BinaryInteger, _ labels: Labels = [:]) {
        series(sampleName, labels)
        append("\(value)\n")
    }

    package mutating func sample(_ value: Double, _ labels: Labels = [:]) {
        series(sampleName, labels)
        append(Self.text(value) + "\n")
    }

    /// A sample of a histogram's family: its buckets, its sum in seconds, its count.
    package mutating func sample(_ histogram: LatencyHistogram, _ labels: Labels = [:]) {
        let counts = histogram.cumulativeCounts
        for (bucket, count) in counts.enumerated() {
            let bound =
                bucket < LatencyHistogram.bounds.count ? Double(LatencyHistogram.bounds[bucket]) / 1e9 : .infinity
            series(sampleName + "_bucket", labels, bound: boundText(bound))
            append("\(count)\n")
        }
        series(sampleName + "_sum", labels)
        append(Self.text(histogram.sumSeconds) + "\n")
        series(sampleName + "_count", labels)
        append("\(counts[counts.count - 1])\n")
    }

    /// The whole page. Nothing can be added to it any more.
    package consuming func finish() -> [UInt8] {
        if format == .openMetrics { append("# EOF\n") }
        return page
    }

    // MARK: Text

    /// A sample's name and labels, and the blank before its value.
    private mutating func series(_ name: String, _ labels: Labels, bound: String? = nil) {
        append(name)
        var separator = "{"
        for (label, value) in labels {
            append("\(separator)\(label)=\"")
            appendEscaped(value, quotes: true)
            append("\"")
            separator = ","
        }
        if let bound {
            append("\(separator)le=\"\(bound)\"")
            separator = ","
        }
        append(separator == "{" ? " " : "} ")
    }

    private mutating func append(_ text: String) { page.append(contentsOf: text.utf8) }

    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: page.append(byte)
            }
        }
    }

    /// `1.0` in OpenMetrics, `1` in the older text: as the client libraries write them, so that a bucket's series keeps
    /// its name whichever way its server is scraped.
    private func boundText(_ bound: Double) -> String {
        let text = Self.text(bound)
        return format == .openMetrics && Double(Int(exactly: bound) ?? -1) == bound ? text + ".0" : text
    }

    private static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return value.description
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
