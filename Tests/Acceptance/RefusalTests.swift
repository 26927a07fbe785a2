import Support
import Testing

/// What is refused leaves nothing behind: no namespace, no count, no value.
@Suite(
    "Refusals",
    .server("namespaces:\n  defaults:\n    max_value_size: 1KiB\n")
)
struct RefusalTests {
    let http: HTTPClient

    init() throws {
        http = try ServerTrait.server.client
    }

    private static let large = String(repeating: "1", count: 2000)

    @Test("a write that is refused makes no namespace")
    func noNamespace() throws {
        let ns = try http.namespace()
        let largest = "9007199254740991"
        let refused: [(Int, Response)] = [
            (413, try http.put("\(ns)/entries/a", #"{"value":\#(Self.large)}"#)),
            (413, try http.put("\(ns)/entries/a", #"{"value":\#(Self.large)}"#, ["If-None-Match": "*"])),
            (413, try http.put("\(ns)/values/a", bytes: Array(Self.large.utf8))),
            (412, try http.put("\(ns)/entries/a", #"{"value":1}"#, ["If-Match": "*"])),
            (422, try http.put("\(ns)/entries/a", #"{"value":1,"ttl":0}"#)),
            (400, try http.put("\(ns)/values/a", bytes: Array("{".utf8), type: "application/json")),
            (404, try http.post("\(ns)/counters/a", "{}")),
            (404, try http.post("\(ns)/counters/a", #"{"by":1}"#)),
            (409, try http.post("\(ns)/counters/a", #"{"by":1,"initial":\#(largest)}"#)),
            (409, try http.post("\(ns)/counters/a", #"{"by":-\#(largest),"initial":-1}"#)),
            (422, try http.post("\(ns)/counters/a", #"{"by":0.5,"initial":0}"#)),
            (404, try http.patch("\(ns)/entries/a", #"{"ttl":5}"#)),
            (404, try http.delete("\(ns)/entries/a")),
            (404, try http.post("\(ns)/invalidate", #"{"all":true}"#)),
        ]
        for (status, response) in refused { expect(response, status) }
        let batch = expect(
            try http.post("\(ns)/batch/set", #"{"entries":[{"key":"a","value":\#(Self.large)},{"key":"","value":1}]}"#),
            200
        )
        #expect(batch.json["errors"].array.map { $0["code"].string } == ["value_too_large", "key_required"])
        #expect(try http.post("\(ns)/batch/delete", #"{"keys":["a"]}"#).json["deleted"].int == 0)
        expect(try http.get(ns), 404, "namespace_not_found")

        let mixed = try http.post(
            "\(ns)/batch/set",
            #"{"entries":[{"key":"a","value":\#(Self.large)},{"key":"b","value":1}]}"#
        )
        #expect(mixed.json["entries"].array.count == 1 && mixed.json["errors"].array.count == 1)
        expect(try http.get(ns), 200)
    }

    @Test(
        "a number that is no integer does not count",
        arguments: [
            "0.99999999999999999999", "1.00000000000000000001", "0.5", "9007199254740990.999999", "1e-1", "1e16",
        ]
    )
    func noInteger(number: String) throws {
        let ns = try http.namespace("{}")
        expect(try http.post("\(ns)/counters/a", #"{"by":\#(number),"initial":0}"#), 422, "member_invalid")
        expect(try http.post("\(ns)/counters/a", #"{"by":1,"initial":\#(number)}"#), 422, "member_invalid")
        expect(try http.get("\(ns)/entries/a"), 404)
        #expect(try http.post("\(ns)/counters/a", #"{"by":10e-1,"initial":1.0}"#).json["value"].int == 2)
    }

    @Test("bytes that are said to be JSON are JSON")
    func jsonAsBytes() throws {
        let ns = try http.namespace("{}")
        for type in ["application/json", "Application/JSON; charset=utf-8"] {
            // `{"a":` and `{"a":1}`
            let bad = #"{"value_base64":"eyJhIjo=","content_type":"\#(type)"}"#
            expect(try http.put("\(ns)/entries/a", bad), 422, "member_invalid")
            expect(try http.get("\(ns)/entries/a"), 404)
            let good = #"{"value_base64":"eyJhIjoxfQ==","content_type":"\#(type)"}"#
            #expect((200...201).contains(try http.put("\(ns)/entries/b", good).status))
            #expect(try http.get("\(ns)/entries/b").json["value"]["a"].int == 1)
            #expect(try http.get("\(ns)/values/b").text == #"{"a":1}"#)
        }
        let batch = try http.post(
            "\(ns)/batch/set",
            #"{"entries":[{"key":"a","value_base64":"eyJhIjo=","content_type":"application/json"}]}"#
        )
        #expect(batch.json["errors"].array.first?["code"].string == "member_invalid")
    }

    @Test("a get that is refused is neither a hit nor a miss", arguments: ["memory", "behind"])
    func refusedGet(durability: String) throws {
        let ns = try http.namespace(#"{"durability":"\#(durability)"}"#)
        try http.store(ns, "a")
        expect(try http.get("\(ns)/entries/a?none"), 400)
        #expect(try http.get("\(ns)/stats").json["gets"].int == 0)
        expect(try http.get("\(ns)/entries/a"), 200)
        #expect(try http.get("\(ns)/stats").json["gets"].int == 1)
    }

    @Test("a stale entry's ttl is below 0 from its first millisecond on")
    func staleTTL() throws {
        let ns = try http.namespace("{}")
        try http.store(ns, "a", "1", #""ttl":100,"stale_ttl":100,"tags":["t"]"#)
        let mark = try http.post("\(ns)/invalidate", #"{"tags":["t"],"mode":"stale"}"#)
        expect(mark, 200)
        let status = try #require(try http.get("\(ns)/entries/a")["Cache-Status"])
        #expect(status.contains("; ttl=-") && status.hasSuffix("; detail=stale"), "\(status)")
    }
}

/// With a service of its own, whose sums nobody else moves.
@Suite("Gets before there is a namespace", .server())
struct UnmetGetTests {
    let http: HTTPClient

    init() throws {
        http = try ServerTrait.server.client
    }

    @Test("gets of a namespace that is not there are misses, and go to it once it is made")
    func missesBefore() throws {
        let ns = try http.namespace()
        let name = String(try #require(ns.split(separator: "/").last))
        let before = try http.get("/v1/stats").json["gets"].int ?? 0
        expect(try http.get("\(ns)/entries/a"), 404)
        expect(try http.head("\(ns)/entries/a"), 404)
        expect(try http.get("\(ns)/values/a"), 404)
        expect(try http.get("\(ns)/entry?key=a"), 404)
        expect(try http.get("\(ns)/entries/a", ["If-None-Match": "*"]), 404)
        expect(try http.get("\(ns)/entries/a?peek"), 404)
        #expect(try http.post("\(ns)/batch/get", #"{"keys":["a","b"]}"#).json["missing"].array.count == 2)
        #expect(try http.get("/v1/stats").json["gets"].int == before + 7)
        let labels = ["namespace": name, "reason": "absent"]
        #expect(try ServerTrait.server.metrics().sum("pantler_misses_total", labels) == 7)
        try http.store(ns, "a")
        expect(try http.get("\(ns)/entries/a"), 200)
        let stats = try http.get("\(ns)/stats").json
        StatisticsTests.checkSums(stats)
        #expect(stats["gets"].int == 8 && stats["misses"]["absent"].int == 7 && stats["hits"]["total"].int == 1)
        #expect(try http.get("/v1/stats").json["gets"].int == before + 8)
        #expect(try ServerTrait.server.metrics().sum("pantler_misses_total", labels) == 7)
    }
}
