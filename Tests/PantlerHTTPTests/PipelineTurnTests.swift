internal import NIOCore
internal import NIOEmbedded
import Support
import Testing

@testable import PantlerHTTP

/// What one connection brings is dealt with in bounded steps: others have their turn in between.
@Suite("Turns of a connection")
struct PipelineTurnTests {
    private static let mostTurns = 10_000

    /// Lets the loop go on until nothing is left, and tells how many answers each turn gave: what is looked at here stands in the loop's
    /// queue behind the turn to come.
    private func turns(
        _ connection: TestConnection,
        until isOver: @escaping (Int) -> Bool = { $0 == 0 }
    ) throws -> [Int] {
        var turns = [try connection.answers().count]
        func look() {
            let answers = (try? connection.answers().count) ?? -1
            turns.append(answers)
            // What goes wrong ends here too, and is told by what is expected of the turns.
            if answers < 0 || isOver(answers) || turns.count > Self.mostTurns { return }
            connection.eventLoop.assumeIsolated().execute { look() }
        }
        connection.eventLoop.assumeIsolated().execute { look() }
        connection.eventLoop.run()
        return turns
    }

    @Test("thousands of plain requests at once are answered a thousand a turn")
    func plain() throws {
        let connection = try TestConnection()
        try connection.store("k", "v")
        connection.channel.pipeline.fireChannelRead(
            ByteBuffer(string: String(repeating: TestConnection.get("k"), count: 3000))
        )
        connection.channel.pipeline.fireChannelReadComplete()
        let turns = try turns(connection)
        #expect(turns.reduce(0, +) == 3000)
        #expect(turns.max() ?? 0 <= ConnectionState.burstSteps)
    }

    @Test("requests that go through the decoder count for more")
    func slow() throws {
        let connection = try TestConnection()
        let probe = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.channel.pipeline.fireChannelRead(ByteBuffer(string: String(repeating: probe, count: 500)))
        connection.channel.pipeline.fireChannelReadComplete()
        let turns = try turns(connection)
        #expect(turns.reduce(0, +) == 500)
        #expect(turns.max() ?? 0 <= ConnectionState.burstSteps / Connection.slowRequestSteps)
    }

    @Test("a body of chunks of a byte each is read a few hundred chunks a turn, and nothing is read meanwhile")
    func chunks() throws {
        let connection = try TestConnection()
        let value = String(repeating: "x", count: 3000)
        let body = value.map { "1\r\n\($0)\r\n" }.joined() + "0\r\n\r\n"
        let head = "PUT /v1/namespaces/ns/values/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        let before = connection.reads.count
        connection.channel.pipeline.fireChannelRead(ByteBuffer(string: head + body + TestConnection.get("k")))
        connection.channel.pipeline.fireChannelReadComplete()
        connection.channel.pipeline.read()
        #expect(connection.reads.count == before)
        let turns = try turns(connection) { $0 > 0 }
        #expect(turns.count >= 3000 * 3 * Connection.pieceSteps / ConnectionState.burstSteps)
        connection.eventLoop.run()
        try connection.get("k")
        #expect(try connection.answers().last?.body == value)
    }

    @Test("the last requests of a client that sends no more are answered, however many turns they take")
    func halfClosed() throws {
        let connection = try TestConnection()
        try connection.store("k", "v")
        connection.channel.pipeline.fireChannelRead(
            ByteBuffer(string: String(repeating: TestConnection.get("k"), count: 2500))
        )
        connection.finishSending()
        connection.channel.pipeline.fireChannelReadComplete()
        #expect(try turns(connection).reduce(0, +) == 2500)
        #expect(!connection.isOpen)
    }

    @Test("long bodies, and batches of many, are none for the loop")
    func longCalls() throws {
        let connection = try TestConnection()
        func send(_ method: String, _ path: String, _ body: String, version: String = "HTTP/1.1") throws -> Int {
            let type = method == "PATCH" ? "application/merge-patch+json" : "application/json"
            let before = connection.longCalls.value
            try connection.send(
                "\(method) /v1/namespaces/ns\(path) \(version)\r\nHost: localhost\r\nContent-Type: \(type)\r\n"
                    + "Connection: keep-alive\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            )
            connection.eventLoop.run()
            #expect(try connection.answers().count == 1, "\(method) \(path)")
            return connection.longCalls.value - before
        }
        let unknown = "{" + (0..<20_000).map { "\"a\($0)\":0" }.joined(separator: ",") + "}"
        for (method, path) in [
            ("PUT", "/entries/k"), ("PATCH", "/entries/k"), ("PUT", "/values/k"), ("POST", "/counters/k"), ("PUT", ""),
            ("PATCH", ""), ("POST", "/batch/get"), ("POST", "/batch/set"), ("POST", "/batch/delete"),
            ("POST", "/invalidate"),
        ] { #expect(try send(method, path, unknown) == 1, "\(method) \(path)") }
        let keys = "{\"keys\":[\((0..<1000).map { "\"k\($0)\"" }.joined(separator: ","))]}"
        for path in ["/batch/get", "/batch/delete", "/invalidate"] {
            #expect(try send("POST", path, keys) == 1, "\(path)")
        }
        let entries = (0..<200).map { #"{"key":"k\#($0)","value":1}"# }.joined(separator: ",")
        #expect(try send("POST", "/batch/set", "{\"entries\":[\(entries)]}") == 1)
        #expect(try send("PUT", "/entries/k", #"{"value":1}"#) == 0)
        // A batch that is short by its keys, and long by what these bring: it is answered in pieces to who takes them.
        for key in 0..<100 { _ = try send("PUT", "/values/long\(key)", "\"\(String(repeating: "v", count: 8000))\"") }
        let few = (0..<100).map { #""long\#($0)""# }
        for (version, longCalls) in [("HTTP/1.1", 0), ("HTTP/1.0", 1)] {
            let batch = #"{"keys":[\#(few.joined(separator: ","))]}"#
            #expect(try send("POST", "/batch/get", batch, version: version) == longCalls)
        }
        #expect(try send("POST", "/batch/get", #"{"keys":[\#(few[..<30].joined(separator: ","))]}"#) == 0)
        #expect(try send("POST", "/batch/get", #"{"keys":["k1","k2"]}"#) == 0)
    }
}
