import Support
import Testing

@Suite("What a restart keeps")
struct RecoveryTests {
    /// Stops a service and starts the next one on the same data.
    private func restart(_ server: ServerProcess) throws -> ServerProcess {
        #expect(try server.terminate() == .exited(0), "\(server.log.suffix(4000))")
        return try server.restarted()
    }

    @Test("namespaces keep their policies, their numbers of flushes, and when they were made")
    func namespaces() throws {
        let server = try ServerProcess()
        let policies = [
            "plain": "{}",
            "full": """
            {"default_ttl":60.5,"max_ttl":3600,"stale_ttl":30,"negative_ttl":4.5,"early_refresh":1.25,"ttl_jitter":0.25,"max_memory":10000000,"max_entries":500,\
            "max_disk":20000000,"max_value_size":4096,"eviction":"lru","durability":"through",\
            "compression":{"threshold":100,"level":9}}
            """,
            "memory": #"{"durability":"memory"}"#,
        ]
        for (name, policy) in policies { expect(try server.client.put("/v1/namespaces/\(name)", policy), 201) }
        expect(try server.client.put("/v1/namespaces/dropped", "{}"), 201)
        expect(try server.client.drop("/v1/namespaces/dropped"), 204)
        for _ in 0..<3 { expect(try server.client.post("/v1/namespaces/plain/invalidate", #"{"all":true}"#), 200) }
        let before = try server.client.get("/v1/namespaces").text

        let next = try restart(server)
        #expect(try next.client.get("/v1/namespaces").text == before)
        #expect(try next.client.get("/v1/namespaces/plain").json["generation"].int == 3)
        #expect(
            try next.client.post("/v1/namespaces/plain/invalidate", #"{"all":true}"#).json["generation"].int == 4
        )
        expect(try next.client.get("/v1/namespaces/dropped"), 404, "namespace_not_found")
        #expect(try next.terminate() == .exited(0))
    }

    @Test("entries keep value, media type, version, expiry and tags; those of durability memory are gone")
    func entries() throws {
        let server = try ServerProcess()
        let http = server.client
        let ns = try http.namespace()
        let memory = try http.namespace(#"{"durability":"memory"}"#)
        let bodies = [
            "number": #"{"value":18446744073709551615}"#,
            "ttl": #"{"value":"x","ttl":3600.25,"stale_ttl":60,"tags":["a","ü b"]}"#,
            "bytes": #"{"value_base64":"iVBORw0KGgoA/w==","content_type":"image/png","tags":["a"]}"#,
            "text": #"{"value_base64":"","content_type":"text/plain"}"#,
            "large": #"{"value":"\#(String(repeating: "pantler ", count: 20_000))"}"#,
        ]
        for (key, body) in bodies { expect(try http.put("\(ns)/entries/\(key)", body), 201) }
        try http.store(memory, "a")
        let keys = bodies.keys.sorted()
        func seen(_ http: HTTPClient) throws -> [String] {
            try keys.flatMap { key in
                let entry = expect(try http.get("\(ns)/entries/\(key)"), 200)
                let value = expect(try http.get("\(ns)/values/\(key)"), 200)
                return [entry.text, entry.etag ?? "", value.text, value["Content-Type"] ?? ""]
            }
        }
        let before = try seen(http)
        let next = try restart(server)
        #expect(try seen(next.client) == before)
        expect(try next.client.get("\(memory)/entries/a"), 404)
        #expect(try next.client.get(memory).json["durability"].string == "memory")
        #expect(try next.terminate() == .exited(0))
    }

    @Test("what was deleted, invalidated or flushed stays gone, and what ran out of time meanwhile is gone")
    func gone() throws {
        let server = try ServerProcess()
        let http = server.client
        let ns = try http.namespace()
        let flushed = try http.namespace()
        try http.store(ns, "deleted")
        try http.store(ns, "tagged", "1", #""tags":["t"]"#)
        try http.store(ns, "a/prefixed")
        try http.store(ns, "stale", "1", #""tags":["s"],"stale_ttl":3600"#)
        try http.store(ns, "brief", "1", #""ttl":0.2"#)
        try http.store(flushed, "before")
        expect(try http.delete("\(ns)/entries/deleted"), 204)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["t"]}"#), 200)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["s"],"mode":"stale"}"#), 200)
        expect(try http.post("\(ns)/invalidate", #"{"prefix":"a/"}"#), 200)
        expect(try http.post("\(flushed)/invalidate", #"{"all":true}"#), 200)
        try http.store(ns, "tagged-later", "1", #""tags":["t"]"#)
        try http.store(flushed, "after")

        let next = try restart(server)
        for key in ["deleted", "tagged", "a/prefixed"] { expect(try next.client.get("\(ns)/entries/\(key)"), 404) }
        try eventually("its TTL runs out") { try next.client.get("\(ns)/entries/brief").status == 404 }
        #expect(try next.client.get("\(ns)/entries/stale").detail == "stale")
        expect(try next.client.get("\(ns)/entries/tagged-later"), 200)
        expect(try next.client.get("\(flushed)/entries/before"), 404)
        expect(try next.client.get("\(flushed)/entries/after"), 200)
        // The tag still drops what bears it, from before the restart and from after it.
        expect(try next.client.post("\(ns)/invalidate", #"{"tags":["t"]}"#), 200)
        expect(try next.client.get("\(ns)/entries/tagged-later"), 404)
        #expect(try next.terminate() == .exited(0))
    }

    @Test("versions grow on over restarts, after a stop and after a crash, whatever the durability")
    func versions() throws {
        var server = try ServerProcess()
        let namespaces = try ["memory", "behind", "through"].map { durability in
            try server.client.namespace(#"{"durability":"\#(durability)"}"#)
        }
        var last = 0
        for round in 0..<6 {
            for ns in namespaces {
                for key in ["a", "b"] {
                    let version = try server.client.store(ns, key)
                    #expect(version > last, "round \(round)")
                    last = version
                }
            }
            if round % 2 == 0 {
                try server.kill9()
                server = try server.restarted()
            } else {
                server = try restart(server)
            }
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("of durable puts sent ahead of their answers, those that were answered before a kill -9 are there after it")
    func pipelinedThrough() throws {
        var server = try ServerProcess()
        let ns = try server.client.namespace(#"{"durability":"through"}"#)
        let keys = 100
        for (round, answered) in [37, 137, 311].enumerated() {
            let connection = try RawConnection(port: server.port)
            var requests = ""
            for number in 0..<400 {
                let (target, body) = ("\(ns)/entries/k\(number % keys)", #"{"value":\#(round * 1000 + number)}"#)
                let fields = ["Content-Type": "application/json"]
                requests += server.client.head("PUT", target, fields, bodyCount: body.utf8.count) + body
            }
            try connection.send(requests)
            for _ in 0..<answered { #expect(try [200, 201].contains(connection.receive().status)) }
            try server.kill9()
            server = try server.restarted()
            for key in 0..<min(keys, answered) {
                let last = round * 1000 + key + (answered - 1 - key) / keys * keys
                let value = try server.client.get("\(ns)/values/k\(key)")
                expect(value, 200)
                #expect(Int(value.text) ?? -1 >= last, "\(answered) answers, key \(key)")
            }
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("a namespace that is made again after a restart begins with nothing")
    func dropped() throws {
        let server = try ServerProcess()
        let ns = try server.client.namespace()
        let version = try server.client.store(ns, "a")
        expect(try server.client.drop(ns), 204)
        let next = try restart(server)
        let made = try next.client.store(ns, "b")
        #expect(made > version)
        expect(try next.client.get("\(ns)/entries/a"), 404)
        #expect(try next.client.get("\(ns)/entries").json["entries"].array.map { $0["key"].string } == ["b"])
        #expect(try next.terminate() == .exited(0))
    }

    @Test("what was used last comes back into memory by itself, and the rest is found on disk")
    func hotSet() throws {
        let server = try ServerProcess()
        let ns = try server.client.namespace(#"{"max_entries":200}"#)
        for number in 0..<1000 { try server.client.store(ns, "k\(number)", "\(number)") }
        for number in 300..<450 { expect(try server.client.get("\(ns)/entries/k\(number)"), 200) }
        let next = try restart(server)
        let http = next.client
        try eventually("entries come back into memory") {
            try http.get("\(ns)/stats").json["entries"]["memory"].int ?? 0 >= 150
        }
        let tiers = try (300..<450).map { try http.get("\(ns)/entries/k\($0)").detail }
        #expect(tiers.allSatisfy { $0 == "memory" }, "\(tiers)")
        #expect(try http.get("\(ns)/entries/k7").detail == "disk")
        #expect(try http.get("\(ns)/entries/k7").detail == "memory", "it was taken into memory")
        #expect(try next.terminate() == .exited(0))
    }

    @Test(
        "after a restart memory holds the top of the order of last use and nothing below it, over namespaces and their bounds",
        arguments: ["SIGTERM", "SIGKILL"]
    )
    func hotOrder(ending: String) throws {
        let server = try ServerProcess(.init(configuration: "memory:\n  max_memory: 8MiB\n"))
        let bounded = try server.client.namespace(#"{"max_entries":300}"#)
        let wide = try server.client.namespace("{}")
        // More than memory holds, of which some are used again, in an order of their own.
        let value = String(repeating: "x", count: 1000)
        for number in 0..<12_000 { try server.client.store(wide, "k\(number)", "\"\(value)\"") }
        for number in 0..<600 { try server.client.store(bounded, "b\(number)") }
        let used = stride(from: 11_000, to: 2000, by: -3).map { $0 }
        for number in used { expect(try server.client.get("\(wide)/entries/k\(number)"), 200) }
        if ending == "SIGTERM" {
            #expect(try server.terminate() == .exited(0))
        } else {
            // Saved by then: it is every five seconds.
            let commits = try server.metrics().sum("pantler_disk_committed_changes_total")
            try eventually(within: 20, "the hot set is saved") {
                try server.metrics().sum("pantler_disk_committed_changes_total") > commits
            }
            try server.kill9()
        }
        let next = try server.restarted(configuration: "memory:\n  max_memory: 4MiB\n")
        let http = next.client
        func isInMemory(_ ns: String, _ key: String) throws -> Bool {
            let found = expect(try http.get("\(ns)/entries/\(key)?peek"), 200)
            return found.detail == "memory"
        }
        var before = -1
        try eventually(within: 20, "nothing more comes into memory") {
            let now = try http.get("/v1/stats").json["memory"]["bytes"].int ?? 0
            defer { before = now }
            return now == before && now > 3 << 20
        }
        let order = Array(used.reversed())
        let places = try order.map { try isInMemory(wide, "k\($0)") }
        let count = places.prefix { $0 }.count
        #expect(count > 2000, "what fits into 4 MiB")
        #expect(places.dropFirst(count).allSatisfy { !$0 })
        // The lower bound leaves no room for what was used before.
        #expect(try !isInMemory(bounded, "b599"))
        #expect(try next.terminate() == .exited(0))
        // And with room for all of it again, each namespace's own bound holds.
        let third = try next.restarted(configuration: "memory:\n  max_memory: 64MiB\n")
        try eventually(within: 20, "the namespace is as full as it may be") {
            try third.client.get("\(bounded)/stats").json["entries"]["memory"].int ?? 0 <= 300
        }
        #expect(try third.terminate() == .exited(0))
    }
}
