import Foundation
import Support
import Testing

@Suite("Leases over HTTP", .server())
struct LeaseTests {
    let http: HTTPClient
    let ns: String

    init() throws {
        http = try ServerTrait.server.client
        ns = try http.namespace()
    }

    private func ask(_ key: String, _ body: String = "{}") throws -> Response {
        try http.post("\(ns)/leases/\(key)", body)
    }

    /// A lease that was just given.
    private func take(_ key: String, _ body: String = "{}") throws -> [String: String] {
        let given = expect(try ask(key, body), 201)
        return ["Lease": try #require(given.json["lease"]["token"].string)]
    }

    private func fill(_ key: String, _ value: String, _ lease: [String: String], _ rest: String = "") throws -> Response
    {
        try http.put("\(ns)/entries/\(key)", #"{"value":\#(value)\#(rest)}"#, lease)
    }

    /// Asks on a connection of its own, and returns once the service has it wait.
    private func wait(for key: String, _ body: String = #"{"wait":30}"#) throws -> RawConnection {
        let before = try waiters()
        let connection = try RawConnection(port: http.port)
        try connection.send(
            http.head(
                "POST",
                "\(ns)/leases/\(key)",
                ["Content-Type": "application/json"],
                bodyCount: body.utf8.count
            ) + body
        )
        try eventually("it waits") { try waiters() > before }
        return connection
    }

    /// How many wait for the namespace's keys.
    private func waiters() throws -> Int {
        let list = expect(try http.get("\(ns)/leases?limit=1000"), 200)
        return list.json["leases"].array.reduce(0) { $0 + ($1["waiters"].int ?? 0) }
    }

    // MARK: The round

    @Test("a miss gives the lease, the others are told so, the fill ends it, and after that there are hits")
    func round() throws {
        let given = expect(try ask("a"), 201)
        #expect(given["Cache-Status"] == "pantler; fwd=uri-miss; detail=absent")
        #expect(given["Cache-Control"] == "no-store")
        #expect(given.json.names == ["lease"])
        #expect(given.json["lease"].names == ["token", "expires_at"])
        let held = expect(try ask("a"), 409, "lease_held")
        #expect(held.reason == "filling")
        #expect(held["Retry-After"] == "10")
        #expect((9...10).contains(try #require(held.json["retry_after"].double)))
        let lease = ["Lease": try #require(given.json["lease"]["token"].string)]
        let filled = expect(try fill("a", "1", lease, #","ttl":60"#), 201)
        let hit = expect(try ask("a"), 200)
        #expect(hit.json["value"].int == 1)
        #expect(hit.version == filled.version)
        #expect(hit.etag == filled.etag)
        #expect(hit.detail == "memory")
        #expect(hit.body == (try http.get("\(ns)/entries/a")).body)
        expect(try fill("a", "2", lease), 412, "lease_lost")
        #expect(try http.get("\(ns)/values/a").text == "1")
    }

    @Test("who waits has the entry as soon as it is there, in either view of the fill")
    func waiting() throws {
        for view in ["entries", "values"] {
            let lease = try take(view)
            let waiters = try (0..<5).map { _ in try wait(for: view) }
            if view == "entries" {
                expect(try fill(view, #""x""#, lease), 201)
            } else {
                let put = try http.put("\(ns)/values/\(view)", bytes: Array("x".utf8), type: "text/plain", lease)
                expect(put, 201)
            }
            for waiter in waiters {
                let answer = expect(try waiter.receive(), 200)
                #expect(answer.detail == "memory")
                #expect(answer.body == (try http.get("\(ns)/entries/\(view)")).body)
            }
        }
    }

    @Test("a large value comes to all who wait, whole")
    func large() throws {
        let lease = try take("a")
        let waiters = try (0..<3).map { _ in try wait(for: "a") }
        let value = quoted(String(repeating: "x", count: 300_000))
        expect(try fill("a", value, lease), 201)
        for waiter in waiters {
            let answer = expect(try waiter.receive(), 200)
            #expect(answer.json["value"].string?.utf8.count == 300_000)
        }
    }

    @Test("a wait ends in 409 when its time is over, and the connection goes on")
    func impatient() throws {
        _ = try take("a")
        let held = expect(try ask("a", #"{"wait":0.1}"#), 409, "lease_held")
        #expect(held.reason == "filling")
        #expect(!held.closes)
        #expect(try waiters() == 0)
    }

    @Test("a filler that dies leaves the key to the next who waits, once the lease has run out")
    func dead() throws {
        let lease = try take("a", #"{"ttl":0.3}"#)
        let waiter = try wait(for: "a")
        let given = expect(try waiter.receive(), 201)
        expect(try fill("a", "1", lease), 412, "lease_lost")
        expect(try fill("a", "2", ["Lease": try #require(given.json["lease"]["token"].string)]), 201)
    }

    @Test(
        "a client that leaves frees its place at once, and is given no lease, whatever it has sent behind its request",
        arguments: [0, 1, 1000]
    )
    func leaving(behind: Int) throws {
        let lease = try take("a")
        var gone: RawConnection? = try wait(for: "a")
        let stays = try wait(for: "a")
        // The most of that is more than the service reads before it has answered.
        let requests = String(repeating: http.head("GET", "\(ns)/values/a", [:], bodyCount: nil), count: behind)
        if behind > 0 { try gone?.send(requests) }
        gone = nil
        try eventually("its place is free") { try waiters() == 1 }
        expect(try http.delete("\(ns)/leases/a", lease), 204)
        expect(try stays.receive(), 201)
    }

    @Test("a client that says that it sends no more waits no more, and its connection ends")
    func halfClosed() throws {
        _ = try take("a")
        let half = try wait(for: "a")
        half.finishSending()
        #expect(try half.receive().status == 408)
        #expect(half.ends())
        #expect(try waiters() == 0)
    }

    @Test("what a client has sent before it said that it sends no more is answered, and none of it waits")
    func halfClosedBehind() throws {
        _ = try take("a")
        let half = try wait(for: "a")
        let body = #"{"wait":30}"#
        let again = http.head(
            "POST",
            "\(ns)/leases/a",
            ["Content-Type": "application/json"],
            bodyCount: body.utf8.count
        )
        try half.send(again + body + http.head("GET", "\(ns)/values/a", [:], bodyCount: nil))
        half.finishSending()
        #expect(try half.receive().status == 408)
        #expect(try half.receive().status == 408)
        #expect(try half.receive().status == 404)
        #expect(half.ends())
    }

    @Test("what comes behind a waiting request on its connection is answered after it")
    func pipelined() throws {
        let lease = try take("a")
        let waiter = try wait(for: "a")
        try waiter.send(http.head("GET", "\(ns)/values/a", [:], bodyCount: nil))
        expect(try fill("a", "1", lease), 201)
        #expect(try waiter.receive().json["value"].int == 1)
        #expect(try waiter.receive().text == "1")
    }

    // MARK: Holding

    @Test("a lease is prolonged, given up, or lost; without its token nothing is done")
    func holding() throws {
        let lease = try take("a", #"{"ttl":1}"#)
        let prolonged = expect(try http.patch("\(ns)/leases/a", #"{"ttl":100}"#, lease), 200)
        #expect(prolonged.json["lease"]["token"].string == lease["Lease"])
        #expect(
            try http.get("\(ns)/leases").json["leases"][0]["expires_at"].string
                == prolonged.json["lease"]["expires_at"].string
        )
        expect(try http.patch("\(ns)/leases/a", "{}"), 400, "header_invalid")
        expect(try http.delete("\(ns)/leases/a"), 400, "header_invalid")
        expect(try http.delete("\(ns)/leases/b", lease), 412, "lease_lost")
        expect(try http.delete("\(ns)/leases/a", ["Lease": "nonsense"]), 412, "lease_lost")
        expect(try http.delete("\(ns)/leases/a", lease), 204)
        expect(try http.delete("\(ns)/leases/a", lease), 412, "lease_lost")
        expect(try http.patch("\(ns)/leases/a", "{}", lease), 412, "lease_lost")
        expect(try ask("a"), 201)
    }

    @Test("a source that fails is left alone, and stale entries stay in service")
    func failing() throws {
        let lease = try take("a")
        let waiter = try wait(for: "a")
        expect(try http.delete("\(ns)/leases/a?retry_after=5", lease), 204)
        for held in [try waiter.receive(), try ask("a", #"{"wait":10}"#)] {
            expect(held, 409, "lease_held")
            #expect(held.reason == "failed")
            #expect(held["Retry-After"] == "5")
        }
        // A negative TTL cannot be had, so that an entry is made stale.
        try http.store(ns, "b", "1", #""stale_ttl":60"#)
        expect(try http.post("\(ns)/invalidate", #"{"keys":["b"],"mode":"stale"}"#), 200)
        let refresh = expect(try ask("b"), 201)
        #expect(refresh["Cache-Status"]?.hasPrefix("pantler; fwd=stale; ttl=-") == true)
        #expect(refresh.json["stale_entry"]["value"].int == 1)
        #expect(expect(try ask("b", #"{"wait":30}"#), 200).detail == "stale")
        let token = ["Lease": try #require(refresh.json["lease"]["token"].string)]
        expect(try http.delete("\(ns)/leases/b?retry_after=60", token), 204)
        #expect(expect(try ask("b"), 200).detail == "stale")
        #expect(try http.get("\(ns)/entries/b").detail == "stale")
    }

    @Test("leases are listed without what anyone could use")
    func list() throws {
        let lease = try take("b/1")
        _ = try take("a")
        let waiter = try wait(for: "a")
        let list = expect(try http.get("\(ns)/leases?limit=10"), 200)
        #expect(list.json["count"].int == 2)
        let first = list.json["leases"][0]
        #expect(first.names == ["key", "token", "since", "expires_at", "waiters", "stale"])
        #expect(first["key"].string == "b/1")
        #expect(first["token"].string == (try #require(lease["Lease"])).prefix(4) + "…")
        #expect(list.json["leases"][1]["waiters"].int == 1)
        #expect(try http.get("\(ns)/leases?prefix=b").json["leases"].array.count == 1)
        expect(try http.get("/v1/namespaces/none-such/leases"), 404, "namespace_not_found")
        withExtendedLifetime(waiter) {}
    }

    @Test(
        "who was told of the miss before peeks: wherever the call ends it is no get, and all else is counted",
        arguments: [false, true]
    )
    func peeking(byQuery: Bool) throws {
        func ask(_ key: String, _ body: String = "{}", _ peek: String = "peek") throws -> Response {
            try http.post(byQuery ? "\(ns)/lease?key=\(key)&\(peek)" : "\(ns)/leases/\(key)?\(peek)", body)
        }
        func gets() throws -> Int? { try http.get("\(ns)/stats").json["gets"].int }
        expect(try http.get("\(ns)/entries/a"), 404)
        let given = expect(try ask("a"), 201)
        let lease = ["Lease": try #require(given.json["lease"]["token"].string)]
        expect(try ask("a"), 409)
        expect(try ask("a", #"{"wait":0.05}"#), 409)
        // One who waits for the fill, and one who is given the lease after another.
        let next = expect(try ask("next"), 201)
        let waits = try wait(for: "a?peek")
        let takes = try wait(for: "next?peek")
        expect(try fill("a", "1", lease), 201)
        #expect(try waits.receive().status == 200)
        expect(try http.delete("\(ns)/leases/next", ["Lease": try #require(next.json["lease"]["token"].string)]), 204)
        #expect(try takes.receive().status == 201)
        #expect(expect(try ask("a"), 200).json["value"].int == 1)
        #expect(try gets() == 1)
        // A failed load, a stale entry, a negative one.
        expect(
            try http.delete(
                "\(ns)/leases/b?retry_after=5",
                ["Lease": try #require(expect(try ask("b"), 201).json["lease"]["token"].string)]
            ),
            204
        )
        #expect(expect(try ask("b"), 409).reason == "failed")
        expect(try http.put("\(ns)/entries/c", #"{"value":1,"ttl":60,"stale_ttl":60}"#), 201)
        expect(try http.post("\(ns)/invalidate", #"{"keys":["c"],"mode":"stale"}"#), 200)
        expect(try ask("c"), 201)
        expect(try ask("c"), 200)
        expect(try http.put("\(ns)/entries/d", #"{"absent":true}"#), 201)
        expect(try ask("d"), 200)
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["gets"].int == 1 && stats["hits"]["total"].int == 0 && stats["misses"]["total"].int == 1)
        #expect(stats["absent_hits"].int == 0)
        #expect(stats["leases"]["given"].int == 5 && stats["leases"]["filled"].int == 1)
        #expect(stats["leases"]["refused"].int == 3 && stats["waits"]["ended"].int == 3, "\(stats)")
        // How it is written.
        expect(try ask("a", "{}", "peek=true"), 200)
        #expect(try gets() == 1)
        expect(try ask("a", "{}", "peek=false"), 200)
        #expect(try gets() == 2)
        expect(try ask("a", "{}", "peek=1"), 400, "query_invalid")
        expect(try ask("a", "{}", "peek&peek"), 400, "query_invalid")
        expect(try ask("a", "{", "peek"), 400)
        #expect(try gets() == 2)
    }

    @Test("a lease that was peeked at on disk is no get either")
    func peekingBelow() throws {
        let server = try ServerProcess(ServerProcess.Options(configuration: "memory:\n  max_memory: 8MiB\n"))
        let ns = "/v1/namespaces/below"
        expect(try server.client.put(ns, #"{"durability":"through"}"#), 201)
        try server.client.store(ns, "a")
        expect(try server.client.put("\(ns)/entries/n", #"{"absent":true}"#), 201)
        #expect(try server.terminate() == .exited(0))
        let again = try server.restarted()
        for key in ["a", "n", "a"] { expect(try again.client.post("\(ns)/leases/\(key)?peek", "{}"), 200) }
        expect(try again.client.post("\(ns)/leases/none?peek", "{}"), 201)
        let stats = try again.client.get("\(ns)/stats").json
        #expect(stats["gets"].int == 0 && stats["absent_hits"].int == 0 && stats["leases"]["given"].int == 1)
    }

    @Test("keys that paths fold go into the query")
    func query() throws {
        let given = expect(try http.post("\(ns)/lease?key=..", "{}"), 201)
        let lease = ["Lease": try #require(given.json["lease"]["token"].string)]
        expect(try http.put("\(ns)/entry?key=..", #"{"value":1}"#, lease), 201)
        expect(try http.post("\(ns)/lease?key=..", "{}"), 200)
        expect(try http.delete("\(ns)/lease?key=..", lease), 412, "lease_lost")
    }

    @Test("a body may be left out")
    func noBody() throws {
        #expect(try http.request("POST", "\(ns)/leases/a").status == 201)
        #expect(try http.request("POST", "\(ns)/leases/a", body: []).status == 409)
    }

    @Test(
        "bad input is refused, and gives no lease",
        arguments: [
            (#"{"ttl":0.05}"#, 422, "ttl_invalid"), (#"{"ttl":301}"#, 422, "ttl_invalid"),
            (#"{"ttl":"5"}"#, 422, "ttl_invalid"), (#"{"ttl":null}"#, 422, "ttl_invalid"),
            (#"{"wait":31}"#, 422, "member_invalid"), (#"{"wait":-1}"#, 422, "member_invalid"),
            (#"{"wait":true}"#, 422, "member_invalid"), (#"{"weight":1}"#, 422, "unknown_member"),
            (#"{"ttl":1,"ttl":1}"#, 400, "duplicate_member"), ("[]", 400, "invalid_json"), ("{", 400, "invalid_json"),
        ]
    )
    func bad(body: String, status: Int, code: String) throws {
        let answer = try ask("a", body)
        #expect(answer.status == status || answer.code == "member_invalid", "\(answer)")
        #expect(try http.get("\(ns)/leases").status != 200 || http.get("\(ns)/leases").json["count"].int == 0)
    }

    @Test("Lease is refused where it means nothing, and a release's time has bounds")
    func fields() throws {
        let lease = try take("a")
        expect(try http.delete("\(ns)/entries/a", lease), 400, "header_invalid")
        expect(try http.post("\(ns)/counters/a", "{}", lease), 400, "header_invalid")
        expect(try http.patch("\(ns)/entries/a", #"{"ttl":1}"#, lease), 400, "header_invalid")
        expect(try http.post("\(ns)/leases/a", "{}", lease), 400, "header_invalid")
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#, ["Lease": ""]), 400, "header_invalid")
        for time in ["0", "61", "x", "-1", ""] {
            expect(try http.delete("\(ns)/leases/a?retry_after=\(time)", lease), 400, "query_invalid")
        }
        expect(try fill("a", "1", lease), 201)
        // No namespace comes of a fill that is lost.
        expect(try http.put("/v1/namespaces/never-made/entries/a", #"{"value":1}"#, lease), 412, "lease_lost")
        expect(try http.get("/v1/namespaces/never-made"), 404)
    }

    @Test("a fill can say that the source has nothing, and all who ask are told so without an error")
    func absent() throws {
        let lease = try take("a")
        let waiter = try wait(for: "a")
        let filled = expect(try http.put("\(ns)/entries/a", #"{"absent":true,"ttl":5}"#, lease), 201)
        for answer in [try waiter.receive(), try ask("a"), try http.post("\(ns)/lease?key=a", "{}")] {
            expect(answer, 200)
            #expect(answer.json.names == ["key", "absent", "version", "expires_at"])
            #expect(answer.json["absent"].bool == true)
            #expect(answer.version == filled.version)
            #expect(answer.detail == "absent")
            #expect(answer["Cache-Status"]?.hasPrefix("pantler; hit; ttl=") == true)
        }
        let batch = expect(try http.post("\(ns)/batch/lease", #"{"keys":["a","b"]}"#), 200)
        #expect(batch.json["absent"].strings == ["a"])
        #expect(batch.json["leases"].array.map(\.["key"].string) == ["b"])
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["absent_hits"].int == 4)
        #expect(stats["hits"]["total"].int == 0)
    }

    // MARK: Batches

    @Test("a batch gets entries, leases for what is missing, and names what others fill")
    func batch() throws {
        try http.store(ns, "here", "1")
        try http.store(ns, "old", "2", #""stale_ttl":60"#)
        expect(try http.post("\(ns)/invalidate", #"{"keys":["old"],"mode":"stale"}"#), 200)
        let busy = try take("busy")
        let body = #"{"keys":["here","old","gone","busy","gone"],"ttl":20}"#
        let answer = expect(try http.post("\(ns)/batch/lease", body), 200)
        #expect(answer.json.names == ["entries", "leases", "busy"])
        #expect(answer.json["entries"].array.map(\.["key"].string) == ["here"])
        #expect(answer.json["leases"].array.map(\.["key"].string) == ["old", "gone"])
        #expect(answer.json["leases"][0].names == ["key", "token", "expires_at", "stale_entry"])
        #expect(answer.json["leases"][0]["stale_entry"]["value"].int == 2)
        #expect(answer.json["leases"][1].names == ["key", "token", "expires_at"])
        #expect(answer.json["busy"].array.map(\.["key"].string) == ["busy"])
        #expect(answer.json["busy"][0]["reason"].string == "filling")
        let tokens = try answer.json["leases"].array.map { try #require($0["token"].string) }
        let set =
            #"{"entries":[{"key":"old","value":3,"lease":"\#(tokens[0])"},{"key":"gone","value":4,"lease":"\#(tokens[1])"},"#
        let filled = expect(
            try http.post("\(ns)/batch/set", set + #"{"key":"busy","value":5,"lease":"\#(tokens[0])"}]}"#),
            200
        )
        #expect(filled.json["entries"].array.map(\.["key"].string) == ["old", "gone"])
        #expect(filled.json["errors"].array.map(\.["code"].string) == ["lease_lost"])
        expect(try fill("busy", "6", busy), 201)
        let again = expect(try http.post("\(ns)/batch/lease", body), 200)
        #expect(again.json["entries"].array.map(\.["value"].int) == [1, 3, 4, 6])
        #expect(again.json["leases"].array.isEmpty)
    }

    @Test("a batch waits for what others fill, unless it has a lease itself: no two batches wait for each other")
    func batchWaits() throws {
        let a = try take("a")
        let b = try take("b")
        let body = #"{"keys":["a","b"],"wait":30}"#
        let before = try waiters()
        let connection = try RawConnection(port: http.port)
        let head = http.head(
            "POST",
            "\(ns)/batch/lease",
            ["Content-Type": "application/json"],
            bodyCount: body.utf8.count
        )
        try connection.send(head + body)
        try eventually("both are waited for") { try waiters() == before + 2 }
        expect(try fill("a", "1", a), 201)
        expect(try fill("b", "2", b), 201)
        #expect(expect(try connection.receive(), 200).json["entries"].array.map(\.["value"].int) == [1, 2])

        let c = try take("c")
        let d = try take("d")
        let other = #"{"keys":["c","d"],"wait":30}"#
        try connection.send(head + other)
        try eventually("both are waited for") { try waiters() == before + 2 }
        expect(try http.delete("\(ns)/leases/c", c), 204)
        let given = expect(try connection.receive(), 200)
        #expect(given.json["leases"].array.map(\.["key"].string) == ["c"])
        #expect(given.json["busy"].array.map(\.["key"].string) == ["d"])
        #expect(try waiters() == before)
        // With a free key in it, a batch does not wait at all.
        let free = expect(try http.post("\(ns)/batch/lease", #"{"keys":["d","e"],"wait":30}"#), 200)
        #expect(free.json["leases"].array.map(\.["key"].string) == ["e"])
        expect(try fill("d", "1", d), 201)
    }

    @Test("what a long batch waits for stands among its entries")
    func longBatch() throws {
        let value = quoted(String(repeating: "x", count: 10_000))
        for number in 0..<60 { try http.store(ns, "a\(number)", value) }
        let lease = try take("awaited")
        let keys = (0..<30).map { "\"a\($0)\"" } + ["\"awaited\""] + (30..<60).map { "\"a\($0)\"" }
        let body = #"{"keys":[\#(keys.joined(separator: ","))],"wait":30}"#
        let before = try waiters()
        let connection = try RawConnection(port: http.port)
        try connection.send(
            http.head("POST", "\(ns)/batch/lease", ["Content-Type": "application/json"], bodyCount: body.utf8.count)
                + body
        )
        try eventually("it waits") { try waiters() == before + 1 }
        expect(try fill("awaited", "1", lease), 201)
        let answer = expect(try connection.receive(), 200)
        #expect(answer.json["entries"].array.count == 61)
        #expect(answer.json["entries"].array.first { $0["key"].string == "awaited" }?["value"].int == 1)
        #expect(answer.json["busy"].array.isEmpty)
    }

    @Test("each key of a batch is one get, whatever it waits for and however that ends")
    func batchCounts() throws {
        let leases = try ["a", "b", "c"].map { try take($0) }
        let taken = try http.get("\(ns)/stats").json
        #expect(taken["gets"].int == 3)
        expect(try http.post("\(ns)/batch/lease", #"{"keys":["a","b","c"]}"#), 200)
        #expect(try http.get("\(ns)/stats").json["gets"].int == 6)
        let body = #"{"keys":["a","b","c"],"wait":30}"#
        let connection = try RawConnection(port: http.port)
        try connection.send(
            http.head("POST", "\(ns)/batch/lease", ["Content-Type": "application/json"], bodyCount: body.utf8.count)
                + body
        )
        try eventually("all three are waited for") { try waiters() == 3 }
        expect(try http.delete("\(ns)/leases/b", leases[1]), 204)
        #expect(expect(try connection.receive(), 200).json["leases"].array.map(\.["key"].string) == ["b"])
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["gets"].int == 9)
        #expect(stats["misses"]["total"].int == 9)
        #expect(stats["leases"]["refused"].int == 5)
    }

    @Test("a batch whose client leaves keeps no lease and no place")
    func batchLeaves() throws {
        let a = try take("a")
        let body = #"{"keys":["a"],"wait":30}"#
        let before = try waiters()
        var connection: RawConnection? = try RawConnection(port: http.port)
        try connection?.send(
            http.head("POST", "\(ns)/batch/lease", ["Content-Type": "application/json"], bodyCount: body.utf8.count)
                + body
        )
        try eventually("it waits") { try waiters() == before + 1 }
        connection = nil
        try eventually("its place is free") { try waiters() == before }
        expect(try http.delete("\(ns)/leases/a", a), 204)
        #expect(expect(try http.get("\(ns)/leases"), 200).json["count"].int == 0)
    }

    // MARK: Figures

    @Test("statistics and metrics tell what loads cost, and what was spared")
    func figures() throws {
        let lease = try take("a")
        let waiter = try wait(for: "a")
        expect(try fill("a", "1", lease), 201)
        _ = try waiter.receive()
        expect(try ask("a"), 200)
        _ = try take("b")
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["leases"]["given"].int == 2)
        #expect(stats["leases"]["filled"].int == 1)
        #expect(stats["leases"]["running"].int == 1)
        #expect(stats["waits"]["ended"].int == 1)
        #expect(stats["loads"]["count"].int == 1)
        #expect(stats["loads"]["avoided"].int == 2)
        #expect(stats["gets"].int == 4)
        #expect(stats["hits"]["total"].int == 2)
        let mean = try #require(stats["loads"]["mean_seconds"].double)
        #expect(abs(try #require(stats["loads"]["saved_seconds"].double) - 2 * mean) < 1e-6)
        let metrics = try ServerTrait.server.metrics()
        let labels = ["namespace": String(ns.dropFirst("/v1/namespaces/".count))]
        #expect(metrics.sum("pantler_leases_total", labels.merging(["event": "given"]) { $1 }) == 2)
        #expect(metrics.sum("pantler_leases_running", labels) == 1)
        #expect(metrics.sum("pantler_lease_waits_total", labels) == 1)
        #expect(metrics.sum("pantler_load_seconds_total", labels) > 0)
        #expect(metrics.sum("pantler_loads_avoided_total", labels) == 2)
        #expect(metrics.sum("pantler_lease_wait_duration_seconds_count") > 0)
    }
}

@Suite("Leases and the service's life")
struct LeaseLifeTests {
    @Test("a stop ends waits with 503 at once")
    func drain() throws {
        let server = try ServerProcess()
        let http = server.client
        expect(try http.post("/v1/namespaces/ns/leases/a", "{}"), 201)
        let waiter = try RawConnection(port: http.port)
        let body = #"{"wait":30}"#
        try waiter.send(
            http.head(
                "POST",
                "/v1/namespaces/ns/leases/a",
                ["Content-Type": "application/json"],
                bodyCount: body.utf8.count
            ) + body
        )
        try eventually("it waits") { try server.metrics().sum("pantler_lease_waiters") == 1 }
        server.send(signal: SIGTERM)
        let answer = expect(try waiter.receive(), 503, "overloaded")
        #expect(answer["Retry-After"] == "1")
        #expect(answer.closes)
        #expect(waiter.ends())
        #expect(try server.terminate() == .exited(0))
    }

    @Test("a kill leaves no lease behind and no half entry, and what a fill has answered stays")
    func kill() throws {
        let server = try ServerProcess()
        let http = server.client
        expect(try http.put("/v1/namespaces/ns", #"{"durability":"through"}"#), 201)
        func take(_ key: String, _ http: HTTPClient) throws -> [String: String] {
            let given = expect(try http.post("/v1/namespaces/ns/leases/\(key)", "{}"), 201)
            return ["Lease": try #require(given.json["lease"]["token"].string)]
        }
        let filled = try take("a", http)
        expect(try http.put("/v1/namespaces/ns/entries/a", #"{"value":1}"#, filled), 201)
        let open = try take("b", http)
        try server.kill9()
        let next = try server.restarted()
        #expect(try next.client.get("/v1/namespaces/ns/values/a").text == "1")
        #expect(try next.client.get("/v1/namespaces/ns/leases").json["count"].int == 0)
        expect(try next.client.put("/v1/namespaces/ns/entries/b", #"{"value":1}"#, open), 412, "lease_lost")
        expect(try next.client.get("/v1/namespaces/ns/entries/b"), 404)
        _ = try take("b", next.client)
        #expect(try next.terminate() == .exited(0))
    }

    @Test("the bounds of waiters and leases are in the configuration, and change while the service runs")
    func bounds() throws {
        let server = try ServerProcess(.init(configuration: "limits:\n  waiters: 0\n  leases: 1\n"))
        let http = server.client
        let ns = "/v1/namespaces/ns"
        let given = expect(try http.post("\(ns)/leases/a", "{}"), 201)
        let crowded = expect(try http.post("\(ns)/leases/a", #"{"wait":30}"#), 409, "lease_held")
        #expect(crowded.reason == "crowded")
        expect(try http.post("\(ns)/leases/b", "{}"), 503, "overloaded")
        let lease = ["Lease": try #require(given.json["lease"]["token"].string)]
        expect(try http.put("\(ns)/entries/a", #"{"value":1}"#, lease), 201)
        expect(try http.post("\(ns)/leases/b", "{}"), 201)
        #expect(try server.terminate() == .exited(0))
    }
}

extension Heavy {
    @Suite("Many who wait")
    struct LeaseCrowdTests {
        @Test("2,000 callers of one key make one load, and each has the entry")
        func crowd() throws {
            let server = try ServerProcess()
            let http = server.client
            let ns = "/v1/namespaces/ns"
            let given = expect(try http.post("\(ns)/leases/a", "{}"), 201)
            let body = #"{"wait":30}"#
            let request =
                http.head("POST", "\(ns)/leases/a", ["Content-Type": "application/json"], bodyCount: body.utf8.count)
                + body
            let connections = try (0..<2000).map { _ in try RawConnection(port: http.port) }
            for connection in connections { try connection.send(request) }
            try eventually("all wait") {
                try server.metrics().sum("pantler_lease_waiters") == 2000
            }
            let lease = ["Lease": try #require(given.json["lease"]["token"].string)]
            expect(try http.put("\(ns)/entries/a", #"{"value":"x"}"#, lease), 201)
            for connection in connections { #expect(try connection.receive().json["value"].string == "x") }
            let stats = try http.get("\(ns)/stats").json
            #expect(stats["leases"]["given"].int == 1)
            #expect(stats["hits"]["total"].int == 2000)
            #expect(try server.metrics().sum("pantler_lease_waiters") == 0)

            // Of those who leave, the places are free at once.
            expect(try http.post("\(ns)/leases/b", "{}"), 201)
            var leaving = try (0..<500).map { _ in try RawConnection(port: http.port) }
            let other = request.replacing("leases/a", with: "leases/b")
            for connection in leaving { try connection.send(other) }
            try eventually("all wait") { try server.metrics().sum("pantler_lease_waiters") == 500 }
            leaving.removeAll()
            try eventually("none waits") { try server.metrics().sum("pantler_lease_waiters") == 0 }
            #expect(try server.terminate() == .exited(0))
        }
    }
}
