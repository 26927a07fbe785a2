import Support
import Testing

@Suite("Conditional requests", .server())
struct ConditionTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    /// V stands for the version that is there.
    @Test(
        "If-None-Match on a GET",
        arguments: [
            ("\"V\"", 304), ("W/\"V\"", 304), ("*", 304), ("\"1\", \"V\"", 304), ("\"1\",\"V\" , \"3\"", 304),
            ("\"1\"", 200),
            ("\"0V\"", 200),
        ]
    )
    func read(condition: String, status: Int) throws {
        let version = try http.store(ns, "a")
        let headers = ["If-None-Match": condition.replacing("V", with: "\(version)")]
        for target in ["\(ns)/entries/a", "\(ns)/values/a", "\(ns)/entry?key=a"] {
            let response = expect(try http.get(target, headers), status)
            #expect(response.etag == "\"\(version)\"")
            #expect(response["Cache-Control"] == "private, no-cache")
            expect(try http.head(target, headers), status)
        }
        #expect(try http.get("\(ns)/stats").json["hits"]["total"].int == 6, "a 304 is a hit")
        expect(try http.get("\(ns)/entries/none", headers), 404)
    }

    @Test(
        "If-Match and If-None-Match on a write where there is an entry",
        arguments: [
            ("If-Match", "\"V\"", true), ("If-Match", "\"1\", \"V\"", true), ("If-Match", "*", true),
            ("If-Match", "\"1\"", false), ("If-Match", "W/\"V\"", false), ("If-None-Match", "*", false),
            ("If-None-Match", "\"V\"", false), ("If-None-Match", "W/\"V\"", false), ("If-None-Match", "\"1\"", true),
        ]
    )
    func write(header: String, condition: String, holds: Bool) throws {
        let version = try http.store(ns, "a", "{}")
        let headers = [header: condition.replacing("V", with: "\(version)")]
        if !holds {
            let refusals = [
                try http.put("\(ns)/entries/a", #"{"value":2}"#, headers),
                try http.put("\(ns)/values/a", bytes: [1], headers),
                try http.patch("\(ns)/entries/a", #"{"ttl":9}"#, headers), try http.delete("\(ns)/entries/a", headers),
            ]
            for refusal in refusals {
                expect(refusal, 412, "version_mismatch")
                #expect(refusal.version == version)
            }
            #expect(try http.get("\(ns)/entries/a").text.hasPrefix(#"{"key":"a","value":{},"version":\#(version),"#))
        } else {
            let next = try #require(expect(try http.put("\(ns)/entries/a", #"{"value":{}}"#, headers), 200).version)
            let again = [header: condition.replacing("V", with: "\(next)")]
            let patched = try #require(expect(try http.patch("\(ns)/entries/a", #"{"ttl":9}"#, again), 200).version)
            expect(try http.delete("\(ns)/entries/a", [header: condition.replacing("V", with: "\(patched)")]), 204)
        }
    }

    @Test("conditions where there is no entry")
    func missing() throws {
        for condition in ["*", "\"7\""] {
            let refusals = [
                try http.put("\(ns)/entries/a", #"{"value":2}"#, ["If-Match": condition]),
                try http.patch("\(ns)/entries/a", #"{"ttl":9}"#, ["If-Match": condition]),
                try http.delete("\(ns)/entries/a", ["If-Match": condition]),
            ]
            for refusal in refusals {
                expect(refusal, 412, "version_mismatch")
                #expect(refusal.json["version"].isNull)
            }
        }
        expect(try http.get("\(ns)/entries/a"), 404)
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#, ["If-None-Match": "*"]), 201)
        expect(try http.put("\(ns)/entries/a", #"{"value":2}"#, ["If-None-Match": "*"]), 412)
        #expect(try http.get("\(ns)/values/a").text == "1")
    }

    @Test("an expired entry, and a deleted one, do not stand in the way of an add")
    func addAfterEnd() throws {
        expect(try http.put("\(ns)/entries/a", #"{"value":1,"ttl":0.02}"#), 201)
        try eventually("the add succeeds") {
            try http.put("\(ns)/entries/a", #"{"value":2}"#, ["If-None-Match": "*"]).status == 201
        }
        expect(try http.delete("\(ns)/entries/a"), 204)
        expect(try http.put("\(ns)/entries/a", #"{"value":3}"#, ["If-None-Match": "*"]), 201)
    }

    @Test("compare-and-set by many at once loses nothing")
    func race() throws {
        let server = try ServerTrait.server
        let target = "\(ns)/entries/n"
        try http.store(ns, "n", "0")
        _ = try onThreads(6) { _ in
            let http = server.client
            for _ in 0..<20 {
                while true {
                    let found = try http.get(target)
                    let next = try #require(found.json["value"].int) + 1
                    let put = try http.put(target, #"{"value":\#(next)}"#, ["If-Match": try #require(found.etag)])
                    if put.status == 200 { break }
                    expect(put, 412, "version_mismatch")
                }
            }
        }
        #expect(try http.get("\(ns)/values/n").text == "120")
    }

    @Test("of many that add one key at once, one wins")
    func addRace() throws {
        let server = try ServerTrait.server
        let ns = ns
        for round in 0..<20 {
            let statuses = try onThreads(4) { _ in
                try server.client.put("\(ns)/entries/k\(round)", #"{"value":1}"#, ["If-None-Match": "*"]).status
            }
            #expect(statuses.sorted() == [201, 412, 412, 412])
        }
    }

    @Test("a condition that is none is refused", arguments: ["7", "\"", "\"a\" \"b\"", "", "*, \"7\""])
    func malformed(condition: String) throws {
        let version = try http.store(ns, "a")
        expect(try http.put("\(ns)/entries/a", #"{"value":2}"#, ["If-Match": condition]), 400, "header_invalid")
        #expect(try http.get("\(ns)/entries/a").version == version)
    }
}
