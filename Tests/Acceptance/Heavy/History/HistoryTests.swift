import Foundation
import Support
import Testing

extension Heavy {
    /// Clients that do all there is to do with the same few keys at once. What each of them is answered has to be what a service could answer
    /// that does one thing after the other.
    @Suite("Histories of many clients")
    struct HistoryTests {
        /// Operations on single keys in a run; `PANTLER_TEST_OPERATIONS` has another number.
        private static let operations =
            ProcessInfo.processInfo.environment["PANTLER_TEST_OPERATIONS"].flatMap { Int($0) } ?? 100_000
        /// Calls after which the clients meet, and the history so far is checked.
        private static let round = 4000

        @Test("without a crash each key is linearizable", arguments: [#"{"durability":"behind"}"#])
        func running(policy: String) throws {
            var run = try HistoryRun(policy: policy, isThrough: false)
            while run.operations < Self.operations {
                guard try run.round(of: Self.round...Self.round, kills: false) else { return print(run.summary) }
            }
            print(run.summary)
            try run.stop()
        }

        @Test(
            "with kill -9 in between each key is linearizable, as far as it was answered, and no lease outlives a start",
            arguments: [#"{"durability":"through","max_entries":2}"#]
        )
        func killed(policy: String) throws {
            var run = try HistoryRun(policy: policy, isThrough: true)
            while run.operations < Self.operations {
                guard try run.round(of: Self.round / 2...Self.round * 3 / 2, kills: true) else {
                    return print(run.summary)
                }
            }
            print(run.summary)
            try run.stop()
        }
    }
}
