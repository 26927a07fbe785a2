import Foundation
import Support
import Testing

extension Heavy {
    /// What `bench replay` on one connection hits, held against an exact LRU of as many entries.
    ///
    /// Recorded traces are not part of the project. Whoever has some as `NAME.csv.gz` names their folder in `PANTLER_TRACES`.
    @Suite("Replays")
    struct ReplayTests {
        /// By how much a hit ratio may differ from the exact one: half a point.
        private static let tolerance = 0.005

        /// Replays over one connection, into a namespace that holds a tenth of the keys.
        private func replay(_ trace: Trace, _ server: ServerProcess, durability: String) throws -> JSON {
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            let path = folder.file("trace.csv")
            try trace.write(csv: path)
            let result = try Command.run(
                [
                    "bench", "replay", path, "--connections", "1", "--max-entries", "10%", "--durability", durability,
                    "--create", "-n", "replay", "-o", "json",
                ],
                url: server.url,
                within: 240
            )
            #expect(result.status == 0, "\(result)")
            let report = result.json
            #expect(report["gets"].int == trace.requests.count)
            #expect(report["errors"].int == 0)
            return report
        }

        private func checkExact(_ trace: Trace) throws {
            let server = try ServerProcess()
            let report = try replay(trace, server, durability: "memory")
            let exact = trace.hitRatio(ofLRU: trace.distinctKeys / 10)
            let ratio = try #require(report["hit_ratio"].double)
            #expect(abs(ratio - exact) <= Self.tolerance, "\(ratio) instead of \(exact)")
            #expect(try server.terminate() == .exited(0))
        }

        @Test(
            "in memory alone the hit ratio is an exact LRU's",
            arguments: [(keys: 3000, exponent: 0.9), (keys: 8000, exponent: 0.7)]
        )
        func drawn(keys: Int, exponent: Double) throws {
            try checkExact(Trace(zipf: keys, exponent: exponent, requests: 40_000, seed: UInt64(keys)))
        }

        @Test(
            "in memory alone a recorded trace's hit ratio is an exact LRU's",
            .enabled(if: traces != nil),
            arguments: [
                "nasa-19950801", "web12", "adaptsize",
            ]
        )
        func recorded(name: String) throws {
            try checkExact(try Self.recordedTrace(name, limit: 40_000))
        }

        @Test("over an ample disk only first requests miss: what memory let go is found on disk")
        func twoTiers() throws {
            let trace = Trace(zipf: 3000, exponent: 0.8, requests: 30_000, seed: 5)
            let server = try ServerProcess()
            let report = try replay(trace, server, durability: "behind")
            #expect(report["misses"].int == trace.distinctKeys)
            let stats = try server.client.get("/v1/namespaces/replay/stats").json
            let inMemory = Double(try #require(stats["hits"]["memory"].int)) / Double(trace.requests.count)
            let exact = trace.hitRatio(ofLRU: trace.distinctKeys / 10)
            #expect(abs(inMemory - exact) <= Self.tolerance, "\(inMemory) instead of \(exact)")
            #expect(stats["hits"]["total"].int == trace.requests.count - trace.distinctKeys)
            #expect(
                stats["hits"]["disk"].int
                    == trace.requests.count - trace.distinctKeys - (stats["hits"]["memory"].int ?? 0)
            )
            #expect(stats["misses"]["absent"].int == trace.distinctKeys)
            #expect(stats["evictions"]["disk"].int == 0)
            #expect(try server.terminate() == .exited(0))
        }

        @Test("a memory tier too small in bytes lets nothing get lost either")
        func smallMemory() throws {
            let trace = Trace(zipf: 2000, exponent: 0.8, requests: 10_000, size: 4000, seed: 6)
            let server = try ServerProcess(.init(configuration: "memory:\n  max_memory: 2MiB\n"))
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            try trace.write(csv: folder.file("trace.csv"))
            let result = try Command.run(
                ["bench", "replay", folder.file("trace.csv"), "--connections", "4", "-o", "json"],
                url: server.url,
                within: 120
            )
            #expect(result.status == 0, "\(result)")
            // Two connections may both miss a key at once, before either has put it.
            let misses = try #require(result.json["misses"].int)
            #expect((trace.distinctKeys...trace.distinctKeys * 101 / 100).contains(misses), "\(misses)")
            let stats = try server.client.get("/v1/namespaces/bench/stats").json
            #expect(stats["hits"]["disk"].int ?? 0 > 1000)
            #expect(stats["misses"]["evicted"].int == 0)
            #expect(try server.terminate() == .exited(0))
        }

        // MARK: A bounded disk

        /// Replays over one connection while memory holds 3 % of the keys and the disk 30 %, and holds the hits of both together against an
        /// exact LRU of 30 %.
        ///
        /// - Parameter restarts: whether the service ends and begins anew in the middle.
        private func checkTiers(_ trace: Trace, restarts: Bool) throws {
            var server = try ServerProcess()
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            let disk = trace.distinctKeys * 3 / 10
            let memory = trace.distinctKeys * 3 / 100
            // What a row costs: values are as long as those of the replay.
            let probe = try server.client.namespace("{}")
            let text = String(repeating: "x", count: 256)
            for number in 10_000..<10_200 { try server.client.store(probe, "\(number)", "\"\(text)\"") }
            let cost = try eventually("rows are counted") { () -> Int? in
                let stats = try server.client.get("\(probe)/stats").json
                guard stats["entries"]["disk"].int == 200, let bytes = stats["bytes"]["disk"].int else { return nil }
                return bytes / 200
            }
            let policy = #"{"max_entries":\#(memory),"max_disk":\#(disk * cost)}"#
            expect(try server.client.put("/v1/namespaces/replay", policy), 201)
            let half = trace.requests.count / 2
            let parts = restarts ? [trace.requests[..<half], trace.requests[half...]] : [trace.requests[...]]
            var hits = 0
            for (number, requests) in parts.enumerated() {
                if number > 0 {
                    #expect(try server.terminate() == .exited(0))
                    server = try server.restarted()
                }
                let path = folder.file("\(number).csv")
                try Trace(requests: Array(requests)).write(csv: path)
                let result = try Command.run(
                    ["bench", "replay", path, "--connections", "1", "-n", "replay", "-o", "json"],
                    url: server.url,
                    within: 600
                )
                #expect(result.status == 0, "\(result)")
                hits += try #require(result.json["hits"].int)
            }
            let ratio = Double(hits) / Double(trace.requests.count)
            let exact = trace.hitRatio(ofLRU: disk)
            #expect(ratio >= exact - 0.015, "\(ratio) instead of \(exact)")
            let entries = try server.client.get("/v1/namespaces/replay/stats").json["entries"]["disk"].int ?? 0
            #expect((disk * 9 / 10...disk * 11 / 10).contains(entries), "\(entries) of \(disk) are on disk")
            #expect(try server.terminate() == .exited(0))
        }

        @Test(
            "two bounded tiers hit as often as an exact LRU of the larger one",
            arguments: [false, true]
        )
        func boundedDisk(restarts: Bool) throws {
            try checkTiers(Trace(zipf: 5000, exponent: 0.8, requests: 30_000, seed: 8), restarts: restarts)
        }

        @Test(
            "two bounded tiers hit as often as an exact LRU of the larger one in a recorded trace, too",
            .enabled(if: traces != nil),
            arguments: zip(["web12", "orm-night"], [false, true])
        )
        func recordedBoundedDisk(name: String, restarts: Bool) throws {
            try checkTiers(Self.recordedTrace(name, limit: 60_000), restarts: restarts)
        }

        // MARK: Recorded traces

        /// The folder that `PANTLER_TRACES` names, if it is there.
        static let traces: String? = {
            guard let path = ProcessInfo.processInfo.environment["PANTLER_TRACES"] else { return nil }
            return FileManager.default.fileExists(atPath: path) ? path : nil
        }()

        /// The first requests of a recorded trace.
        private static func recordedTrace(_ name: String, limit: Int) throws -> Trace {
            let unpacked = try Command.run(program: ["gzip", "-dc", "\(traces ?? "")/\(name).csv.gz"])
            guard unpacked.status == 0 else { throw Failure("\(name): \(unpacked.errors)") }
            let folder = try TemporaryDirectory()
            defer { folder.remove() }
            var trace = try Trace(csv: folder.write(unpacked.output, to: "\(name).csv"))
            trace.requests = Array(trace.requests.prefix(limit))
            return trace
        }
    }
}
