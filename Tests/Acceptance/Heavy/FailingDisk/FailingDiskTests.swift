import Foundation
import Support
import Testing

extension Heavy {
    /// The service over a disk that fails, and what a crash leaves of it then.
    @Suite("A disk that fails")
    struct FailingDiskTests {
        @Test("without a fault the script and a start end well")
        func sound() throws {
            let template = try DiskTemplate()
            let script = try DiskRun.script(nil, template)
            let start = try DiskRun.start(nil, template)
            print("script: \(script.writes) writes, \(script.syncs) syncs; start: \(start.writes) and \(start.syncs)")
            #expect(script.complaints == [])
            #expect(start.complaints == [])
        }

        /// Of the faults that there can be, so many make a run that nothing else was asked of.
        private static let sample = 40

        /// The faults of a run: some of all, spread evenly from a random one on. `PANTLER_TEST_FAULTS` has others: `each` is each call once and
        /// for good, with the moments of the crash in turn; `all` has every moment for every fault; or single ones, as failures name them,
        /// separated by commas.
        private static func faults(_ call: DiskFault.Call, count: UInt64) -> [DiskFault] {
            let wanted = ProcessInfo.processInfo.environment["PANTLER_TEST_FAULTS"] ?? ""
            if !["", "each", "all"].contains(wanted) {
                return wanted.split(separator: ",").compactMap { DiskFault(String($0)) }.filter { $0.call == call }
            }
            let faults = (1...count).flatMap { number in
                [false, true].flatMap { isForGood in
                    DiskFault.End.allCases.filter { end in
                        wanted == "all" || end.rawValue == Int(number + (isForGood ? 2 : 0)) % 4
                    }.map { DiskFault(call, number, isForGood: isForGood, $0) }
                }
            }
            guard wanted.isEmpty, faults.count > sample else { return faults }
            var generator = SeededGenerator()
            let first = Int.random(in: 0..<faults.count, using: &generator)
            // Every other one is moved by one place: by an even step all would be failures once, or all for good.
            return (0..<sample).map { place in
                faults[(first + place * faults.count / sample + place % 2) % faults.count]
            }
        }

        /// Runs with each fault, and returns what was wrong and how many answers told of faults.
        private static func run(
            _ faults: [DiskFault],
            _ body: @escaping @Sendable (DiskFault) throws -> DiskRun
        ) throws -> (complaints: [String], refusals: Int) {
            let faults = Shared(faults)
            let outcomes = try onThreads(2) { _ in
                var complaints: [String] = []
                var refusals = 0
                while let fault = faults.update({ $0.popLast() }) {
                    let run = try body(fault)
                    refusals += run.refusals
                    // What comes after the first may follow from it.
                    guard let first = run.complaints.first else { continue }
                    complaints.append("\(fault): \(first) (and \(run.complaints.count - 1) more)")
                    // At once, for who waits.
                    print(complaints.last ?? "")
                    fflush(nil)
                }
                return (complaints, refusals)
            }
            return (outcomes.flatMap(\.0), outcomes.reduce(0) { $0 + $1.1 })
        }

        private static func report(_ complaints: [String]) {
            for complaint in complaints.prefix(40) { Issue.record("\(complaint)") }
            #expect(complaints.isEmpty, "\(complaints.count) runs")
        }

        @Test(
            "any one write or sync fails, or all from there on, and a crash follows: what was answered is there, and nothing else",
            arguments: DiskFault.Call.allCases
        )
        func every(call: DiskFault.Call) throws {
            let template = try DiskTemplate()
            let sound = try DiskRun.script(nil, template)
            let faults = Self.faults(call, count: call == .write ? sound.writes : sound.syncs)
            let (complaints, refusals) = try Self.run(faults) { try DiskRun.script($0, template) }
            if faults.count > 20 { #expect(refusals > 0, "some answers told of the fault") }
            Self.report(complaints)
        }

        @Test(
            "any one write or sync of a start fails, or all from there on: it serves, or says why not, and nothing is lost",
            arguments: DiskFault.Call.allCases
        )
        func starts(call: DiskFault.Call) throws {
            let template = try DiskTemplate()
            let sound = try DiskRun.start(nil, template)
            let count = call == .write ? sound.writes : sound.syncs
            guard count > 0 else { return }
            Self.report(try Self.run(Self.faults(call, count: count)) { try DiskRun.start($0, template) }.complaints)
        }
    }
}
