import Support
import Testing

@Suite("Entries and values", .server())
struct EntryTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    @Test("a put makes an entry, the next one replaces it under a larger version")
    func putAndReplace() throws {
        let made = expect(try http.put("\(ns)/entries/a", #"{"value":{"n": 1},"tags":["x","y"]}"#), 201)
        #expect(made.json.names == ["key", "version", "expires_at"])
        #expect(made.json["key"].string == "a")
        #expect(made.json["expires_at"].isNull)
        let version = try #require(made.version)
        #expect(made.etag == "\"\(version)\"")

        let got = expect(try http.get("\(ns)/entries/a"), 200)
        #expect(got.text == #"{"key":"a","value":{"n": 1},"version":\#(version),"expires_at":null,"tags":["x","y"]}"#)
        #expect(got["Content-Type"] == "application/json")
        #expect(got.etag == "\"\(version)\"")
        #expect(got["Cache-Control"] == "private, no-cache")
        #expect(got["Cache-Status"] == "pantler; hit; detail=memory")

        let replaced = expect(try http.put("\(ns)/entries/a", #"{"value":2}"#), 200)
        #expect(try #require(replaced.version) > version)
        #expect(try http.get("\(ns)/entries/a").json["tags"].isMissing, "a put replaces the tags too")
    }

    @Test(
        "JSON comes back as the bytes that were sent",
        arguments: [
            "18446744073709551615", "9007199254740993", "-9223372036854775808", "4.20", "0.1000", "1e400", "1E-2",
            "-0", "-0.0", "123456789012345678901234567890", "3.141592653589793238462643383279",
            #""\u00e9\/\ud83d\ude00é""#, #"{"b":1,"a":2,"a":3}"#, "[ 1 ,\t2 ]", "null", "true", "\"\"", "[]", "{}",
        ]
    )
    func digits(value: String) throws {
        expect(try http.put("\(ns)/entries/k", #"{"value":\#(value)}"#), 201)
        #expect(try http.get("\(ns)/entries/k").text.hasPrefix(#"{"key":"k","value":\#(value),"version":"#))
        #expect(try http.get("\(ns)/values/k").text == value)

        expect(try http.put("\(ns)/values/k", bytes: Array(value.utf8), type: "application/json; charset=utf-8"), 200)
        #expect(try http.get("\(ns)/entries/k").text.hasPrefix(#"{"key":"k","value":\#(value),"version":"#))
        expect(try http.post("\(ns)/batch/set", #"{"entries":[{"key":"k","value":\#(value)}]}"#), 200)
        #expect(try http.get("\(ns)/values/k").text == value)
    }

    @Test("bytes and their media type are one entry in both views")
    func bytes() throws {
        let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0xff]
        expect(try http.put("\(ns)/values/logo", bytes: png, type: "image/png"), 201)
        let value = expect(try http.get("\(ns)/values/logo"), 200)
        #expect(value.body == png)
        #expect(value["Content-Type"] == "image/png")
        let entry = expect(try http.get("\(ns)/entries/logo"), 200)
        let version = try #require(entry.version)
        #expect(
            entry.text
                == #"{"key":"logo","value_base64":"iVBORw0KGgoA/w==","content_type":"image/png","version":\#(version),"expires_at":null}"#
        )
        #expect(value.etag == entry.etag)

        let envelope = #"{"value_base64":"iVBORw0KGgoA/w==","content_type":"image/png"}"#
        expect(try http.put("\(ns)/entries/logo", envelope), 200)
        #expect(try http.get("\(ns)/values/logo").body == png)
        expect(try http.put("\(ns)/entries/logo", #"{"value_base64":""}"#), 200)
        let empty = expect(try http.get("\(ns)/values/logo"), 200)
        #expect(empty.body == [])
        #expect(empty["Content-Type"] == "application/octet-stream")
    }

    @Test(
        "a value keeps whatever media type it came with",
        arguments: [
            (nil, "application/octet-stream"), ("application/x-www-form-urlencoded", nil),
            ("text/plain; charset=latin1", nil),
            ("application/vnd.api+json", nil),
        ] as [(String?, String?)]
    )
    func mediaTypes(sent: String?, kept: String?) throws {
        expect(try http.put("\(ns)/values/v", bytes: Array("a=1&b=2".utf8), type: sent), 201)
        let got = expect(try http.get("\(ns)/values/v"), 200)
        #expect(got["Content-Type"] == kept ?? sent)
        #expect(got.text == "a=1&b=2")
    }

    @Test("a value takes its TTL and its tags from query and header")
    func valueParameters() throws {
        let put = expect(
            try http.put("\(ns)/values/v?ttl=60&stale_ttl=30", bytes: [1], type: "image/gif", ["Cache-Tag": "a, b"]),
            201
        )
        #expect(put.json["expires_at"].string != nil)
        let got = try http.get("\(ns)/entries/v")
        #expect(got.json["tags"].strings == ["a", "b"])
        #expect(got["Cache-Status"]?.hasPrefix("pantler; hit; ttl=") == true)
        let moment = "2099-01-01T01:00:00.5%2B01:00"
        let until = expect(try http.put("\(ns)/values/v?expires_at=\(moment)", bytes: [2]), 200)
        #expect(until.json["expires_at"].string == "2099-01-01T00:00:00.500Z")
    }

    @Test("large values come back whole, in both views, chunked or not")
    func large() throws {
        var generator = SeededGenerator()
        let value = generator.bytes(3_000_000)
        expect(try http.put("\(ns)/values/large", bytes: value), 201)
        #expect(try http.get("\(ns)/values/large").body == value, "\(generator)")
        let text = "\"" + String(repeating: "pantler ", count: 300_000) + "\""
        expect(try http.put("\(ns)/entries/large", #"{"value":\#(text)}"#), 200)
        #expect(try http.get("\(ns)/values/large").text == text)
    }

    @Test("a delete answers 204, and then 404 with its reason")
    func delete() throws {
        try http.store(ns, "a")
        expect(try http.delete("\(ns)/entries/a"), 204)
        expect(try http.delete("\(ns)/entries/a"), 404, "entry_not_found")
        let miss = expect(try http.get("\(ns)/entries/a"), 404, "entry_not_found")
        #expect(miss.reason == "deleted")
        #expect(miss["Cache-Status"] == "pantler; fwd=uri-miss; detail=deleted")
        try http.store(ns, "b")
        expect(try http.delete("\(ns)/values/b"), 204)
        expect(try http.get("\(ns)/entries/b"), 404)
    }

    @Test("an entry lives as long as its TTL and no longer")
    func expiry() throws {
        let until = expect(
            try http.put("\(ns)/entries/a", #"{"value":1,"expires_at":"2099-01-01T01:00:00+01:00"}"#),
            201
        )
        #expect(until.json["expires_at"].string == "2099-01-01T00:00:00.000Z")
        #expect(try http.get("\(ns)/entries/a").json["expires_at"].string == "2099-01-01T00:00:00.000Z")

        expect(try http.put("\(ns)/entries/b", #"{"value":1,"ttl":0.25}"#), 201)
        let gone = try eventually("the entry expires") {
            let response = try http.get("\(ns)/entries/b")
            return response.status == 404 ? response : nil
        }
        #expect(gone.reason == "expired")
        #expect(gone["Cache-Status"] == "pantler; fwd=stale; detail=expired")
        expect(try http.put("\(ns)/entries/b", #"{"value":2,"ttl":null}"#), 201)
        #expect(try http.get("\(ns)/entries/b").json["expires_at"].isNull)
    }

    @Test("past its TTL an entry is handed out as stale while its stale TTL lasts")
    func stale() throws {
        expect(try http.put("\(ns)/entries/a", #"{"value":1,"ttl":0.05,"stale_ttl":600}"#), 201)
        let stale = try eventually("the entry is stale") {
            let response = try http.get("\(ns)/entries/a")
            return response.detail == "stale" ? response : nil
        }
        expect(stale, 200)
        #expect(stale["Cache-Status"]?.hasPrefix("pantler; hit; ttl=") == true)
        #expect(try http.get("\(ns)/stats").json["hits"]["stale"].int ?? 0 >= 1)
    }

    @Test("HEAD answers with the headers of GET, and counts like it")
    func head() throws {
        try http.store(ns, "a", #"{"n":1}"#)
        let targets = [
            "\(ns)/entries/a", "\(ns)/values/a", "\(ns)/entry?key=a", "\(ns)/value?key=a", "\(ns)/entries/none",
            "\(ns)/entries/" + String(repeating: "k", count: 1025), "/livez", "/readyz", "/openapi.yaml", ns,
            "/v1/namespaces/none", "/nowhere",
        ]
        for target in targets {
            let get = try http.get(target)
            let head = try http.head(target)
            #expect(head.status == get.status, "\(target)")
            let changing: Set = ["date"]
            #expect(
                head.headers.filter { !changing.contains($0.name) }
                    == get.headers.filter { !changing.contains($0.name) },
                "\(target)"
            )
        }
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["hits"]["total"].int == 8)
        #expect(stats["misses"]["total"].int == 2)
    }

    @Test("a peek reads and counts nowhere")
    func peek() throws {
        try http.store(ns, "a")
        for target in ["\(ns)/entries/a?peek", "\(ns)/values/a?peek=true", "\(ns)/entry?key=a&peek"] {
            expect(try http.get(target), 200)
        }
        expect(try http.get("\(ns)/entries/none?peek"), 404, "entry_not_found")
        #expect(try http.get("\(ns)/stats").json["gets"].int == 0)
        expect(try http.get("\(ns)/entries/a?peek=false"), 200)
        #expect(try http.get("\(ns)/stats").json["gets"].int == 1)
    }

    @Test("PUT judges the body as JSON, whatever a client calls it but parts of a form")
    func contentTypes() throws {
        let types: [String?] = [
            nil, "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded",
            "application/json; charset=utf-8",
            "application/octet-stream", "nonsense", "",
        ]
        for (number, type) in types.enumerated() {
            let key = "\(ns)/entries/k\(number)"
            expect(try http.put(key, bytes: #"{"value":{"a":1}}"#.utf8, type: type), 201)
            #expect(try http.get(key).json["value"]["a"].int == 1)
            expect(try http.put(key, bytes: "value=1".utf8, type: type), 400, "invalid_json")
        }
    }

    @Test("what serialisers write of fields that are not set says nothing")
    func nulls() throws {
        let none = #","expires_at":null,"stale_ttl":null,"tags":null"#
        let put = try http.put(
            "\(ns)/entries/a",
            #"{"value":1,"value_base64":null,"content_type":null,"ttl":60\#(none)}"#
        )
        #expect(expect(put, 201).json["expires_at"].string != nil)
        expect(
            try http.put(
                "\(ns)/entries/b",
                #"{"value":null,"value_base64":"AQI=","content_type":"a/b","ttl":60\#(none)}"#
            ),
            201
        )
        #expect(try http.get("\(ns)/values/b").body == [1, 2])
        expect(try http.put("\(ns)/entries/c", #"{"value":null,"value_base64":null\#(none)}"#), 201)
        #expect(try http.get("\(ns)/values/c").text == "null")
        expect(try http.put("\(ns)/entries/d", #"{"value_base64":null}"#), 422, "missing_member")
        expect(try http.put("\(ns)/entries/d", #"{"value":1,"content_type":"a/b"}"#), 422, "member_invalid")
    }

    @Test("there is one representation, and it comes whatever is said to be acceptable")
    func accept() throws {
        expect(try http.put("\(ns)/values/a", bytes: [1, 2], type: "image/png"), 201)
        for accept in ["text/html", "*/*;q=0", "application/json;q=0, */*", "nonsense", "application/xml, text/xml"] {
            let fields = ["Accept": accept]
            for target in ["entries/a", "values/a", "entry?key=a", "value?key=a", "entries", "stats"] {
                expect(try http.get("\(ns)/\(target)", fields), 200)
                expect(try http.head("\(ns)/\(target)", fields), 200)
            }
            expect(try http.put("\(ns)/entries/b", #"{"value":1}"#, fields), accept == "text/html" ? 201 : 200)
            expect(try http.patch("\(ns)/entries/b", #"{"ttl":9}"#, fields), 200)
            expect(try http.post("\(ns)/batch/get", #"{"keys":["a"]}"#, fields), 200)
            expect(try http.get("/v1/namespaces", fields), 200)
            expect(try http.get("/metrics", fields), 200)
        }
    }

    @Test("a miss is 204 for who asks for that, and counts and says why as any other")
    func miss() throws {
        expect(try http.put("\(ns)/entries/gone", #"{"value":1}"#), 201)
        expect(try http.delete("\(ns)/entries/gone"), 204)
        for (key, reason) in [("none", "absent"), ("gone", "deleted")] {
            for target in [
                "entries/\(key)?miss=204", "values/\(key)?miss=204", "entry?key=\(key)&miss=204",
                "value?miss=204&key=\(key)",
            ] {
                for method in ["GET", "HEAD"] {
                    let response = expect(try http.request(method, "\(ns)/\(target)"), 204)
                    #expect(response.detail == reason)
                    #expect(response["Cache-Control"] == "no-store")
                    #expect(response.body == [] && response["Content-Length"] == nil)
                }
            }
            expect(try http.get("\(ns)/entries/\(key)?miss=404"), 404, "entry_not_found")
        }
        #expect(try http.get("\(ns)/stats").json["misses"]["total"].int == 18)
        expect(try http.get("\(ns)-none/entries/a?miss=204&peek"), 204)
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#), 201)
        expect(try http.get("\(ns)/entries/a?miss=204"), 200)
    }
}
