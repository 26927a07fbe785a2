import Support
import Testing

@Suite("Negative entries", .server())
struct NegativeEntryTests {
    let server: ServerProcess
    let http: HTTPClient
    let ns: String

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace()
    }

    private func putAbsent(_ http: HTTPClient, _ ns: String, _ key: String, _ rest: String = "") throws {
        expect(try http.put("\(ns)/entries/\(key)", #"{"absent":true\#(rest)}"#), 201)
    }

    @Test("is put like an entry, and answers gets and heads of both views that there is no such thing")
    func get() throws {
        let ns = try http.namespace(#"{"negative_ttl":86400}"#)
        let put = expect(try http.put("\(ns)/entries/a", #"{"absent":true,"ttl":2999.9,"tags":["t"]}"#), 201)
        #expect(put.json.names == ["key", "version", "expires_at"] && put.json["expires_at"].string != nil)
        let bodies = try ["entries/a", "values/a", "entry?key=a", "entries/a?peek=true"].map { target in
            let found = expect(try http.get("\(ns)/\(target)"), 404, "entry_absent")
            #expect(found.etag == "\"\(try #require(put.version))\"" && found.etag == put.etag)
            #expect(found["Cache-Status"]?.hasPrefix("pantler; hit; ttl=29") == true && found.detail == "absent")
            let head = expect(try http.head("\(ns)/\(target)"), 404)
            #expect(head["Content-Length"] == "\(found.body.count)" && head.etag == found.etag)
            #expect(head.detail == "absent")
            return found.text
        }
        #expect(Set(bodies).count == 1)
        let none = expect(try http.get("\(ns)/entries/a?miss=204"), 204)
        #expect(none.detail == "absent" && none.etag == put.etag && none.body.isEmpty)
        for condition in ["*", put.etag ?? ""] {
            expect(try http.get("\(ns)/entries/a", ["If-None-Match": condition]), 404, "entry_absent")
        }
        expect(try http.get("\(ns)/entries/none"), 404, "entry_not_found")
    }

    @Test("lives for the policy's negative_ttl at most")
    func ttl() throws {
        let ns = try http.namespace(#"{"negative_ttl":2000,"default_ttl":5,"stale_ttl":60}"#)
        func ttl(_ key: String) throws -> Int {
            let status = try #require(try http.get("\(ns)/entries/\(key)")["Cache-Status"])
            let part = try #require(status.split(separator: "; ").first { $0.hasPrefix("ttl=") })
            return try #require(Int(part.dropFirst(4)))
        }
        for (key, rest) in [
            ("none", ""), ("null", #","ttl":null"#), ("long", #","ttl":3600"#),
            ("moment", #","expires_at":"2099-01-01T00:00:00Z""#),
        ] {
            try putAbsent(http, ns, key, rest)
            #expect((1900...2000).contains(try ttl(key)), "\(key)")
        }
        try putAbsent(http, ns, "short", #","ttl":950.5"#)
        #expect((850...950).contains(try ttl("short")))
        expect(try http.patch(ns, #"{"negative_ttl":0.05}"#), 200)
        try putAbsent(http, ns, "brief", #","ttl":3600"#)
        try eventually("its time is over, and it is not stale") {
            try http.get("\(ns)/entries/brief").reason == "expired"
        }
        #expect((1800...2000).contains(try ttl("long")), "what was written before keeps its TTL")
    }

    @Test("is nothing to conditions, patches and counters, and is replaced and deleted like an entry")
    func writes() throws {
        try putAbsent(http, ns, "a")
        let refused = expect(try http.put("\(ns)/entries/a", #"{"value":1}"#, ["If-Match": "*"]), 412)
        #expect(refused.json["version"].isNull)
        expect(try http.delete("\(ns)/entries/a", ["If-Match": "*"]), 412)
        #expect(expect(try http.patch("\(ns)/entries/a", #"{"ttl":9}"#), 404, "entry_not_found").reason == "absent")
        #expect(expect(try http.patch("\(ns)/entries/a", #"{"value":{}}"#), 404).reason == "absent")
        #expect(expect(try http.post("\(ns)/counters/a", #"{"by":1}"#), 404, "entry_not_found").reason == "absent")
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#, ["If-None-Match": "*"]), 201)
        #expect(try http.get("\(ns)/values/a").text == "1")
        expect(try http.put("\(ns)/entries/a", #"{"absent":true}"#), 200)
        expect(try http.put("\(ns)/values/a", bytes: [1], type: "image/png"), 201)
        expect(try http.put("\(ns)/entries/a", #"{"absent":true}"#), 200)
        #expect(expect(try http.post("\(ns)/counters/a", #"{"by":1,"initial":4}"#), 201).json["value"].int == 5)
        try putAbsent(http, ns, "b")
        expect(try http.delete("\(ns)/entries/b"), 204)
        #expect(expect(try http.delete("\(ns)/entries/b"), 404).reason == "deleted")
    }

    @Test(
        "ends with every invalidation, whatever its mode",
        arguments: [#""keys":["a"]"#, #""tags":["t"]"#, #""prefix":"a""#, #""all":true"#],
        ["gone", "stale"]
    )
    func invalidated(what: String, mode: String) throws {
        try putAbsent(http, ns, "a", #","tags":["t"]"#)
        expect(try http.post("\(ns)/invalidate", #"{\#(what),"mode":"\#(mode)"}"#), 200)
        #expect(expect(try http.get("\(ns)/entries/a"), 404, "entry_not_found").reason == "invalidated")
    }

    @Test("envelopes that say both, or what it does not have, are refused and change nothing")
    func refused() throws {
        try http.store(ns, "a")
        for rest in [#""value":1"#, #""value_base64":"""#, #""content_type":"a/b""#, #""stale_ttl":0"#] {
            expect(try http.put("\(ns)/entries/a", #"{"absent":true,\#(rest)}"#), 422, "member_invalid")
        }
        expect(try http.put("\(ns)/entries/a", #"{"absent":false}"#), 422, "missing_member")
        expect(try http.patch("\(ns)/entries/a", #"{"absent":true}"#), 422, "unknown_member")
        #expect(try http.get("\(ns)/values/a").text == "1")
        expect(try http.put("\(ns)/entries/a", #"{"absent":false,"value":2}"#), 200)
        #expect(try http.get("\(ns)/values/a").text == "2")
    }

    @Test("batches set it and tell it apart, in both forms and from both tiers", arguments: ["memory", "through"])
    func batch(durability: String) throws {
        // Few entries fit in memory, so that most are read from disk where there is one.
        let ns = try http.namespace(
            #"{"durability":"\#(durability)","max_entries":\#(durability == "memory" ? 1000 : 3)}"#
        )
        let items = (0..<20).map { number in
            number % 2 == 0 ? #"{"key":"k\#(number)","value":\#(number)}"# : #"{"key":"k\#(number)","absent":true}"#
        }
        let both = #"{"key":"both","value":1,"absent":true}"#
        let set = expect(
            try http.post("\(ns)/batch/set", #"{"entries":[\#((items + [both]).joined(separator: ","))]}"#),
            200
        )
        #expect(set.json["entries"].array.count == 20)
        #expect(set.json["errors"].array.map { $0["code"].string } == ["member_invalid"])
        let asked = #"{"keys":["x",\#((0..<20).map { "\"k\($0)\"" }.joined(separator: ",")),"y"]}"#
        let negative = (0..<10).map { "k\($0 * 2 + 1)" }
        let got = expect(try http.post("\(ns)/batch/get", asked), 200).json
        #expect(got["entries"].array.compactMap { $0["value"].int } == (0..<10).map { $0 * 2 })
        #expect(got["missing"].strings == ["x", "y"] && got["absent"].strings == negative)
        #expect(got.names == ["entries", "missing", "absent"])
        let minimal = expect(try http.post("\(ns)/batch/get", asked, ["Prefer": "return=minimal"]), 200).json
        #expect(minimal["values"].names.count == 10)
        #expect(minimal["missing"].strings == ["x", "y"] && minimal["absent"].strings == negative)
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["absent_hits"].int == 20)
        #expect(stats["hits"]["total"].int == 20 && stats["misses"]["total"].int == 4 && stats["gets"].int == 24)
        let alone = expect(try http.post("\(ns)/batch/get", #"{"keys":["k1"]}"#), 200)
        #expect(alone.text == #"{"entries":[],"missing":[],"absent":["k1"]}"#)
        #expect(expect(try http.post("\(ns)/batch/get", #"{"keys":["k0"]}"#), 200).json["absent"].isMissing)
        #expect(expect(try http.post("\(ns)/batch/delete", #"{"keys":["k1","x"]}"#), 200).json["deleted"].int == 1)
    }

    @Test("lists, statistics and metrics tell it apart")
    func figures() throws {
        try http.store(ns, "a", "12")
        try putAbsent(http, ns, "b")
        let rows = expect(try http.get("\(ns)/entries"), 200).json["entries"].array
        #expect(rows.map { $0["absent"].bool } == [nil, true])
        #expect(rows.map { $0["size"].int } == [2, 0] && rows.map { $0["tier"].string } == ["memory", "memory"])
        let before = try http.get("/v1/stats").json["absent_hits"].int ?? -1
        for target in ["entries/b", "values/b", "entries/b?miss=204", "entry?key=b"] {
            _ = try http.get("\(ns)/\(target)")
        }
        _ = try http.head("\(ns)/entries/b")
        _ = try http.get("\(ns)/entries/b?peek=true")
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["absent_hits"].int == 5 && stats["gets"].int == 0 && stats["hit_ratio"].isNull)
        #expect(stats["entries"]["memory"].int == 2 && stats["writes"]["puts"].int == 2)
        #expect(try http.get("/v1/stats").json["absent_hits"].int ?? 0 >= before + 5)
        let name = String(ns.split(separator: "/").last ?? "")
        let metrics = try http.get("/metrics").text
        #expect(metrics.contains("pantler_absent_hits_total{namespace=\"\(name)\"} 5\n"))
    }

    @Test("is kept over a stop and over a kill, and found on disk", arguments: ["behind", "through"], [false, true])
    func restart(durability: String, isKilled: Bool) throws {
        let server = try ServerProcess()
        let ns = "/v1/namespaces/s"
        expect(try server.client.put(ns, #"{"durability":"\#(durability)","negative_ttl":600}"#), 201)
        let versions = try ["a", "b", "c"].map { key in
            expect(try server.client.put("\(ns)/entries/\(key)", #"{"absent":true,"tags":["\#(key)"]}"#), 201).version
        }
        expect(try server.client.delete("\(ns)/entries/b"), 204)
        try server.client.store(ns, "d")
        // What a namespace writes behind is on disk once that of another is that was written through after it.
        let other = #"{"durability":"through"}"#
        expect(try server.client.put("/v1/namespaces/other", other), 201)
        try server.client.store("/v1/namespaces/other", "a")
        if isKilled { try server.kill9() } else { #expect(try server.terminate() == .exited(0)) }
        let next = try server.restarted()
        let http = next.client
        #expect(try http.get(ns).json["negative_ttl"].int == 600)
        for (key, version) in [("a", versions[0]), ("c", versions[2])] {
            let found = expect(try http.get("\(ns)/entries/\(key)"), 404, "entry_absent")
            #expect(found.etag == "\"\(try #require(version))\"" && found.detail == "absent")
        }
        expect(try http.get("\(ns)/entries/b"), 404, "entry_not_found")
        #expect(try http.get("\(ns)/values/d").text == "1")
        #expect(try http.get("\(ns)/entries").json["entries"].array.map { $0["absent"].bool } == [true, true, nil])
        expect(try http.post("\(ns)/invalidate", #"{"tags":["a"]}"#), 200)
        #expect(try http.get("\(ns)/entries/a").reason == "invalidated")
        // Of one that is on disk alone the head tells what it is.
        expect(try http.patch(ns, #"{"max_entries":1}"#), 200)
        try http.store(ns, "e")
        try eventually("the others have left memory") { try http.get("\(ns)/stats").json["entries"]["memory"].int == 1 }
        expect(try http.put("\(ns)/entries/c", #"{"value":1}"#, ["If-None-Match": "*"]), 201)
        #expect(try next.terminate() == .exited(0))
    }

    @Test("is evicted from memory to disk, and comes back from there")
    func evicted() throws {
        let ns = try http.namespace(#"{"max_entries":5,"durability":"through"}"#)
        for number in 0..<50 { try putAbsent(http, ns, "k\(number)") }
        try eventually("most have left memory") { try http.get("\(ns)/stats").json["entries"]["memory"].int ?? 9 <= 5 }
        for number in 0..<50 {
            let view = number % 2 == 0 ? "entries" : "values"
            expect(try http.get("\(ns)/\(view)/k\(number)"), 404, "entry_absent")
        }
        #expect(try http.get("\(ns)/stats").json["absent_hits"].int == 50)
        for number in 0..<10 { expect(try http.put("\(ns)/entries/k\(number)", #"{"value":1}"#), 201) }
    }

    @Test("the command tells it apart: exit status 3, with a sentence of its own")
    func command() throws {
        let name = String(ns.split(separator: "/").last ?? "")
        func pantler(_ arguments: String...) throws -> CommandResult {
            try Command.run(arguments + ["-n", name], url: server.url)
        }
        try http.store(ns, "a")
        for key in ["n", "o"] { try putAbsent(http, ns, key) }
        let got = try pantler("get", "n")
        #expect(got.status == 3 && got.output.isEmpty && got.errors.contains("the source has nothing"), "\(got)")
        #expect(try pantler("get", "x").status == 3)
        #expect(try !pantler("get", "x").errors.contains("the source"))
        let many = try pantler("mget", "a", "n", "o")
        #expect(many.status == 3 && many.output == "a\t1\n")
        #expect(many.errors.contains("The source has nothing under 'n', nor 1 more"), "\(many)")
        let mixed = try pantler("mget", "x", "n")
        #expect(mixed.status == 3 && mixed.errors.contains("no entry 'x'") && mixed.errors.contains("under 'n'"))
        #expect(try pantler("exists", "n").status == 3)
        #expect(try pantler("exists", "a").status == 0)
        let ttl = try pantler("ttl", "n")
        #expect(ttl.status == 3 && ttl.errors.contains("the source has nothing"))
        #expect(try pantler("keys").output == "a\nn\no\n")
        #expect(try Command.run(["stats", name], url: server.url).output.contains("negative entry"))
        let shown = try Command.run(["namespace", "show", name], url: server.url).output
        #expect(shown.contains("negative_ttl") && shown.contains("early_refresh"))
    }
}
