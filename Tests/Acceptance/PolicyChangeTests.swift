import Support
import Testing

/// Namespaces that leave the disk and come back to it, and how they end: a clean stop or a kill.
@Suite("Changes of durability")
struct PolicyChangeTests {
    enum End: CaseIterable {
        case stop, kill
    }

    private func restart(_ server: ServerProcess, _ end: End) throws -> ServerProcess {
        switch end {
        case .stop: #expect(try server.terminate() == .exited(0), "\(server.log.suffix(4000))")
        case .kill: try server.kill9()
        }
        return try server.restarted()
    }

    private func set(_ server: ServerProcess, _ durability: String) throws {
        let answer = try server.client.patch("/v1/namespaces/s", #"{"durability":"\#(durability)"}"#)
        #expect(answer.status == 200, "\(answer)")
    }

    @Test(
        "what was on disk before a namespace left it never comes back",
        arguments: ["behind", "through"],
        End.allCases
    )
    func leaving(durability: String, end: End) throws {
        let ns = "/v1/namespaces/s"
        var server = try ServerProcess()
        expect(try server.client.put(ns, #"{"durability":"\#(durability)"}"#), 201)
        for number in 0..<200 { try server.client.store(ns, "k\(number)", "1") }
        try set(server, "memory")
        #expect(try server.client.get("\(ns)/values/k0").text == "1", "what is in memory stays there")
        for number in 0..<100 { expect(try server.client.delete("\(ns)/entries/k\(number)"), 204) }
        for number in 100..<150 { try server.client.store(ns, "k\(number)", "2") }
        server = try restart(server, end)
        #expect(try server.client.get(ns).json["durability"].string == "memory")
        expect(try server.client.get("\(ns)/entries/k199"), 404)
        try set(server, durability)
        for number in 0..<200 { expect(try server.client.get("\(ns)/entries/k\(number)"), 404) }
        #expect(try server.client.get("\(ns)/entries").json["entries"].array.isEmpty)
        try server.client.store(ns, "k0", "3")
        server = try restart(server, .stop)
        #expect(try server.client.get("\(ns)/entries").json["entries"].array.count == 1)
        #expect(try server.client.get("\(ns)/values/k0").text == "3")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("what is in memory as a namespace comes to the disk is there after its end", arguments: End.allCases)
    func entering(end: End) throws {
        let ns = "/v1/namespaces/s"
        var server = try ServerProcess()
        expect(try server.client.put(ns, #"{"durability":"memory"}"#), 201)
        for number in 0..<500 { try server.client.store(ns, "k\(number)", "1", #""tags":["t\#(number % 10)"]"#) }
        try server.client.store(ns, "large", "\"\(String(repeating: "x", count: 1_000_000))\"")
        expect(try server.client.post("\(ns)/invalidate", #"{"tags":["t0"]}"#), 200)
        try set(server, "through")
        #expect(try server.client.get("\(ns)/entries?limit=1000").json["entries"].array.count == 451)
        let prefix = try server.client.post("\(ns)/invalidate", #"{"prefix":"k1"}"#)
        #expect(prefix.json["invalidated"].int == 100)
        server = try restart(server, end)
        #expect(try server.client.get("\(ns)/entries?limit=1000").json["entries"].array.count == 351)
        expect(try server.client.get("\(ns)/entries/k10"), 404)
        expect(try server.client.get("\(ns)/entries/k20"), 404)
        #expect(try server.client.get("\(ns)/values/k21").text == "1")
        #expect(try server.client.get("\(ns)/values/large").body.count == 1_000_002)
        #expect(try server.terminate() == .exited(0))
    }

    @Test(
        "large values too, whose deflating takes longer than a commit, are on disk once a change of durability is answered",
        arguments: [("memory", "behind"), ("memory", "through"), ("behind", "through")]
    )
    func large(from: String, to: String) throws {
        let ns = "/v1/namespaces/s"
        var server = try ServerProcess()
        expect(try server.client.put(ns, #"{"durability":"\#(from)"}"#), 201)
        let value = String(repeating: "what deflates well ", count: 20_000)
        for number in 0..<30 { try server.client.store(ns, "k\(number)", "\"\(number) \(value)\"") }
        try set(server, to)
        server = try restart(server, .kill)
        for number in 0..<30 {
            #expect(try server.client.get("\(ns)/values/k\(number)").text.hasPrefix("\"\(number) "), "\(number)")
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test("back and forth in one run, a stop and a start find what memory said last", arguments: End.allCases)
    func backAndForth(end: End) throws {
        let ns = "/v1/namespaces/s"
        var server = try ServerProcess()
        expect(try server.client.put(ns, #"{"durability":"through"}"#), 201)
        for key in ["kept", "deleted", "written"] { try server.client.store(ns, key, "1") }
        for round in 0..<3 {
            try set(server, "memory")
            if round == 0 { expect(try server.client.delete("\(ns)/entries/deleted"), 204) }
            try server.client.store(ns, "written", "\(round + 2)")
            try set(server, "through")
        }
        server = try restart(server, end)
        #expect(try server.client.get("\(ns)/values/kept").text == "1")
        #expect(try server.client.get("\(ns)/values/written").text == "4")
        expect(try server.client.get("\(ns)/entries/deleted"), 404)
        #expect(try server.terminate() == .exited(0))
    }

    @Test("fewer namespaces than there are: all are there after a restart, with their entries, and no more are made")
    func fewerNamespaces() throws {
        var server = try ServerProcess()
        for number in 0..<6 { try server.client.store("/v1/namespaces/n\(number)", "a") }
        #expect(try server.terminate() == .exited(0))
        server = try server.restarted(configuration: "namespaces:\n  max_namespaces: 2\n")
        #expect(try server.client.get("/v1/namespaces").json["namespaces"].array.count == 6)
        expect(try server.client.put("/v1/namespaces/n6/entries/a", #"{"value":1}"#), 409, "too_many_namespaces")
        expect(try server.client.post("/v1/namespaces/n0/invalidate", #"{"all":true}"#), 200)
        #expect(try server.terminate() == .exited(0))
        server = try server.restarted(configuration: "namespaces:\n  max_namespaces: 1000\n")
        for number in 1..<6 { expect(try server.client.get("/v1/namespaces/n\(number)/entries/a"), 200) }
        expect(try server.client.get("/v1/namespaces/n0/entries/a"), 404)
        #expect(try server.terminate() == .exited(0))
    }
}
