import Support
import Testing

@Suite("Invalidation", .server())
struct InvalidationTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
        for (key, tags) in [("a/1", #"["x"]"#), ("a/2", #"["x","y"]"#), ("b/1", #"["y"]"#), ("b/2", "[]")] {
            try http.store(ns, key, "1", #""tags":\#(tags),"stale_ttl":600"#)
        }
    }

    /// What to invalidate, what goes, and what the answer holds besides a number.
    static let ways: [(body: String, gone: Set<String>, answer: String)] = [
        (#""keys":["a/1","none","b/2"]"#, ["a/1", "b/2"], #"{"invalidated":2}"#),
        (#""tags":["x"]"#, ["a/1", "a/2"], #"{"invalidated":null,"tags":1}"#),
        (#""tags":["x","y","z"]"#, ["a/1", "a/2", "b/1"], #"{"invalidated":null,"tags":3}"#),
        (#""prefix":"a/""#, ["a/1", "a/2"], #"{"invalidated":2}"#),
        (#""all":true"#, ["a/1", "a/2", "b/1", "b/2"], #"{"invalidated":null,"generation":1}"#),
    ]

    @Test("what is invalidated is gone at once, and the rest stays", arguments: ways)
    func gone(body: String, gone: Set<String>, answer: String) throws {
        #expect(expect(try http.post("\(ns)/invalidate", "{\(body)}"), 200).text == answer)
        for key in ["a/1", "a/2", "b/1", "b/2"] {
            let response = try http.get("\(ns)/entries/\(key)")
            expect(response, gone.contains(key) ? 404 : 200)
            guard gone.contains(key) else { continue }
            #expect(
                body.hasPrefix("\"keys\"")
                    ? ["invalidated", "deleted"].contains(response.reason) : response.reason == "invalidated"
            )
            expect(try http.delete("\(ns)/entries/\(key)"), 404)
        }
        for key in gone {
            try http.store(ns, key, "2", #""tags":["x","y"]"#)
            expect(try http.get("\(ns)/entries/\(key)"), 200)
        }
    }

    @Test("in mode stale entries are handed out as stale until they are written again", arguments: ways)
    func stale(body: String, gone: Set<String>, answer: String) throws {
        #expect(expect(try http.post("\(ns)/invalidate", #"{\#(body),"mode":"stale"}"#), 200).text == answer)
        for key in ["a/1", "a/2", "b/1", "b/2"] {
            let response = expect(try http.get("\(ns)/entries/\(key)"), 200)
            #expect((response.detail == "stale") == gone.contains(key), "\(key): \(response)")
        }
        #expect(try http.get("\(ns)/stats").json["hits"]["stale"].int == gone.count)
        for key in gone {
            try http.store(ns, key, "2")
            #expect(try http.get("\(ns)/entries/\(key)").detail == "memory")
        }
    }

    @Test("in mode stale an entry without a stale TTL is gone")
    func staleWithoutStaleTTL() throws {
        try http.store(ns, "bare", "1", #""tags":["bare"]"#)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["bare"],"mode":"stale"}"#), 200)
        expect(try http.get("\(ns)/entries/bare"), 404)
    }

    @Test("each flush raises the generation by one")
    func generation() throws {
        for generation in 1...3 {
            #expect(try http.post("\(ns)/invalidate", #"{"all":true}"#).json["generation"].int == generation)
            #expect(try http.get(ns).json["generation"].int == generation)
        }
    }

    @Test("a flush does not reach another namespace, nor what is written after it")
    func reach() throws {
        let other = try http.namespace()
        try http.store(other, "a/1", "1", #""tags":["x"]"#)
        expect(try http.post("\(ns)/invalidate", #"{"all":true}"#), 200)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["x"]}"#), 200)
        expect(try http.get("\(other)/entries/a/1"), 200)
        let server = try ServerTrait.server
        let ns = ns
        // A write answered after a flush was answered survives it, whatever else goes on.
        _ = try onThreads(3) { thread in
            let http = server.client
            for round in 0..<30 {
                try http.store(ns, "\(thread)/\(round)", "1", #""tags":["t\#(thread)"]"#)
                expect(try http.post("\(ns)/invalidate", #"{"tags":["t\#(thread)"]}"#), 200)
                expect(try http.get("\(ns)/entries/\(thread)/\(round)"), 404)
                try http.store(ns, "\(thread)/\(round)", "2", #""tags":["t\#(thread)"]"#)
                expect(try http.get("\(ns)/entries/\(thread)/\(round)"), 200)
            }
        }
    }

    @Test(
        "bodies that do not say one thing are refused, and nothing goes",
        arguments: [
            "{}", #"{"all":true,"tags":["x"]}"#, #"{"all":false}"#, #"{"tags":"x"}"#, #"{"prefix":"a","keys":[]}"#,
            #"{"all":true,"mode":"later"}"#, #"{"everything":true}"#, #"{"tags":[""]}"#, "[]", "null",
        ]
    )
    func refused(body: String) throws {
        expect(try http.post("\(ns)/invalidate", body), 422)
        #expect(try http.get("\(ns)/entries").json["entries"].array.count == 4)
        #expect(try http.get(ns).json["generation"].int == 0)
    }
}
