import Support
import Testing

@Suite("Statistics", .server())
struct StatisticsTests {
    let http: HTTPClient

    init() throws {
        http = try ServerTrait.server.client
    }

    static let tiers = ["memory", "disk", "shared", "stale"]
    static let reasons = ["absent", "expired", "evicted", "deleted", "invalidated", "rejected"]

    /// Holds one snapshot to its sums.
    @discardableResult
    static func checkSums(_ stats: JSON) -> (gets: Int, hits: Int) {
        let gets = stats["gets"].int ?? -1
        let hits = stats["hits"]["total"].int ?? -1
        let misses = stats["misses"]["total"].int ?? -1
        #expect(gets == hits + misses)
        #expect(hits == tiers.compactMap { stats["hits"][$0].int }.reduce(0, +))
        #expect(misses == reasons.compactMap { stats["misses"][$0].int }.reduce(0, +))
        return (gets, hits)
    }

    private struct Seen: Sendable {
        var gets = 0
        var hits = 0
    }

    @Test(
        "under concurrent load hits and misses add up to the gets, always, and to what the clients saw",
        arguments: ["memory", "behind"]
    )
    func load(durability: String) throws {
        let server = try ServerTrait.server
        // Few entries fit in memory, so that all ways to hit and to miss are taken.
        let ns = try http.namespace(#"{"durability":"\#(durability)","max_entries":60}"#)
        let over = Shared(false)
        let watcher = BackgroundThreads(1) { _ in
            let http = server.client
            var last = (gets: 0, hits: 0)
            var looks = 0
            while !over.value {
                let now = Self.checkSums(try http.get("\(ns)/stats").json)
                #expect(now.gets >= last.gets && now.hits >= last.hits, "counters only grow")
                last = now
                Self.checkSums(try http.get("/v1/stats").json)
                looks += 1
            }
            return looks
        }
        let generator = SeededGenerator()
        let seen = try onThreads(5) { thread in
            try Self.client(server.client, ns, SeededGenerator(seed: generator.seed &+ UInt64(thread)))
        }
        over.value = true
        #expect(try watcher.join()[0] > 0)
        let gets = seen.map(\.gets).reduce(0, +)
        let hits = seen.map(\.hits).reduce(0, +)
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["gets"].int == gets, "\(generator)")
        #expect(stats["hits"]["total"].int == hits, "\(generator)")
        #expect(stats["misses"]["total"].int == gets - hits)
        // Foundation does not read every double back to its last bit.
        #expect(abs((stats["hit_ratio"].double ?? -1) - Double(hits) / Double(gets)) < 1e-12)

        let metrics = try server.metrics()
        let name = try #require(stats["namespace"].string)
        for tier in Self.tiers {
            #expect(metrics.sum("pantler_hits_total", ["namespace": name, "tier": tier]) == stats["hits"][tier].double)
        }
        for reason in Self.reasons {
            #expect(
                metrics.sum("pantler_misses_total", ["namespace": name, "reason": reason])
                    == stats["misses"][reason].double
            )
        }
    }

    /// One client's share of the load, counting for itself.
    private static func client(_ http: HTTPClient, _ ns: String, _ start: SeededGenerator) throws -> Seen {
        var generator = start
        var seen = Seen()
        for _ in 0..<400 {
            let key = "k\(generator.next() % 150)"
            switch generator.next() % 10 {
            case 0, 1: try http.store(ns, key, "1", #""tags":["t"]"#)
            case 2: try http.store(ns, key, "1", #""ttl":0.01"#)
            case 3: _ = try http.delete("\(ns)/entries/\(key)")
            case 4:
                // Each key once: one that is named again is neither looked up nor counted again.
                let first = generator.next()
                let keys = (0..<5).map { "\"k\((UInt64($0) * 31 + first % 150) % 150)\"" }
                let found = expect(
                    try http.post("\(ns)/batch/get", #"{"keys":[\#(keys.joined(separator: ","))]}"#),
                    200
                )
                seen.gets += 5
                seen.hits += found.json["entries"].array.count
                #expect(found.json["entries"].array.count + found.json["missing"].array.count == 5)
            case 5:
                let response = try http.request(
                    generator.next() % 2 == 0 ? "HEAD" : "GET",
                    "\(ns)/values/\(key)",
                    ["If-None-Match": "*"]
                )
                seen.gets += 1
                if response.status == 304 { seen.hits += 1 } else { #expect(response.status == 404) }
            case 6 where generator.next() % 8 == 0:
                expect(try http.post("\(ns)/invalidate", #"{"tags":["t"]}"#), 200)
            default:
                let response = try http.get("\(ns)/entries/\(key)")
                seen.gets += 1
                if response.status == 200 { seen.hits += 1 } else { #expect(response.status == 404) }
            }
        }
        return seen
    }

    @Test("every reason of a miss is told, in the answer and in the counts")
    func reasons() throws {
        let ns = try http.namespace(#"{"durability":"memory","max_entries":64,"max_memory":1048576}"#)
        try http.store(ns, "expired", "1", #""ttl":0.02"#)
        try eventually("it expires") { try http.get("\(ns)/entries/expired?peek").status == 404 }
        try http.store(ns, "deleted")
        expect(try http.delete("\(ns)/entries/deleted"), 204)
        try http.store(ns, "invalidated", "1", #""tags":["t"]"#)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["t"]}"#), 200)
        let large = try http.put("\(ns)/values/rejected", bytes: [UInt8](repeating: 1, count: 3 << 20))
        #expect((200...201).contains(large.status))
        try http.store(ns, "evicted")
        for number in 0..<400 { try http.store(ns, "filler\(number)") }
        for reason in Self.reasons {
            let miss = expect(try http.get("\(ns)/entries/\(reason)"), 404, "entry_not_found")
            #expect(miss.reason == reason)
            #expect(miss.detail == reason)
        }
        let stats = try http.get("\(ns)/stats").json
        Self.checkSums(stats)
        for reason in Self.reasons { #expect(stats["misses"][reason].int == 1, "\(reason)") }
        #expect(stats["evictions"]["memory"].int ?? 0 > 0)
        #expect(stats["entries"]["memory"].int ?? 0 <= 64)
        #expect(stats["expirations"].int ?? 0 >= 1)
    }

    @Test("windows tell what happened in the last minutes and since the start, and writes are counted by their kind")
    func windows() throws {
        let ns = try http.namespace()
        try http.store(ns, "a", "1")
        for key in ["a", "a", "a", "none"] { _ = try http.get("\(ns)/entries/\(key)") }
        expect(try http.patch("\(ns)/entries/a", #"{"ttl":60}"#), 200)
        expect(try http.post("\(ns)/counters/a", "{}"), 200)
        expect(try http.delete("\(ns)/entries/a"), 204)
        expect(try http.post("\(ns)/invalidate", #"{"all":true}"#), 200)
        let stats = try http.get("\(ns)/stats").json
        #expect(
            stats.names == [
                "namespace", "since", "gets", "hits", "misses", "hit_ratio", "absent_hits", "windows", "writes",
                "entries", "bytes",
                "evictions",
                "expirations", "leases", "waits", "loads",
            ]
        )
        for window in ["1m", "5m", "1h", "start"] {
            let window = stats["windows"][window]
            #expect(window["gets"].int == 4)
            #expect(window["hits"].int == 3)
            #expect(window["misses"].int == 1)
            #expect(window["hit_ratio"].double == 0.75)
        }
        let writes = stats["writes"]
        #expect(["puts", "deletes", "touches", "counters", "invalidations"].map { writes[$0].int } == [1, 1, 1, 1, 1])
        let fresh = try http.get("\(try http.namespace("{}"))/stats").json
        #expect(fresh["hit_ratio"].isNull && fresh["windows"]["1m"]["hit_ratio"].isNull)
    }
}
