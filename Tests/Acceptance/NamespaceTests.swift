import Support
import Testing

@Suite("Namespaces", .server())
struct NamespaceTests {
    let http: HTTPClient

    init() throws {
        http = try ServerTrait.server.client
    }

    static let fields: Set = [
        "name", "default_ttl", "max_ttl", "stale_ttl", "negative_ttl", "ttl_jitter", "early_refresh", "max_memory",
        "max_entries", "max_disk",
        "max_value_size", "eviction", "durability", "compression", "generation", "created_at",
    ]

    @Test("a namespace is made by its first write, and shows its whole policy")
    func firstWrite() throws {
        let ns = try http.namespace()
        expect(try http.get(ns), 404, "namespace_not_found")
        expect(try http.get("\(ns)/entries/a"), 404)
        expect(try http.get(ns), 404, "namespace_not_found")
        try http.store(ns, "a")
        let shown = expect(try http.get(ns), 200).json
        #expect(shown.names == Self.fields)
        #expect(shown["name"].string == String(ns.split(separator: "/").last ?? ""))
        #expect(shown["default_ttl"].isNull)
        #expect(shown["durability"].string == "behind")
        #expect(shown["max_value_size"].int == 8_388_608)
        #expect(shown["compression"]["threshold"].int == 1024)
        #expect(shown["generation"].int == 0)
        let listed = expect(try http.get("/v1/namespaces"), 200).json["namespaces"].array
        #expect(listed.contains { $0["name"].string == shown["name"].string })
    }

    @Test("PUT sets the whole policy, PATCH merges, null is the default")
    func policies() throws {
        let ns = try http.namespace()
        let policy =
            #"{"default_ttl":60,"max_ttl":3600,"max_entries":10,"durability":"through","compression":{"level":9}}"#
        let made = expect(try http.put(ns, policy), 201).json
        #expect(made["default_ttl"].int == 60)
        #expect(made["compression"]["level"].int == 9)
        #expect(made["compression"]["threshold"].int == 1024)
        let patched = expect(
            try http.patch(ns, #"{"max_ttl":null,"ttl_jitter":0.5,"compression":{"threshold":10}}"#),
            200
        ).json
        #expect(patched["max_ttl"].isNull)
        #expect(patched["default_ttl"].int == 60)
        #expect(patched["ttl_jitter"].double == 0.5)
        #expect(patched["compression"]["level"].int == 9)
        #expect(patched["compression"]["threshold"].int == 10)
        let type = ["Content-Type": "application/json"]
        expect(try http.patch(ns, #"{"max_entries":20}"#, type), 200)
        let replaced = expect(try http.put(ns, #"{"stale_ttl":5}"#), 200).json
        #expect(replaced["default_ttl"].isNull)
        #expect(replaced["durability"].string == "behind")
        #expect(replaced["stale_ttl"].int == 5)
        expect(try http.put(ns, try http.get(ns).text), 200)
        #expect(try http.get(ns).json["stale_ttl"].int == 5, "what was shown can be sent back")
        expect(try http.patch("\(ns)-none", "{}"), 404, "namespace_not_found")
    }

    @Test(
        "policies that cannot be are refused and change nothing",
        arguments: [
            #"{"default_ttl":0}"#, #"{"default_ttl":-1}"#, #"{"default_ttl":"60"}"#, #"{"max_ttl":1e300}"#,
            #"{"stale_ttl":-1}"#, #"{"negative_ttl":0}"#, #"{"negative_ttl":null,"early_refresh":11}"#,
            #"{"ttl_jitter":1.5}"#, #"{"ttl_jitter":-0.1}"#, #"{"max_memory":0}"#, #"{"max_memory":-1}"#,
            #"{"max_memory":"8MiB"}"#, #"{"max_entries":1.5}"#, #"{"max_value_size":0}"#, #"{"eviction":"fifo"}"#,
            #"{"durability":"sometimes"}"#, #"{"durability":null,"compression":{"level":10}}"#, #"{"compression":9}"#,
            #"{"compression":{"speed":1}}"#, #"{"max_tll":60}"#, #"{"name":"other"}"#, "[]", "7",
        ]
    )
    func refused(policy: String) throws {
        let ns = try http.namespace(#"{"default_ttl":60,"max_entries":7}"#)
        let before = try http.get(ns).text
        for response in [try http.put(ns, policy), try http.patch(ns, policy)] {
            expect(response, 422)
            let code = try #require(response.code)
            #expect(["policy_invalid", "unknown_member", "member_invalid", "ttl_invalid"].contains(code))
        }
        #expect(try http.get(ns).text == before)
        expect(try http.put("\(ns)-new", policy), 422)
        expect(try http.get("\(ns)-new"), 404)
    }

    @Test("DELETE drops nothing unless it says the namespace's name: clients fold an entry's path to it")
    func unconfirmed() throws {
        let ns = try http.namespace("{}")
        let name = ns.split(separator: "/").last ?? ""
        try http.store(ns, "a")
        for query in [
            "", "?confirm", "?confirm=", "?confirm=other", "?confirm=\(name)x", "?confirm=\(name.uppercased())",
        ] {
            expect(try http.delete(ns + query), 400, "confirmation_required")
        }
        expect(try http.delete("\(ns)?ttl=60"), 400, "query_invalid")
        expect(try http.delete("\(ns)?confirm=\(name)&confirm=\(name)"), 400, "query_invalid")
        expect(try http.get("\(ns)?confirm=\(name)"), 400, "query_invalid")
        expect(try http.get("\(ns)/entries/a"), 200)
        expect(try http.delete("\(ns)-none"), 400, "confirmation_required")
    }

    @Test("a policy is not changed by a call of an entry whose path was folded")
    func folded() throws {
        let ns = try http.namespace(#"{"default_ttl":600}"#)
        let before = try http.get(ns).text
        let put = #"{"value":1,"ttl":60}"#
        for body in [put, #"{"value":1}"#, #"{"value":null}"#, #"{"value_base64":"AA=="}"#, #"{"absent":true}"#] {
            expect(try http.put(ns, body), 422, "unknown_member")
        }
        for body in [#"{"ttl":60}"#, #"{"value":{}}"#, #"{"tags":[]}"#, #"{"stale_ttl":1,"expires_at":null}"#] {
            expect(try http.patch(ns, body), 422, "unknown_member")
        }
        for query in ["ttl=60", "stale_ttl=60", "expires_at=2099-01-01T00:00:00Z", "key=..", "peek"] {
            expect(try http.put("\(ns)?\(query)", "{}"), 400, "query_invalid")
            expect(try http.patch("\(ns)?\(query)", "{}"), 400, "query_invalid")
        }
        for field in ["If-Match": "*", "If-None-Match": "*", "Cache-Tag": "a", "Lease": "x"] {
            let fields = [field.key: field.value]
            expect(try http.put(ns, "{}", fields), 400, "header_invalid")
            expect(try http.patch(ns, "{}", fields), 400, "header_invalid")
            expect(
                try http.delete("\(ns)?confirm=\(ns.split(separator: "/").last ?? "")", fields),
                400,
                "header_invalid"
            )
        }
        expect(try http.put(ns, bytes: [1, 2], type: "image/png"), 415)
        #expect(try http.get(ns).text == before)
    }

    @Test("DELETE drops the entries too, and a namespace of the same name begins anew")
    func delete() throws {
        let ns = try http.namespace(#"{"default_ttl":600}"#)
        let version = try http.store(ns, "a")
        expect(try http.drop(ns), 204)
        expect(try http.get(ns), 404, "namespace_not_found")
        expect(try http.get("\(ns)/entries/a"), 404)
        expect(try http.drop(ns), 404, "namespace_not_found")
        #expect(try http.store(ns, "b") > version)
        expect(try http.get("\(ns)/entries/a"), 404)
        #expect(try http.get("\(ns)/entries").json["entries"].array.count == 1)
        #expect(try http.get(ns).json["default_ttl"].isNull)
    }

    @Test("a default TTL is given, and a TTL over the longest is clamped, by every way to write")
    func ttls() throws {
        let ns = try http.namespace(#"{"default_ttl":100,"max_ttl":1000}"#)
        let writes: [(String, (String) throws -> Response)] = [
            ("put", { try http.put("\(ns)/entries/a", #"{"value":{}\#($0)}"#) }),
            ("patch", { try http.patch("\(ns)/entries/a", "{\($0.dropFirst())}") }),
            ("batch", { try http.post("\(ns)/batch/set", #"{"entries":[{"key":"a","value":1\#($0)}]}"#) }),
        ]
        let bounds: [(String, ClosedRange<Int>)] = [
            (#","ttl":5000"#, 990...1000), (#","ttl":null"#, 990...1000),
            (#","expires_at":"2099-01-01T00:00:00Z""#, 990...1000),
            (#","ttl":50"#, 40...50),
        ]
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#), 201)
        #expect((90...100).contains(try left("\(ns)/entries/a")))
        for (name, write) in writes {
            for (member, seconds) in bounds {
                expect(try write(member), 200)
                #expect(seconds.contains(try left("\(ns)/entries/a")), "\(name) with \(member)")
            }
        }
        expect(try http.put("\(ns)/values/b?ttl=5000", bytes: [1]), 201)
        #expect((990...1000).contains(try left("\(ns)/entries/b")))
        expect(try http.post("\(ns)/counters/c", #"{"initial":1}"#), 201)
        #expect((90...100).contains(try left("\(ns)/entries/c")))
    }

    /// The seconds that an entry has left, by its Cache-Status.
    private func left(_ target: String) throws -> Int {
        let status = try #require(try http.get(target)["Cache-Status"])
        let ttl = try #require(status.split(separator: "; ").first { $0.hasPrefix("ttl=") })
        return try #require(Int(ttl.dropFirst(4)))
    }

    @Test("jitter brings expiries forward, and never back")
    func jitter() throws {
        let ns = try http.namespace(#"{"ttl_jitter":0.5}"#)
        let seconds = try (0..<40).map { number in
            try http.store(ns, "k\(number)", "1", #""ttl":1000"#)
            return try left("\(ns)/entries/k\(number)")
        }
        #expect(seconds.allSatisfy { (490...1000).contains($0) })
        #expect(Set(seconds).count > 10)
    }

    @Test("a value over the namespace's size is refused by every way to write, and what was there stays")
    func valueSize() throws {
        let ns = try http.namespace(#"{"max_value_size":100}"#)
        let fits = "\"" + String(repeating: "v", count: 98) + "\""
        let over = "\"" + String(repeating: "v", count: 99) + "\""
        let version = try http.store(ns, "a", fits)
        expect(try http.put("\(ns)/entries/a", #"{"value":\#(over)}"#), 413, "value_too_large")
        expect(try http.put("\(ns)/values/a", bytes: [UInt8](repeating: 1, count: 101)), 413, "value_too_large")
        expect(try http.patch("\(ns)/entries/a", #"{"value":\#(over)}"#), 413, "value_too_large")
        let batch = try http.post("\(ns)/batch/set", #"{"entries":[{"key":"a","value":\#(over)}]}"#)
        #expect(batch.json["errors"][0]["code"].string == "value_too_large")
        #expect(try http.get("\(ns)/entries/a").version == version)
        expect(try http.put("\(ns)/values/a", bytes: [UInt8](repeating: 1, count: 100)), 200)
    }
}

@Suite(
    "Namespaces by configuration",
    .server(
        "namespaces:\n  auto_create: false\n  max_namespaces: 3\n  defaults:\n    default_ttl: 5m\n    max_value_size: 1KiB\n"
    )
)
struct ConfiguredNamespaceTests {
    @Test(
        "without auto_create a write makes no namespace; there are at most max_namespaces; defaults come from the file"
    )
    func configured() throws {
        let http = try ServerTrait.server.client
        expect(try http.put("/v1/namespaces/a/entries/k", #"{"value":1}"#), 404, "namespace_not_found")
        expect(try http.put("/v1/namespaces/a/values/k", bytes: [1]), 404, "namespace_not_found")
        expect(try http.post("/v1/namespaces/a/counters/k", #"{"initial":1}"#), 404)
        expect(
            try http.post("/v1/namespaces/a/batch/set", #"{"entries":[{"key":"k","value":1}]}"#),
            404,
            "namespace_not_found"
        )
        expect(try http.get("/v1/namespaces/a"), 404, "namespace_not_found")
        for name in ["a", "b", "c"] { expect(try http.put("/v1/namespaces/\(name)", "{}"), 201) }
        expect(try http.put("/v1/namespaces/d", "{}"), 409, "too_many_namespaces")
        let shown = try http.get("/v1/namespaces/a").json
        #expect(shown["default_ttl"].int == 300)
        #expect(shown["max_value_size"].int == 1024)
        expect(try http.put("/v1/namespaces/a/entries/k", #"{"value":1}"#), 201)
        expect(try http.drop("/v1/namespaces/b"), 204)
        expect(try http.put("/v1/namespaces/d", "{}"), 201)
    }
}
