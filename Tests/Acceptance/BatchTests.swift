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

    private static let raw = ["Prefer": "return=minimal, bytes=raw"]

    /// A framed batch taken apart: its JSON, and the bytes that it names.
    private func framed(
        _ response: Response,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> (
        json: JSON, bytes: [String: (type: String?, bytes: [UInt8])]
    ) {
        #expect(response["Content-Type"] == "application/vnd.pantler.batch", sourceLocation: sourceLocation)
        #expect(response["Preference-Applied"] == "return=minimal, bytes=raw", sourceLocation: sourceLocation)
        let feed = try #require(response.body.firstIndex(of: 10), sourceLocation: sourceLocation)
        let length = try #require(
            Int(String(decoding: response.body[..<feed], as: UTF8.self)),
            sourceLocation: sourceLocation
        )
        let text = Array(response.body[(feed + 1)...].prefix(length))
        let json = JSON(text)
        var rest = response.body[(feed + 1 + length)...]
        var bytes: [String: (type: String?, bytes: [UInt8])] = [:]
        // In the order of the text, which a name's member has once: no test's key is a part of another's.
        let order = try json["bytes"].names.map { name in
            let member = try #require(
                String(decoding: text, as: UTF8.self).firstRange(of: "\(quoted(name)):{\"content_type\"")
            )
            return (place: member.lowerBound, name: name)
        }
        for name in order.sorted(by: { $0.place < $1.place }).map(\.name) {
            let told = json["bytes"][name]
            let length = try #require(told["length"].int, sourceLocation: sourceLocation)
            bytes[name] = (told["content_type"].string, Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        #expect(rest.isEmpty, sourceLocation: sourceLocation)
        return (json, bytes)
    }

    @Test("values of bytes come as they are to who prefers that, behind the JSON", arguments: ["memory", "through"])
    func raw(durability: String) throws {
        let ns = try http.namespace(#"{"durability":"\#(durability)"}"#)
        try http.store(ns, "a", #"{"n": 1.50}"#)
        let image = (0..<3000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        expect(try http.put("\(ns)/values/caf%C3%A9%22", bytes: image, type: "image/png; q=\"x\""), 201)
        expect(try http.put("\(ns)/values/empty", bytes: [], type: "text/plain"), 201)
        expect(try http.put("\(ns)/values/b", bytes: [10, 0, 255], type: "application/x-python-pickle"), 201)
        expect(try http.put("\(ns)/entries/absent", #"{"absent":true}"#), 201)
        let body = #"{"keys":["café\"","none","a","absent","b","empty","b"]}"#
        for prefer in ["return=minimal, bytes=raw", "bytes=RAW;x=\",\" , wait=1,return=\"minimal\""] {
            let got = expect(try http.post("\(ns)/batch/get", body, ["Prefer": prefer]), 200)
            let (json, bytes) = try framed(got)
            #expect(json.names == ["values", "bytes", "missing", "absent"])
            #expect(json["values"].names == ["a"] && json["values"]["a"]["n"].double == 1.5)
            #expect(json["missing"].strings == ["none"] && json["absent"].strings == ["absent"])
            #expect(json["bytes"].names == ["café\"", "b", "empty"])
            #expect(bytes["café\""]?.bytes == image && bytes["café\""]?.type == "image/png; q=\"x\"")
            #expect(bytes["b"]?.bytes == [10, 0, 255] && bytes["b"]?.type == "application/x-python-pickle")
            #expect(bytes["empty"]?.bytes == [] && bytes["empty"]?.type == "text/plain")
        }
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["hits"]["total"].int == 8 && stats["misses"]["total"].int == 2)
        #expect(stats["absent_hits"].int == 2)
        // Without values of bytes there is nothing to frame.
        for (keys, text) in [
            (#"["a"]"#, #"{"values":{"a":{"n": 1.50}},"missing":[]}"#),
            (#"["none"]"#, #"{"values":{},"missing":["none"]}"#),
        ] {
            let plain = expect(try http.post("\(ns)/batch/get", #"{"keys":\#(keys)}"#, Self.raw), 200)
            #expect(plain["Content-Type"] == "application/json" && plain["Preference-Applied"] == "return=minimal")
            #expect(plain.text == text)
        }
        #expect(
            try http.post("\(ns)-none/batch/get", #"{"keys":["a"]}"#, Self.raw).text
                == #"{"values":{},"missing":["a"]}"#
        )
        // It is `return` that has values come alone.
        #expect(
            try http.post("\(ns)/batch/get", body, ["Prefer": "bytes=raw"]).json.names == [
                "entries", "missing", "absent",
            ]
        )
    }

    @Test("large and small ones, many and few, in memory and on disk, beside large JSON", arguments: [1, 7, 400])
    func rawSizes(count: Int) throws {
        let server = try ServerProcess(ServerProcess.Options(configuration: "memory:\n  max_memory: 64MiB\n"))
        let http = server.client
        let ns = "/v1/namespaces/raw"
        expect(try http.put(ns, #"{"durability":"through"}"#), 201)
        let text = "\"" + String(repeating: "j", count: 200_000) + "\""
        try http.store(ns, "text", text)
        func value(_ number: Int) -> [UInt8] {
            let length = number % 7 == 3 ? 70_000 : number % 3 == 0 ? 20_000 : number
            return (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number) }
        }
        for number in 0..<count {
            expect(try http.put("\(ns)/values/k\(number)", bytes: value(number), type: "x/y"), 201)
        }
        let keys = (0..<count).map { "\"k\($0)\"" } + ["\"none\""]
        func check(_ http: HTTPClient, _ keys: [String]) throws {
            let got = expect(
                try http.post("\(ns)/batch/get", #"{"keys":[\#(keys.joined(separator: ","))]}"#, Self.raw),
                200
            )
            let (json, bytes) = try framed(got)
            #expect(bytes.count == count && json["missing"].strings == ["none"])
            for number in 0..<count where bytes["k\(number)"]?.bytes != value(number) { Issue.record("k\(number)") }
            if keys.contains("\"text\"") { #expect(json["values"]["text"].string?.count == 200_000) }
        }
        try check(http, keys)
        try check(http, ["\"text\""] + keys)
        // Of what memory does not have, the disk tier has all.
        #expect(try server.terminate() == .exited(0))
        let restarted = try server.restarted(configuration: "memory:\n  max_memory: 8MiB\n")
        try check(restarted.client, keys + ["\"text\""])
        #expect(try restarted.client.get("\(ns)/stats").json["misses"]["total"].int == 1)
    }

    @Test("an answer of raw bytes has the same bound as any, and omits what is beyond it")
    func rawBound() throws {
        let server = try ServerProcess(ServerProcess.Options(configuration: "limits:\n  answer_size: 100KiB\n"))
        let http = server.client
        let ns = "/v1/namespaces/raw"
        for number in 0..<10 {
            expect(try http.put("\(ns)/values/k\(number)", bytes: Array(repeating: 7, count: 20_000), type: "x/y"), 201)
        }
        let body = #"{"keys":[\#((0..<10).map { "\"k\($0)\"" }.joined(separator: ","))]}"#
        let got = expect(try http.post("\(ns)/batch/get", body, Self.raw), 200)
        let (json, bytes) = try framed(got)
        #expect(bytes.count == 5 && json["omitted"].strings.count == 5 && got.body.count <= 100 << 10)
        // As base64 there were fewer.
        let minimal = expect(try http.post("\(ns)/batch/get", body, ["Prefer": "return=minimal"]), 200)
        #expect(minimal.json["values"].names.count == 3)
        #expect(try http.get("\(ns)/stats").json["hits"]["total"].int == 8)
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
