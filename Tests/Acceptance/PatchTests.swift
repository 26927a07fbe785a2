import Support
import Testing

@Suite("Touch and merge", .server())
struct PatchTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    @Test("a touch changes the expiry under a new version and leaves the rest")
    func touch() throws {
        let version = try http.store(ns, "a", #"{"n":1}"#, #""ttl":60,"tags":["t"]"#)
        let before = try #require(try http.get("\(ns)/entries/a").json["expires_at"].string)
        let touched = expect(try http.patch("\(ns)/entries/a", #"{"ttl":6000}"#), 200)
        #expect(touched.json.names == ["key", "version", "expires_at"])
        #expect(try #require(touched.version) > version)
        #expect(touched.etag == "\"\(try #require(touched.version))\"")
        #expect(try #require(touched.json["expires_at"].string) > before)
        let never = expect(try http.patch("\(ns)/entries/a", #"{"ttl":null}"#), 200)
        #expect(never.json["expires_at"].isNull)
        let until = expect(try http.patch("\(ns)/entries/a", #"{"expires_at":"2099-01-01T00:00:00Z"}"#), 200)
        #expect(until.json["expires_at"].string == "2099-01-01T00:00:00.000Z")
        let kept = expect(try http.patch("\(ns)/entries/a", "{}"), 200)
        #expect(kept.json["expires_at"].string == "2099-01-01T00:00:00.000Z")
        let entry = try http.get("\(ns)/entries/a").json
        #expect(entry["value"]["n"].int == 1)
        #expect(entry["tags"].strings == ["t"])
    }

    @Test("tags are set, and taken away by null")
    func tags() throws {
        try http.store(ns, "a", "1", #""tags":["t"]"#)
        expect(try http.patch("\(ns)/entries/a", #"{"tags":["u","v"]}"#), 200)
        #expect(try http.get("\(ns)/entries/a").json["tags"].strings == ["u", "v"])
        expect(try http.patch("\(ns)/entries/a", #"{"tags":null}"#), 200)
        #expect(try http.get("\(ns)/entries/a").json["tags"].isMissing)
    }

    /// RFC 7396, appendix A, with what is touched not told digit for digit, and what is not touched so.
    @Test(
        "merging follows RFC 7396",
        arguments: [
            (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
            (#"{"a":"b"}"#, #"{"a":null}"#, "{}"), (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
            (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
            (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
            (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#), (#"{"a":"foo"}"#, "\"bar\"", "\"bar\""),
            (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#), ("[1,2]", #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
            ("{}", #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#), ("5", "null", "null"),
            (#"{"big":18446744073709551615,"x":1}"#, #"{"x":4.20}"#, #"{"big":18446744073709551615,"x":4.20}"#),
        ]
    )
    func merge(value: String, patch: String, result: String) throws {
        try http.store(ns, "a", value)
        expect(try http.patch("\(ns)/entries/a", #"{"value":\#(patch)}"#), 200)
        #expect(try http.get("\(ns)/values/a").text == result)
    }

    @Test("merges by many at once are atomic")
    func race() throws {
        let server = try ServerTrait.server
        let target = "\(ns)/entries/a"
        try http.store(ns, "a", "{}")
        _ = try onThreads(4) { thread in
            let http = server.client
            for number in 0..<25 {
                expect(try http.patch(target, #"{"value":{"\#(thread)-\#(number)":1}}"#), 200)
            }
        }
        #expect(try http.get(target).json["value"].names.count == 100)
    }

    @Test("patches that cannot be are refused and change nothing")
    func refused() throws {
        expect(try http.put("\(ns)/values/bytes", bytes: [1], type: "image/png"), 201)
        let version = try http.store(ns, "a", "{}")
        expect(try http.patch("\(ns)/entries/bytes", #"{"value":{"a":1}}"#), 409, "not_json")
        expect(try http.patch("\(ns)/entries/bytes", #"{"ttl":60}"#), 200)
        expect(try http.patch("\(ns)/entries/none", #"{"ttl":60}"#), 404, "entry_not_found")
        expect(try http.patch("\(ns)/entries/a", #"{"tll":60}"#), 422, "unknown_member")
        expect(try http.patch("\(ns)/entries/a", #"{"ttl":0}"#), 422, "ttl_invalid")
        expect(
            try http.patch("\(ns)/entries/a", #"{"ttl":60,"expires_at":"2099-01-01T00:00:00Z"}"#),
            400,
            "ttl_conflict"
        )
        #expect(try http.get("\(ns)/entries/a").version == version)
    }

    @Test("a patch may be called plain JSON, and a null beside the other of ttl and expires_at says nothing")
    func plainJSON() throws {
        try http.store(ns, "a", #"{"b":1}"#)
        let type = ["Content-Type": "application/json"]
        let body = #"{"value":{"b":null,"c":2},"ttl":60,"expires_at":null}"#
        #expect(expect(try http.patch("\(ns)/entries/a", body, type), 200).json["expires_at"].string != nil)
        #expect(try http.get("\(ns)/values/a").text == #"{"c":2}"#)
        expect(try http.patch("\(ns)/entries/a", #"{"ttl":null,"expires_at":"2099-01-01T00:00:00Z"}"#, type), 200)
        #expect(try http.get("\(ns)/entries/a").json["expires_at"].string == "2099-01-01T00:00:00.000Z")
        expect(try http.patch("\(ns)/entries/a", #"{"ttl":null,"expires_at":null}"#, type), 200)
        #expect(try http.get("\(ns)/entries/a").json["expires_at"].isNull)
    }
}
