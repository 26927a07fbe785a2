import Support
import Testing

@Suite("The access log")
struct AccessLogTests {
    private static let trace = "0af7651916cd43dd8448eb211c80319c"

    /// The lines of the access log so far, once there are `count`.
    private func lines(_ server: ServerProcess, _ count: Int) throws -> [JSON] {
        func lines() -> [JSON] {
            server.log.split(separator: "\n").map { JSON(Array($0.utf8)) }
                .filter { $0["logger"].string == "pantler.access" }.map { $0["metadata"] }
        }
        try eventually("\(count) lines\n\(server.log)") { lines().count >= count }
        return lines()
    }

    private func server(_ access: String, slow: String = "1h") throws -> ServerProcess {
        let log = "log:\n  level: error\n  format: json\n  access: \(access)\n  slow: \(slow)\n"
        return try ServerProcess(ServerProcess.Options(configuration: log))
    }

    @Test("all requests have a line, whatever the level and the lane, with what came of each; numbers are numbers")
    func all() throws {
        let server = try server("all")
        let http = server.client
        // The start has asked for /livez.
        let before = try lines(server, 1).count
        let entry = "/v1/namespaces/ns/entries/k"
        try http.store("/v1/namespaces/ns", "k", #""four""#)
        _ = try http.get(entry, ["traceparent": "00-\(Self.trace)-b7ad6b7169203331-01"])
        _ = try http.get("/v1/namespaces/ns/entries/none", ["X-Request-ID": "fast-7"])
        // Not of the fast lane.
        let named = ["Traceparent": "00-\(Self.trace)-b7ad6b7169203331-00", "X-Request-ID": "slow-7"]
        _ = try http.get(entry + "?peek=true", named)
        _ = try http.post("/v1/namespaces/ns/batch/get", #"{"keys":["k"]}"#)
        _ = try http.get("/nowhere", ["X-Request-ID": "of two words"])
        let found = Array(try lines(server, before + 6)[before...])
        #expect(found.map { $0["method"].string } == ["PUT", "GET", "GET", "GET", "POST", "GET"])
        #expect(found.map { $0["route"].string } == ["put", "get", "get", "get", "batch_get", "other"])
        #expect(found.map { $0["status"].int } == [201, 200, 404, 200, 200, 404])
        #expect(found[1]["target"].string == entry)
        #expect(found.map { $0["cache"].string } == [nil, "hit", "miss", "hit", nil, nil])
        #expect(found[2]["reason"].string == "absent")
        #expect(found[1]["tier"].string == "memory" && found[1]["reason"].string == nil)
        #expect(found.map { $0["trace"].string } == [nil, Self.trace, nil, Self.trace, nil, nil])
        #expect(found.map { $0["request_id"].string } == [nil, nil, "fast-7", "slow-7", nil, nil])
        #expect(try found[1]["bytes"].int == http.get(entry).body.count)
        for line in found {
            #expect(line["peer"].string?.hasPrefix("127.0.0.1:") == true)
            #expect((line["us"].int ?? -1) >= 0 && (line["bytes"].int ?? -1) > 0)
        }
    }

    @Test("a negative entry is a hit, of no tier", arguments: ["", "?peek=true"])
    func negative(query: String) throws {
        let server = try server("all")
        let http = server.client
        expect(try http.put("/v1/namespaces/ns/entries/k", #"{"absent":true}"#), 201)
        let before = try lines(server, 2).count
        _ = try http.get("/v1/namespaces/ns/entries/k\(query)")
        let line = try lines(server, before + 1)[before]
        #expect(line["status"].int == 404 && line["cache"].string == "hit")
        #expect(line["reason"].string == "absent" && line["tier"].string == nil)
        _ = try server.terminate()
    }

    @Test("errors have a line, misses and failed conditions have none")
    func errors() throws {
        let server = try server("errors")
        let http = server.client
        try http.store("/v1/namespaces/ns", "k")
        _ = try http.get("/v1/namespaces/ns/entries/none")
        _ = try http.get("/v1/namespaces/ns/values/none?peek=true")
        _ = try http.put("/v1/namespaces/ns/entries/k", #"{"value":1}"#, ["If-Match": "\"1\""])
        _ = try http.put("/v1/namespaces/ns/entries/k", "{broken")
        _ = try http.get("/nowhere")
        // A name that is not served, and no request at all.
        for head in ["GET /v1/namespaces/ns/entries/k HTTP/1.1\r\nHost: elsewhere.example", "nonsense"] {
            let connection = try RawConnection(port: server.port)
            try connection.send(head + "\r\n\r\n")
            _ = try connection.receive()
        }
        let found = try lines(server, 4)
        #expect(found.map { $0["status"].int } == [400, 404, 421, 400])
        #expect(found.last?["target"].string == nil && found.last?["peer"].string != nil)
        // What takes effect while it runs.
        let slow = "log:\n  level: error\n  format: json\n  access: slow\n  slow: 0\n"
        _ = try server.folder.write(slow, to: "pantler.yaml")
        server.send(signal: 1)
        try eventually("the reload") {
            _ = try http.get("/v1/namespaces/ns/entries/k")
            return try lines(server, 4).count > 4
        }
        #expect(try lines(server, 5).last?["status"].int == 200)
    }

    @Test("without an access log nothing is logged, not at debug either")
    func off() throws {
        let server = try ServerProcess(ServerProcess.Options(configuration: "log:\n  level: debug\n"))
        try server.client.store("/v1/namespaces/ns", "k")
        #expect(try server.terminate() == .exited(0))
        #expect(!server.log.contains("entries/k"))
    }
}
