/// Samples of a page in Prometheus's text format.
package struct Metrics: Sendable {
    package struct Sample: Sendable {
        package let name: String
        package let labels: [String: String]
        package let value: Double
    }

    package let samples: [Sample]

    package init(_ text: String) throws {
        samples = try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(Self.sample)
    }

    package var names: Set<String> { Set(samples.map(\.name)) }

    /// The sum of the samples of that name that have these labels, whatever others they have.
    package func sum(_ name: String, _ labels: [String: String] = [:]) -> Double {
        samples
            .filter { sample in sample.name == name && labels.allSatisfy { sample.labels[$0] == $1 } }
            .reduce(0) { $0 + $1.value }
    }

    private static func sample(_ line: Substring) throws -> Sample {
        guard let space = line.lastIndex(of: " "), let value = Double(number(line[line.index(after: space)...])) else {
            throw Failure("'\(line)' is no sample")
        }
        let series = line[..<space]
        guard let brace = series.firstIndex(of: "{") else {
            return Sample(name: String(series), labels: [:], value: value)
        }
        var labels: [String: String] = [:]
        // Label values of these pages hold neither commas nor escapes: names of namespaces, of tiers, of reasons.
        for label in series[series.index(after: brace)...].dropLast().split(separator: ",") {
            let parts = label.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { throw Failure("'\(line)' has a strange label") }
            labels[String(parts[0])] = String(parts[1].dropFirst().dropLast())
        }
        return Sample(name: String(series[..<brace]), labels: labels, value: value)
    }

    private static func number(_ text: Substring) -> String {
        text == "+Inf" ? "inf" : text == "-Inf" ? "-inf" : String(text)
    }
}
