import Support
import Testing

@Suite("Keys", .server())
struct KeyTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    /// What stands in the path, what stands in `?key=`, and the key that both mean.
    static let spellings: [(path: String, query: String, key: String)] = [
        ("a/b", "a/b", "a/b"),
        ("a%2Fb", "a%2fb", "a/b"),
        ("a+b", "a%2Bb", "a+b"),
        ("a%2Bb", "a%2Bb", "a+b"),
        ("a%20b", "a%20b", "a b"),
        ("a%20%2Bb", "a+%2bb", "a +b"),
        ("a//b", "a//b", "a//b"),
        ("/a", "/a", "/a"),
        ("a/", "a/", "a/"),
        ("../x", "../x", "../x"),
        ("x/../y", "x/../y", "x/../y"),
        ("...", "...", "..."),
        ("%25", "%25", "%"),
        ("%2525", "%2525", "%25"),
        ("caf%C3%A9", "caf%c3%a9", "café"),
        ("%F0%9F%8D%9E", "%F0%9F%8D%9E", "🍞"),
        ("a%3Fb%23c", "a?b%23c", "a?b#c"),
        ("a%26b=c", "a%26b=c", "a&b=c"),
        ("a:b;c,d@e!$'()*~", "a:b;c,d@e!$'()*~", "a:b;c,d@e!$'()*~"),
        ("%22%5C%0A", "%22%5C%0A", "\"\\\n"),
        ("A", "A", "A"),
    ]

    @Test("path and query name the same key, and nothing is folded", arguments: spellings)
    func spelling(path: String, query: String, key: String) throws {
        let put = expect(try http.put("\(ns)/entries/\(path)", #"{"value":1}"#), 201)
        #expect(put.json["key"].string == key)
        for target in ["\(ns)/entries/\(path)", "\(ns)/entry?key=\(query)"] {
            #expect(expect(try http.get(target), 200).json["key"].string == key)
        }
        for target in ["\(ns)/values/\(path)", "\(ns)/value?key=\(query)"] {
            #expect(expect(try http.get(target), 200).text == "1")
        }
        let listed = try http.get("\(ns)/entries").json["entries"].array
        #expect(listed.map { $0["key"].string } == [key])
        let batch = try http.post("\(ns)/batch/get", #"{"keys":[\#(quoted(key))]}"#)
        #expect(batch.json["entries"][0]["key"].string == key)
        expect(try http.post("\(ns)/counters/\(path)", "{}"), 200)
        expect(try http.post("\(ns)/counter?key=\(query)", "{}"), 200)
        expect(try http.delete("\(ns)/entry?key=\(query)"), 204)
        expect(try http.get("\(ns)/entries/\(path)"), 404)
    }

    @Test("the views by query write, patch and delete too")
    func queryViews() throws {
        expect(try http.put("\(ns)/entry?key=..", #"{"value":{"a":1}}"#), 201)
        expect(try http.patch("\(ns)/entry?key=..", #"{"value":{"b":2}}"#), 200)
        #expect(try http.get("\(ns)/value?key=..").text == #"{"a":1,"b":2}"#)
        expect(try http.put("\(ns)/value?key=..&ttl=60", bytes: [7], type: "image/png"), 200)
        #expect(try http.get("\(ns)/entry?key=..").json["content_type"].string == "image/png")
        expect(try http.delete("\(ns)/value?key=.."), 204)
    }

    @Test(
        "'.' and '..' are refused in a path, where the next client would fold them, and told of the other way",
        arguments: [".", "..", "%2e", "%2E.", "%2e%2E"]
    )
    func folded(key: String) throws {
        expect(try http.put("\(ns)/entry?key=\(key)", #"{"value":1}"#), 201)
        let json = ["Content-Type": "application/json"]
        for (method, view) in [
            ("GET", "entries"), ("PUT", "entries"), ("PATCH", "entries"), ("DELETE", "entries"), ("GET", "values"),
            ("PUT", "values"), ("DELETE", "values"), ("POST", "counters"),
        ] {
            let body = ["PUT", "PATCH", "POST"].contains(method) ? Array("{}".utf8)[...] : nil
            let response = expect(
                try http.request(method, "\(ns)/\(view)/\(key)", json, body: body),
                400,
                "key_invalid"
            )
            #expect(response.json["detail"].string?.contains("?key=") == true, "\(response)")
        }
        let listed = try http.get("\(ns)/entries").json["entries"].array
        #expect(listed.count == 1)
        expect(try http.delete("\(ns)/entry?key=\(key)"), 204)
    }

    @Test("a plus in a query is a space, in every parameter")
    func plus() throws {
        try http.store(ns, "a%20b", "1")
        try http.store(ns, "a+b", "2")
        #expect(try http.get("\(ns)/value?key=a+b").text == "1")
        #expect(try http.get("\(ns)/value?key=a%2Bb").text == "2")
        #expect(try http.get("\(ns)/entries?prefix=a+").json["entries"].array.map { $0["key"].string } == ["a b"])
        expect(try http.put("\(ns)/values/c?expires_at=2099-01-01T00:00:00%2B01:00", bytes: [1]), 201)
    }

    @Test("keys are told apart by their bytes")
    func apart() throws {
        let keys = ["a", "A", "a%20", "a/", "/a", "a%2F%2F", "e%CC%81", "%C3%A9"]
        for (number, key) in keys.enumerated() { try http.store(ns, key, "\(number)") }
        for (number, key) in keys.enumerated() {
            #expect(try http.get("\(ns)/values/\(key)").text == "\(number)")
        }
    }

    @Test(
        "a key may have 1 to 1,024 bytes",
        arguments: [
            "k", String(repeating: "k", count: 1024), String(repeating: "%C3%A9", count: 512),
            String(repeating: "%F0%9F%8D%9E", count: 256),
        ]
    )
    func lengths(key: String) throws {
        expect(try http.put("\(ns)/entries/\(key)", #"{"value":1}"#), 201)
        expect(try http.get("\(ns)/entries/\(key)"), 200)
        expect(try http.put("\(ns)/entries/\(key)k", #"{"value":1}"#), key == "k" ? 201 : 400)
    }
}
