import Support
import Testing

@Suite("Counters", .server())
struct CounterTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    private func count(_ key: String, _ body: String) throws -> Response {
        try http.post("\(ns)/counters/\(key)", body)
    }

    @Test("a counter is made with an initial value, and then counts")
    func counts() throws {
        expect(try count("a", "{}"), 404, "entry_not_found")
        let made = expect(try count("a", #"{"by":2,"initial":40,"ttl":600}"#), 201)
        #expect(made.json.names == ["value", "version"])
        #expect(made.json["value"].int == 42)
        let expiry = try http.get("\(ns)/entries/a").json["expires_at"].string
        #expect(expiry != nil)
        let next = expect(try count("a", #"{"ttl":5,"initial":7}"#), 200)
        #expect(next.json["value"].int == 43)
        #expect(try #require(next.version) > (try #require(made.version)))
        #expect(expect(try count("a", #"{"by":-50}"#), 200).json["value"].int == -7)
        #expect(try http.get("\(ns)/entries/a").json["expires_at"].string == expiry, "counting keeps the TTL")
        #expect(try http.get("\(ns)/values/a").text == "-7")
    }

    @Test(
        "what is no integer does not count",
        arguments: ["\"5\"", "1.5", "[1]", "{}", "null", "true", "9007199254740992"]
    )
    func notAnInteger(value: String) throws {
        let version = try http.store(ns, "a", value)
        let response = expect(try count("a", "{}"), 409)
        #expect(["not_an_integer", "counter_overflow"].contains(response.code))
        #expect(try http.get("\(ns)/entries/a").version == version)
        #expect(try http.get("\(ns)/values/a").text == value)
    }

    @Test("bytes do not count")
    func bytes() throws {
        expect(try http.put("\(ns)/values/a", bytes: Array("5".utf8), type: "text/plain"), 201)
        expect(try count("a", "{}"), 409, "not_an_integer")
    }

    @Test("a counter does not leave the integers that every reader keeps exact")
    func overflow() throws {
        let largest = 9_007_199_254_740_991
        for sign in [1, -1] {
            let key = "max\(sign)"
            try http.store(ns, key, "\(sign * (largest - 1))")
            #expect(expect(try count(key, #"{"by":\#(sign)}"#), 200).json["value"].int == sign * largest)
            expect(try count(key, #"{"by":\#(sign)}"#), 409, "counter_overflow")
            expect(try count(key, #"{"by":\#(sign * largest)}"#), 409, "counter_overflow")
            #expect(try http.get("\(ns)/values/\(key)").text == "\(sign * largest)")
        }
        expect(try count("new", #"{"by":1,"initial":\#(largest)}"#), 409, "counter_overflow")
        expect(try http.get("\(ns)/entries/new"), 404)
    }

    @Test(
        "bodies that say no integer are refused",
        arguments: [
            #"{"by":1.5}"#, #"{"by":"1"}"#, #"{"by":null}"#, #"{"initial":[]}"#, #"{"by":9007199254740992}"#, "[]",
        ]
    )
    func bodies(body: String) throws {
        try http.store(ns, "a", "5")
        expect(try count("a", body), 422)
        #expect(try http.get("\(ns)/values/a").text == "5")
    }

    @Test("counting by many at once loses nothing")
    func race() throws {
        let server = try ServerTrait.server
        let target = "\(ns)/counters/n"
        let versions = try onThreads(6) { _ in
            let http = server.client
            return try (0..<50).map { _ in try #require(http.post(target, #"{"initial":0}"#).version) }
        }
        #expect(try http.get("\(ns)/values/n").text == "300")
        #expect(Set(versions.joined()).count == 300, "each count has a version of its own")
        #expect(versions.allSatisfy { $0 == $0.sorted() })
    }
}
