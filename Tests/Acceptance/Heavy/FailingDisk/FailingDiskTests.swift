import Foundation
import Support
import Testing

extension Heavy {
    /// The service over a disk that fails, and what a crash leaves of it then.
    @Suite("A disk that fails")
    struct FailingDiskTests {
        /// A run of the script with one fault, or one from which on all fails.
        struct Fault: Sendable, CustomStringConvertible {
            enum Call: String, Sendable, CaseIterable { case write, sync }

            /// When the crash comes.
            enum End: Int, Sendable, CaseIterable {
                /// Right after the request in which a call failed first.
                case atOnce
                /// A request later.
                case soon
                /// After the whole script.
                case late
                /// After the whole script and a stop that was asked for.
                case stopped
            }

            var call: Call
            var number: UInt64
            var isForGood: Bool
            var end: End

            var faults: FailingDisk.Faults {
                var faults = FailingDisk.Faults()
                let range = number...(isForGood ? UInt64.max : number)
                switch call {
                case .write: faults.writes = range
                case .sync: faults.syncs = range
                }
                faults.seed = number
                return faults
            }

            var description: String { "\(call) \(number) \(isForGood ? "always" : "once") \(end)" }

            init(_ call: Call, _ number: UInt64, isForGood: Bool, _ end: End) {
                self.call = call
                self.number = number
                self.isForGood = isForGood
                self.end = end
            }

            /// - Parameter description: as `description` has it.
            init?(_ description: String) {
                let words = description.split(separator: " ").map(String.init)
                guard words.count == 4, let call = Call(rawValue: words[0]), let number = UInt64(words[1]),
                    let end = End.allCases.first(where: { "\($0)" == words[3] })
                else { return nil }
                self.init(call, number, isForGood: words[2] == "always", end)
            }
        }

        /// A data folder as a crash left it after `DiskScript.prepare`, and what is in it.
        private struct Template: Sendable {
            let folder: TemporaryDirectory
            let model: DiskModel

            init() throws {
                let server = try ServerProcess(.init(configuration: DiskScript.configuration))
                var caller = DiskCaller(server.client)
                try DiskScript.prepare(&caller)
                try #require(caller.complaints.isEmpty, "\(caller.complaints)")
                try server.kill9()
                folder = try TemporaryDirectory()
                try copyFiles(of: server.dataFolder, to: folder.path)
                model = caller.model
            }
        }

        private struct Outcome: Sendable {
            var complaints: [String] = []
            var writes: UInt64 = 0
            var syncs: UInt64 = 0
            var failures: UInt64 = 0
            var refusals = 0
        }

        /// One run: the script, a crash, and a look at what either kind of crash left.
        private static func run(_ fault: Fault?, _ template: Template) throws -> Outcome {
            let disk = try FailingDisk(from: template.folder.path)
            let server = try ServerProcess(
                .init(configuration: DiskScript.configuration, data: disk.folder, environment: disk.environment)
            )
            var outcome = Outcome()
            var caller = DiskCaller(server.client, template.model)
            if fault?.isForGood == true { caller.patience = 0 }
            try caller.begin(after: .kill)
            // In memory from here on.
            try caller.put("m", "hot", .init(value: "1"))
            disk.arm(fault?.faults ?? FailingDisk.Faults())
            var stepsLeft = Int.max
            do {
                for step in DiskScript.steps where stepsLeft > 0 {
                    stepsLeft -= 1
                    try step(&caller)
                    guard disk.failures > 0 else { continue }
                    try caller.look("m", "hot")
                    switch fault?.end {
                    case .atOnce: stepsLeft = 0
                    case .soon: stepsLeft = min(stepsLeft, 1)
                    case .late, .stopped, nil: break
                    }
                }
                if stepsLeft > 0 { try caller.lookAtAll() }
            } catch {
                caller.complain("\(error); \(server.isRunning ? "it runs" : "it ended")\n\(server.log.suffix(3000))")
            }
            if !server.isRunning { caller.complain("the service ended\n\(server.log.suffix(3000))") }
            if fault?.end == .stopped, server.isRunning {
                _ = try server.terminate()
            } else {
                try server.kill9()
            }
            (outcome.writes, outcome.syncs, outcome.failures) = (disk.writes, disk.syncs, disk.failures)
            outcome.refusals = caller.refusals
            outcome.complaints = caller.complaints
            for crash in FailingDisk.Crash.allCases {
                var after = DiskCaller(caller.http, caller.model)
                do {
                    try look(&after, crash, disk)
                } catch {
                    after.complain("after a \(crash.rawValue): \(error)")
                }
                outcome.complaints += after.complaints.map { "after a \(crash.rawValue): \($0)" }
            }
            return outcome
        }

        /// Starts on what a crash left, with a disk that is well, and looks at everything.
        private static func look(_ caller: inout DiskCaller, _ crash: FailingDisk.Crash, _ disk: FailingDisk) throws {
            let remains = try disk.remains(of: crash)
            defer { remains.remove() }
            let integrity = try Database.integrity(of: remains.path)
            if integrity != "ok" { caller.complain("the file is damaged: \(integrity)") }
            let server = try ServerProcess(.init(configuration: DiskScript.configuration, data: remains.path))
            caller = DiskCaller(server.client, caller.model)
            try caller.begin(after: crash)
            let ready = try server.client.get("/readyz")
            if ready.status != 200 { caller.complain("not ready: \(ready)") }
            // Its version is above all that were answered or found.
            try caller.setPolicy("later", .through, defaultTTL: 1)
            try caller.put("later", "k", .init(value: "1"))
            if try server.metrics().sum("pantler_disk_corruptions_total") != 0 { caller.complain("rows are damaged") }
            try server.kill9()
        }

        @Test("the script without a fault")
        func sound() throws {
            let template = try Template()
            let outcome = try Self.run(nil, template)
            print("no fault: \(outcome.writes) writes, \(outcome.syncs) syncs")
            #expect(outcome.complaints == [])
        }

        /// The faults of a run: each once and for good, with the moments of the crash in turn. `PANTLER_TEST_FAULTS` names others, as failures
        /// name them and separated by commas; `all` is every fault with every moment.
        private static func faults(_ call: Fault.Call, count: UInt64) -> [Fault] {
            let wanted = ProcessInfo.processInfo.environment["PANTLER_TEST_FAULTS"] ?? ""
            if !wanted.isEmpty, wanted != "all" {
                return wanted.split(separator: ",").compactMap { Fault(String($0)) }.filter { $0.call == call }
            }
            return (1...count).flatMap { number in
                [false, true].flatMap { isForGood in
                    Fault.End.allCases.filter { end in
                        wanted == "all" || end.rawValue == Int(number + (isForGood ? 2 : 0)) % 4
                    }.map { Fault(call, number, isForGood: isForGood, $0) }
                }
            }
        }

        @Test(
            "any one write or sync fails, or all from there on, and a crash follows: what was answered is there, and nothing else",
            .enabled(if: ProcessInfo.processInfo.environment["PANTLER_TEST_FAULTS"] != nil),
            arguments: Fault.Call.allCases
        )
        func every(call: Fault.Call) throws {
            let template = try Template()
            let sound = try Self.run(nil, template)
            let faults = Shared(Self.faults(call, count: call == .write ? sound.writes : sound.syncs))
            let outcomes = try onThreads(2) { _ in
                var all: [String] = []
                var refusals = 0
                while let fault = faults.update({ $0.popLast() }) {
                    let outcome = try Self.run(fault, template)
                    refusals += outcome.refusals
                    // What comes after the first may follow from it.
                    guard let first = outcome.complaints.first else { continue }
                    all.append("\(fault): \(first) (and \(outcome.complaints.count - 1) more)")
                    // At once, for who waits.
                    print(all.last ?? "")
                    fflush(nil)
                }
                return (all, refusals)
            }
            let complaints = outcomes.flatMap(\.0)
            #expect(outcomes.reduce(0) { $0 + $1.1 } > 0, "some answers told of the fault")
            for complaint in complaints.prefix(40) { Issue.record("\(complaint)") }
            #expect(complaints.isEmpty, "\(complaints.count) runs")
        }
    }
}
