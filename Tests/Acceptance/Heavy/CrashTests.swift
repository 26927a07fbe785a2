import Glibc
import PantlerModel
import Support
import Testing

extension Heavy {
    @Suite("Killed without warning")
    struct CrashTests {
        private static let rounds = 20
        private static let writers = 6

        /// What is remembered over all crashes.
        private struct History {
            var journals: [WriterJournal]
            var versions: Set<Int> = []
            var largest = 0
            var answers = 0
            /// Of those the `behind` writes that the service had committed by its own word before it was killed.
            var committed = 0

            /// Takes in the versions that one life of the service gave.
            mutating func take(_ given: [Int], _ context: String) {
                for version in given where !versions.insert(version).inserted {
                    Issue.record("version \(version) was given twice; \(context)")
                }
                if let least = given.min() {
                    #expect(least > largest, "versions of a new start are larger than all before; \(context)")
                }
                largest = max(largest, given.max() ?? 0)
            }
        }

        /// A `through` write has to be there when it was answered. A `behind` write has to be there when the service has said that nothing
        /// waits any more that came so early. 50 ms are promised, but where other processes keep the cores busy the writer's thread may
        /// wait for one longer than that: with ten of them on two cores it once ran for 1 ms of 220. No clock of a test's tells that from a
        /// fault.
        @Test("kill -9 at 20 moments under load loses nothing that was promised, and no version is given twice")
        func crashes() throws {
            var generator = SeededGenerator()
            var server = try ServerProcess()
            var history = History(journals: try journals(server.client))
            for round in 1...Self.rounds {
                let context = "round \(round), \(generator)"
                let committedBefore = try load(server, &history, &generator)
                #expect(try Database.integrity(of: server.dataFolder) == "ok", "\(context)")
                server = try server.restarted()
                let http = server.client
                var given = history.journals.flatMap(\.versions)
                for index in history.journals.indices {
                    let versions = history.journals[index].versions
                    #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 }, "\(context)")
                    given += try history.journals[index].check(
                        http,
                        committedBefore: committedBefore,
                        context
                    )
                    let policy = try http.get(history.journals[index].namespace).json
                    #expect(policy["durability"].string == history.journals[index].durability.rawValue, "\(context)")
                }
                history.take(given, context)
            }
            #expect(history.answers > Self.rounds * Self.writers, "there was a load")
            #expect(history.committed > Self.rounds, "writes came to disk while others came in")
            #expect(try server.terminate() == .exited(0))
            let check = try Command.run(["check", "--data-dir", server.dataFolder])
            #expect(check.status == 0, "\(check)")
        }

        /// A writer each, half of them in a namespace of either durability.
        private func journals(_ http: HTTPClient) throws -> [WriterJournal] {
            let durabilities: [Durability] = [.through, .behind]
            let namespaces = try durabilities.map { try http.namespace(#"{"durability":"\#($0.rawValue)"}"#) }
            return (0..<Self.writers).map { number in
                WriterJournal(
                    namespace: namespaces[number % 2],
                    durability: durabilities[number % 2],
                    name: "w\(number)"
                )
            }
        }

        /// Lets the writers write, and kills the service in the midst of it.
        ///
        /// - Returns: what was answered before this moment was committed, as the service said.
        private func load(
            _ server: ServerProcess,
            _ history: inout History,
            _ generator: inout SeededGenerator
        ) throws -> UInt64 {
            let journals = history.journals
            let seed = generator.next()
            let answered = Shared(0)
            let watching = BackgroundThreads(1) { _ in Self.watch(server.client) }
            let writing = BackgroundThreads(journals.count) { number in
                var journal = journals[number]
                journal.write(server.client, SeededGenerator(seed: seed &+ UInt64(number)), answered: answered)
                return journal
            }
            try eventually("the writers write") { answered.value > 0 }
            // Not a wait for anything: the moment is what is random.
            usleep(UInt32.random(in: 1000...400_000, using: &generator))
            try server.kill9()
            let committedBefore = try watching.join().max() ?? 0
            history.journals = try writing.join()
            history.answers += answered.value
            for journal in history.journals where journal.durability == .behind {
                history.committed += journal.answers(before: committedBefore)
            }
            return committedBefore
        }

        /// Asks the service until it does not answer any more for how long the oldest change has waited.
        ///
        /// - Returns: the latest moment of which it said that all that came before had been committed.
        private static func watch(_ http: HTTPClient) -> UInt64 {
            var latest: UInt64 = 0
            while true {
                let askedAt = monotonicNanoseconds()
                guard let queue = try? http.get("/v1/stats").json["write_behind"], let age = queue["age"].double else {
                    return latest
                }
                // The service looks later than it is asked, and leaves out what is less than a millisecond.
                let waited = UInt64(age * 1000 + 1.5) * 1_000_000
                latest = max(latest, askedAt - min(waited, askedAt))
                // One answer after the other would keep the writers from writing.
                usleep(1000)
            }
        }
    }
}
