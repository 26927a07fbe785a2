internal import PantlerModel

/// How far something long has come; shown on a terminal and nowhere else.
struct ProgressBar: Sendable {
    let total: Int
    private let isShown = Terminal.Stream.error.isTerminal

    private static let width = 30

    init(total: Int) {
        self.total = total
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

    /// `[=====>    ]  42.0 %  1,234 of 2,938  20,000/s  1m 5s left`
    func line(at done: Int, after seconds: Double) -> String {
        let fraction = total > 0 ? Double(done) / Double(total) : 1
        let filled = Int(fraction * Double(Self.width))
        let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: Self.width - filled)
        // Before that, a rate says nothing.
        let rate = seconds > 0.5 ? Double(done) / seconds : 0
        let left = rate > 0 ? "  \(Readable.duration(seconds: Double(total - done) / rate)) left" : ""
        let counts = "\(Readable.count(Int64(done))) of \(Readable.count(Int64(total)))"
        let speed = rate > 0 ? "  \(Readable.count(Int64(rate)))/s" : ""
        return "[\(bar)] \(Readable.fixed(fraction * 100, 1)) %  \(counts)\(speed)\(left)"
    }
}
