internal import PantlerModel

/// How far something long has come; shown on a terminal and nowhere else.
struct ProgressBar: Sendable {
    /// What is counted.
    enum Unit: Sendable {
        case requests
        /// Time alone: nothing is to be told about its speed.
        case milliseconds
    }

    let total: Int
    private let unit: Unit
    private let isShown = Terminal.Stream.error.isTerminal

    private static let width = 30

    init(total: Int, unit: Unit = .requests) {
        self.total = total
        self.unit = unit
    }

    /// Draws until its task is cancelled, then takes itself away.
    func follow(_ position: @Sendable () -> Int) async {
        guard isShown else { return }
        let begin = monotonicNanoseconds()
        while !Task.isCancelled {
            let seconds = Double(monotonicNanoseconds() - begin) / 1e9
            Terminal.write("\r\u{1b}[K" + line(at: min(position(), total), after: seconds), to: .error)
            try? await Task.sleep(for: .milliseconds(100))
        }
        Terminal.write("\r\u{1b}[K", to: .error)
    }

    /// `[=====>    ]  42.0 %  1,234 of 2,938  20,000/s  1m 5s left`, or `[=====>    ]  42.0 %  3s left`
    func line(at done: Int, after seconds: Double) -> String {
        let fraction = total > 0 ? Double(done) / Double(total) : 1
        let filled = Int(fraction * Double(Self.width))
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: Self.width - filled)
        let front = "[\(bar)] \(Readable.fixed(fraction * 100, 1)) %"
        if unit == .milliseconds { return "\(front)  \(Readable.duration(seconds: Double(total - done) / 1000)) left" }
        // Before that, a rate says nothing.
        let rate = seconds > 0.5 ? Double(done) / seconds : 0
        let left = rate > 0 ? "  \(Readable.duration(seconds: Double(total - done) / rate)) left" : ""
        let counts = "\(Readable.count(Int64(done))) of \(Readable.count(Int64(total)))"
        let speed = rate > 0 ? "  \(Readable.count(Int64(rate)))/s" : ""
        return "\(front)  \(counts)\(speed)\(left)"
    }
}
