import Support
import Testing

@Suite("Batches", .server())
struct BatchTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    @Test("a batch of gets tells what is here and what is missing, and counts its keys")
    func get() throws {
        try http.store(ns, "a", #"{"n": 1}"#)
        expect(try http.put("\(ns)/values/b", bytes: [1, 2, 3], type: "image/png"), 201)
        let got = expect(try http.post("\(ns)/batch/get", #"{"keys":["a","none","b","x/y"]}"#), 200)
        #expect(got.json.names == ["entries", "missing"])
        #expect(got.json["entries"].array.map { $0["key"].string } == ["a", "b"])
        #expect(got.json["missing"].strings == ["none", "x/y"])
        let single = try http.get("\(ns)/entries/a?peek").text
        #expect(got.text.contains(single), "an entry is told as a GET tells it")
        #expect(got.json["entries"][1]["value_base64"].string == "AQID")
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["hits"]["total"].int == 2)
        #expect(stats["misses"]["total"].int == 2)
    }

    @Test("each entry of a batch of sets stands alone")
    func set() throws {
        let long = String(repeating: "k", count: 1025)
        let entries = [
            #"{"key":"a","value":1.50,"ttl":60,"tags":["t"]}"#, #"{"key":"b","value":1,"ttl":-1}"#,
            #"{"key":"\#(long)","value":1}"#, #"{"key":"","value":1}"#, #"{"key":"c"}"#,
            #"{"key":"d","value":1,"tll":1}"#, #"{"key":"e","value_base64":"AQID","content_type":"image/png"}"#,
            #"{"key":"f","value":1,"ttl":1,"expires_at":"2099-01-01T00:00:00Z"}"#,
        ]
        let set = expect(try http.post("\(ns)/batch/set", #"{"entries":[\#(entries.joined(separator: ","))]}"#), 200)
        #expect(set.json["entries"].array.map { $0["key"].string } == ["a", "e"])
        let codes = set.json["errors"].array.map { $0["code"].string }
        #expect(
            codes == [
                "ttl_invalid", "key_too_long", "key_required", "missing_member", "unknown_member", "ttl_conflict",
            ],
            "\(set)"
        )
        #expect(set.json["errors"].array.allSatisfy { $0["detail"].string?.isEmpty == false })
        let a = try http.get("\(ns)/entries/a")
        #expect(a.text.contains(#""value":1.50,"#))
        #expect(a.version == set.json["entries"][0]["version"].int)
        #expect(a.json["tags"].strings == ["t"])
        #expect(try http.get("\(ns)/values/e")["Content-Type"] == "image/png")
        for key in ["b", "c", "d", "f"] { expect(try http.get("\(ns)/entries/\(key)"), 404) }
    }

    @Test("values come alone, by their keys, to who prefers that", arguments: ["memory", "through"])
    func minimal(durability: String) throws {
        let ns = try http.namespace(#"{"durability":"\#(durability)"}"#)
        try http.store(ns, "a", #"{"n": 1.50}"#)
        try http.store(ns, "caf%C3%A9%22", "null")
        expect(try http.put("\(ns)/values/b", bytes: [1, 2, 3], type: "image/png"), 201)
        let long = "\"" + String(repeating: "x", count: 300_000) + "\""
        try http.store(ns, "long", long)
        let prefer = ["Prefer": "respond-async, return=Minimal; x=y"]
        let body = #"{"keys":["a","none","b","café\"","long","a"]}"#
        let got = expect(try http.post("\(ns)/batch/get", body, prefer), 200)
        #expect(got["Preference-Applied"] == "return=minimal")
        #expect(
            got.text
                == #"{"values":{"a":{"n": 1.50},"b":{"value_base64":"AQID","content_type":"image/png"},"café\"":null,"long":"#
                + long + #"},"missing":["none"]}"#
        )
        let none = try http.post("\(ns)/batch/get", #"{"keys":["none"]}"#, ["Prefer": "return=minimal"])
        #expect(none.text == #"{"values":{},"missing":["none"]}"#)
        #expect(
            try http.post("\(ns)-none/batch/get", #"{"keys":["a"]}"#, ["Prefer": "return=minimal"]).text
                == #"{"values":{},"missing":["a"]}"#
        )
        let whole = try http.post("\(ns)/batch/get", #"{"keys":["a"]}"#, ["Prefer": "return=representation"])
        #expect(whole.json.names == ["entries", "missing"])
        #expect(whole["Preference-Applied"] == nil)
        #expect(try http.get("\(ns)/stats").json["hits"]["total"].int == 5)
    }

    @Test("a long minimal answer comes in pieces, and is the same")
    func minimalPieces() throws {
        let ns = try http.namespace("{}")
        let keys = (0..<1000).map { "k\($0)" }
        let value = "\"" + String(repeating: "v", count: 1000) + "\""
        let entries = keys.map { #"{"key":"\#($0)","value":\#(value)}"# }
        expect(try http.post("\(ns)/batch/set", #"{"entries":[\#(entries.joined(separator: ","))]}"#), 200)
        let body = #"{"keys":[\#(keys.map { "\"\($0)\"" }.joined(separator: ","))]}"#
        let got = expect(try http.post("\(ns)/batch/get", body, ["Prefer": "return=minimal"]), 200)
        #expect(got["Transfer-Encoding"] == "chunked")
        #expect(got.text == #"{"values":{\#(keys.map { "\"\($0)\":\(value)" }.joined(separator: ","))},"missing":[]}"#)
    }

    @Test("a batch of deletes counts what was there")
    func delete() throws {
        for key in ["a", "b", "c"] { try http.store(ns, key) }
        let deleted = expect(try http.post("\(ns)/batch/delete", #"{"keys":["a","none","c"]}"#), 200)
        #expect(deleted.text == #"{"deleted":2}"#)
        expect(try http.get("\(ns)/entries/a"), 404)
        expect(try http.get("\(ns)/entries/b"), 200)
    }

    @Test("a batch may hold up to 1,000")
    func size() throws {
        let keys = (0...1000).map { "\"k\($0)\"" }
        let entries = keys.map { #"{"key":\#($0),"value":1}"# }
        for (call, items) in [("get", keys), ("delete", keys), ("set", entries)] {
            let member = call == "set" ? "entries" : "keys"
            let body = #"{"\#(member)":[\#(items.joined(separator: ","))]}"#
            expect(try http.post("\(ns)/batch/\(call)", body), 422, "batch_too_large")
            let fits = #"{"\#(member)":[\#(items.dropLast().joined(separator: ","))]}"#
            expect(try http.post("\(ns)/batch/\(call)", fits), 200)
            expect(try http.post("\(ns)/batch/\(call)", #"{"\#(member)":[]}"#), 200)
        }
        #expect(try http.get("\(ns)/entries?limit=1000").json["entries"].array.count == 1000)
        let all = expect(
            try http.post("\(ns)/batch/get", #"{"keys":[\#(keys.dropLast().joined(separator: ","))]}"#),
            200
        )
        #expect(all.json["entries"].array.count == 1000)
    }

    @Test(
        "bodies that are no batch are refused",
        arguments: [
            ("get", "[]", 422, nil), ("get", "{}", 422, "missing_member"),
            ("get", #"{"keys":"a"}"#, 422, "member_invalid"),
            ("get", #"{"keys":[1]}"#, 422, "member_invalid"), ("get", #"{"keys":["a"],"x":1}"#, 422, "unknown_member"),
            ("get", #"{"keys":[""]}"#, 400, "key_required"), ("get", #"{"keys":["a\u0000"]}"#, 400, "key_invalid"),
            ("delete", #"{"keys":["a"],"keys":[]}"#, 400, "duplicate_member"), ("set", #"{"entries":[1]}"#, 422, nil),
            ("set", #"{"entries":[{"key":"a","value":1}"#, 400, "invalid_json"), ("delete", "", 400, "invalid_json"),
        ] as [(String, String, Int, String?)]
    )
    func refused(call: String, body: String, status: Int, code: String?) throws {
        try http.store(ns, "a")
        expect(try http.post("\(ns)/batch/\(call)", body), status, code)
        expect(try http.get("\(ns)/entries/a"), 200)
    }
}
