import Foundation
import Support
import Testing

extension Heavy {
    /// Crash after crash under load, over a disk of which some calls fail.
    @Suite("A disk that fails now and then")
    struct FailingDiskLoadTests {
        private static let callers = 3
        /// Crashes of each kind; `PANTLER_TEST_CRASHES` has another number.
        private static let crashes =
            ProcessInfo.processInfo.environment["PANTLER_TEST_CRASHES"].flatMap { Int($0) } ?? 15

        private struct CallerState: Sendable {
            var model = DiskModel()
            var complaints: [String] = []
            var history: [String] = []
            var answers = 0
            var refusals = 0
        }

        private struct Totals {
            var answers = 0
            var refusals = 0
            var failedWrites: UInt64 = 0
            var failedSyncs: UInt64 = 0
            var writes: UInt64 = 0
            var syncs: UInt64 = 0
        }

        /// 0.5 % of the writes and 3 % of the syncs; before every other power cut some pages are durable before any sync.
        private static func faults(_ round: Int, _ generator: inout SeededGenerator) -> FailingDisk.Faults {
            var faults = FailingDisk.Faults()
            faults.writeRate = 500
            faults.syncRate = 3000
            faults.writeError = round % 5 == 0 ? ENOSPC : EIO
            if round % 4 == 1 { faults.writebackRate = 20_000 }
            faults.seed = generator.next()
            return faults
        }

        @Test("kills and power cuts in turn under all kinds of change lose no answer, and bring nothing back")
        func crashes() throws {
            var generator = SeededGenerator()
            var states = Array(repeating: CallerState(), count: Self.callers)
            var disk = try FailingDisk()
            var totals = Totals()
            var owners: [Int: Int] = [:]
            for round in 0...(2 * Self.crashes) {
                let context = "round \(round), \(generator)"
                let crash = FailingDisk.Crash.allCases[round % 2]
                let server = try ServerProcess(
                    .init(configuration: DiskScript.configuration, data: disk.folder, environment: disk.environment)
                )
                let latest = states.map(\.model.latestVersion).max() ?? 0
                for number in states.indices {
                    var caller = DiskCaller(server.client, states[number].model, history: states[number].history)
                    // What the round before ended with.
                    try caller.begin(after: FailingDisk.Crash.allCases[(round + 1) % 2])
                    if round == 0 { try DiskLoad(number: number, seed: 0).prepare(&caller) }
                    caller.model.raise(latest: latest)
                    states[number].model = caller.model
                    states[number].complaints += caller.complaints
                    states[number].history = caller.history
                }
                let ready = try server.client.get("/readyz")
                #expect(ready.status == 200, "\(ready); \(context)")
                disk.arm(Self.faults(round, &generator))
                let killAfter = UInt32.random(in: 5000...500_000, using: &generator)
                let seed = generator.next()
                let loading = BackgroundThreads(Self.callers) { [states] number in
                    Self.load(server, states[number], DiskLoad(number: number, seed: seed &+ UInt64(number)))
                }
                // Not a wait for anything: the moment is what is random.
                usleep(killAfter)
                let isRunning = server.isRunning
                #expect(isRunning, "\(server.log.suffix(3000)); \(context)")
                try server.kill9()
                states = try loading.join()
                totals.failedWrites += disk.failedWrites
                totals.failedSyncs += disk.failedSyncs
                totals.writes += disk.writes
                totals.syncs += disk.syncs
                for number in states.indices {
                    for complaint in states[number].complaints.prefix(3) {
                        print("caller \(number): \(complaint); \(context)")
                        fflush(nil)
                        Issue.record("caller \(number): \(complaint); \(context)")
                    }
                    totals.answers += states[number].answers
                    totals.refusals += states[number].refusals
                    for version in states[number].model.takeNewVersions() {
                        let other = owners.updateValue(number, forKey: version)
                        #expect(
                            other == nil || other == number,
                            "version \(version) of callers \(number) and \(other ?? -1)"
                        )
                    }
                    states[number].complaints = []
                }
                let remains = try disk.remains(of: crash)
                let integrity = try Database.integrity(of: remains.path)
                #expect(integrity == "ok", "after a \(crash.rawValue): \(context)")
                disk = try FailingDisk(from: remains.path)
            }
            print("\(Self.crashes) kills and as many power cuts: \(totals)")
            #expect(totals.answers > Self.crashes * Self.callers, "there was a load")
        }

        private static func load(_ server: ServerProcess, _ state: CallerState, _ load: DiskLoad) -> CallerState {
            var load = load
            var caller = DiskCaller(server.client, state.model, history: state.history)
            do {
                while true { try load.step(&caller) }
            } catch {
                // The connection's end: what was asked last has no answer.
            }
            return CallerState(
                model: caller.model,
                complaints: state.complaints + caller.complaints,
                history: caller.history,
                answers: caller.answers,
                refusals: caller.refusals
            )
        }
    }
}
