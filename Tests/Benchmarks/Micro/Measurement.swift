internal import Foundation
internal import PantlerModel

/// One thing that is timed.
struct Benchmark {
    let name: String
    /// How often a round does it.
    let operations: Int
    /// Does it so often. What it returns depends on every time it did, so that nothing of it can be left out.
    let round: () throws -> Int

    init(_ name: String, operations: Int, _ round: @escaping () throws -> Int) {
        self.name = name
        self.operations = operations
        self.round = round
    }
}

/// Benchmarks over one stock of data.
struct BenchmarkGroup {
    let benchmarks: [Benchmark]
    private let ending: () -> Void

    init(_ benchmarks: [Benchmark], end: @escaping () -> Void = {}) {
        self.benchmarks = benchmarks
        ending = end
    }

    func end() { ending() }

    /// Rounds of the benchmarks by turns, so that a slow moment of the machine meets all of them alike, after one that warms up.
    func measure(rounds: Int) throws -> [BenchmarkResult] {
        var samples = Array(repeating: [Double](), count: benchmarks.count)
        for round in 0...rounds {
            for (index, benchmark) in benchmarks.enumerated() {
                let begin = monotonicNanoseconds()
                let check = try benchmark.round()
                let end = monotonicNanoseconds()
                if check == .min { throw Failure("\(benchmark.name) did nothing") }
                if round > 0 { samples[index].append(Double(end - begin) / Double(benchmark.operations)) }
            }
        }
        return zip(benchmarks, samples).map { BenchmarkResult(name: $0.name, operations: $0.operations, samples: $1) }
    }
}

/// Nanoseconds an operation, of each round.
struct BenchmarkResult {
    let name: String
    let operations: Int
    private let sorted: [Double]

    init(name: String, operations: Int, samples: [Double]) {
        self.name = name
        self.operations = operations
        sorted = samples.sorted()
    }

    var median: Double {
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    var least: Double { sorted[0] }
    var most: Double { sorted[sorted.count - 1] }
}

/// A benchmark's own stock is not as it should be.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

enum BenchmarkReport {
    static func table(_ results: [BenchmarkResult], rounds: Int) -> String {
        let width = results.map(\.name.count).max() ?? 0
        func line(_ name: String, _ cells: [String]) -> String {
            name.padding(toLength: width, withPad: " ", startingAt: 0)
                + cells.map { String(repeating: " ", count: max(2, 12 - $0.count)) + $0 }.joined()
        }
        let head = line("median of \(rounds)", ["ns/op", "least", "most"])
        return ([head] + results.map { line($0.name, [text($0.median), text($0.least), text($0.most)]) })
            .joined(separator: "\n")
    }

    static func json(_ results: [BenchmarkResult]) -> String {
        let rows = results.map { result in
            """
              {"name": "\(result.name)", "operations": \(result.operations), "ns": \(text(result.median)), \
            "least": \(text(result.least)), "most": \(text(result.most))}
            """
        }
        return "[\n" + rows.joined(separator: ",\n") + "\n]"
    }

    private static func text(_ nanoseconds: Double) -> String { String(format: "%.1f", nanoseconds) }
}
