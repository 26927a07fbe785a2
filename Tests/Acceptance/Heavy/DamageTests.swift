import Support
import Testing

extension Heavy {
    /// A database that is not what was written: a refusal at the start where nothing goes without the damaged part, else a miss
    /// that is counted, and never a value that nobody wrote.
    @Suite("A damaged database")
    struct DamageTests {
        private static let entries = 2000

        /// A value that tells its key, and hardly deflates.
        private static func value(_ number: Int) -> [UInt8] {
            var generator = SeededGenerator(seed: UInt64(number))
            return generator.bytes(700 + number % 1500)
        }

        /// A data folder with entries, and its database. The service has stopped.
        private func stocked() throws -> (server: ServerProcess, ns: String, database: Database) {
            let server = try ServerProcess()
            let http = server.client
            let ns = try http.namespace(#"{"durability":"behind"}"#)
            for number in 0..<Self.entries {
                expect(try http.put("\(ns)/values/k\(number)", bytes: Self.value(number)), 201)
            }
            #expect(try server.terminate() == .exited(0))
            return (server, ns, Database(path: try server.databaseFile()))
        }

        @Test("damaged pages cost their entries: each is a counted miss, and the service goes on", arguments: 1...4)
        func pages(run: Int) throws {
            var generator = SeededGenerator()
            let (server, ns, database) = try stocked()
            let size = try #require(Int(try database.run("PRAGMA page_size")))
            let count = try #require(Int(try database.run("PRAGMA page_count")))
            // The first pages are the roots of all tables. Of the others one in fifty is lost, whatever it holds.
            let damaged = (60..<count).filter { _ in Int.random(in: 0..<50, using: &generator) == 0 }
            try database.damage(pages: damaged, size: size, &generator)
            let context = "\(damaged.count) of \(count) pages, \(generator)"

            let next = try server.restarted()
            let http = next.client
            var missing: [Int] = []
            for number in 0..<Self.entries {
                let response = try http.get("\(ns)/values/k\(number)")
                if response.status == 404 {
                    missing.append(number)
                } else {
                    expect(response, 200)
                    #expect(response.body == Self.value(number), "k\(number); \(context)")
                }
            }
            #expect(!missing.isEmpty && missing.count < Self.entries, "\(missing.count) missing; \(context)")
            let stats = try http.get("\(ns)/stats").json
            #expect(stats["misses"]["total"].int == missing.count)
            StatisticsTests.checkSums(stats)
            let metrics = try next.metrics()
            let counted = metrics.sum("pantler_disk_corruptions_total") + metrics.sum("pantler_disk_read_faults_total")
            #expect(counted > 0, "\(context)")
            #expect(next.log.contains("corrupt") || next.log.contains("malformed"), "\(context)\n\(next.log)")

            // It is a cache: what is missing is put again.
            for number in missing.prefix(50) {
                let put = try http.put("\(ns)/values/k\(number)", bytes: Self.value(number))
                #expect((200...201).contains(put.status), "\(put); \(context)")
                #expect(try http.get("\(ns)/values/k\(number)").body == Self.value(number), "\(context)")
            }
            // Damage that was met is a fault of the whole tier: a policy holds in memory then, and is not durable yet.
            let fresh = "/v1/namespaces/fresh"
            let made = try http.put(fresh, #"{"durability":"memory"}"#)
            if made.status != 201 { expect(made, 503, "storage_unavailable") }
            try http.store(fresh, "a", "1")
            #expect(try http.get("\(fresh)/values/a").text == "1")
            _ = try next.terminate(within: 10)
        }

        @Test(
            "a stored value with a byte changed is a counted miss, and can be written again",
            arguments: [("deflated", "1KiB"), ("plain", "1MiB")]
        )
        func value(form: String, threshold: String) throws {
            let server = try ServerProcess(
                .init(configuration: "namespaces:\n  defaults:\n    compression:\n      threshold: \(threshold)\n")
            )
            let ns = "/v1/namespaces/damaged"
            let text = "\"" + String(repeating: "pantler keeps ", count: 500) + "\""
            for key in ["good", "bad"] { try server.client.store(ns, key, text) }
            #expect(try server.terminate() == .exited(0))

            let database = Database(path: try server.databaseFile())
            let row = "FROM entries WHERE key = CAST('bad' AS BLOB)"
            #expect(try database.run("SELECT form \(row)") == (form == "deflated" ? "1" : "0"))
            var stored = Array(try database.run("SELECT hex(value) \(row)"))
            let middle = stored.count / 4 * 2
            stored[middle] = stored[middle] == "0" ? "F" : "0"
            try database.run("UPDATE entries SET value = x'\(String(stored))' WHERE key = CAST('bad' AS BLOB)")

            let next = try server.restarted()
            let http = next.client
            expect(try http.get("\(ns)/values/bad"), 404, "entry_not_found")
            #expect(try next.metrics().sum("pantler_disk_corruptions_total") >= 1)
            #expect(try http.get("\(ns)/values/good").text == text)
            try eventually("the damaged row is removed") {
                try http.get("\(ns)/entries").json["entries"].array.map { $0["key"].string } == ["good"]
            }
            try http.store(ns, "bad", "2")
            #expect(try next.terminate() == .exited(0))
            let last = try next.restarted()
            #expect(try last.client.get("\(ns)/values/bad").text == "2")
            #expect(try last.terminate() == .exited(0))
        }

        @Test(
            "a file whose first page is damaged is refused at the start, and left as it is",
            arguments: [
                ("all of it", 0..<4096), ("the schema", 100..<4096), ("its name", 0..<16),
            ]
        )
        func firstPage(what: String, range: Range<Int>) throws {
            var generator = SeededGenerator()
            let (server, _, database) = try stocked()
            try database.change { $0.replaceSubrange(range, with: generator.bytes(range.count)) }
            let before = contents(of: database.path)
            let result = try Command.run(["serve", "--port", "0", "--data-dir", server.dataFolder])
            #expect(result.status == 1, "\(result)")
            #expect(result.errors.contains(database.path), "\(result)")
            #expect(contents(of: database.path) == before)
        }
    }
}
