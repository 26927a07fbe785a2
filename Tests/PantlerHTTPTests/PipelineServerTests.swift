import Logging
import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("The server on a real socket")
struct PipelineServerTests {
    private let server: HTTPServer
    /// More than there are cores, so that no loop keeps to one: connections from here would all go to the loop that is near.
    private let tallies = (0...Cores.ofThisThread().numbers.count).map { _ in RequestTally() }

    init() async throws {
        let store = Store(StoreOptions(), clock: ManualClock(), lower: nil, state: PersistedState())
        try store.start()
        var options = HTTPOptions()
        options.listeners = [Listener(.port(host: "127.0.0.1", port: 0))]
        server = HTTPServer(
            options,
            store: store,
            router: Router(store, RouterOptions()),
            tallies: tallies,
            logger: Logger(label: "test")
        )
        try await server.start()
    }

    private func connect() throws -> RawConnection { try RawConnection(port: UInt16(server.port)) }

    @Test("listens, hands connections to all its loops, and counts on each")
    func loops() async throws {
        let connections = try (0..<2 * tallies.count).map { _ in try connect() }
        for connection in connections {
            try connection.send(TestConnection.get("none"))
            #expect(try connection.receive().status == 404)
        }
        #expect(server.connections == connections.count)
        try await server.drain(within: .seconds(10))
        for tally in tallies { #expect(RequestFigures([tally]).requests(.get, status: 404) == 2) }
    }

    @Test("answers larger than the socket takes at once arrive whole and in order")
    func large() async throws {
        let connection = try connect()
        var generator = SeededGenerator()
        let value = generator.bytes(8 << 20)
        try connection.send(
            "PUT /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(value.count)\r\n\r\n"
        )
        try connection.send(value)
        #expect(try connection.receive().status == 201)
        for _ in 0..<8 { try connection.send(TestConnection.get("a") + TestConnection.get("none")) }
        for _ in 0..<8 {
            #expect(try connection.receive().body == value)
            #expect(try connection.receive().status == 404)
        }
        try await server.drain(within: .seconds(10))
    }

    @Test("other limits and names hold from the next request on")
    func reload() async throws {
        let connection = try connect()
        try connection.send(TestConnection.put("a", "12345"))
        #expect(try connection.receive().status == 201)
        var options = HTTPOptions()
        options.limits.bodySize = 4
        options.allowedHosts = ["localhost", "cache.internal"]
        server.reload(options)
        // The loop takes the new limits after what it is at; once it has answered this, that is over.
        try connection.send(TestConnection.get("a"))
        #expect(try connection.receive().status == 200)
        try connection.send(TestConnection.put("a", "12345"))
        #expect(try connection.receive().status == 413)
        let other = try connect()
        try other.send(TestConnection.get("a").replacing("localhost", with: "cache.internal"))
        #expect(try other.receive().status == 200)
        options.allowedHosts = []
        server.reload(options)
        try other.send(TestConnection.get("a"))
        #expect(try other.receive().status == 200)
        try other.send(TestConnection.get("a").replacing("localhost", with: "cache.internal"))
        #expect(try other.receive().status == 421)
        try await server.drain(within: .seconds(10))
    }

    @Test("a drain ends idle connections and the listening, and cuts nothing off that can end")
    func drain() async throws {
        let idle = try connect()
        try idle.send(TestConnection.get("none"))
        #expect(try idle.receive().status == 404)
        try idle.send(TestConnection.put("drained", "1"))
        #expect(try idle.receive().status == 201)
        let port = UInt16(server.port)
        #expect(try await server.drain(within: .seconds(10)) == 0)
        #expect(server.isDraining)
        #expect(idle.ends())
        // Another test's server may have been given the port by now: that one does not have the entry.
        if let other = try? RawConnection(port: port) {
            try other.send(TestConnection.get("drained"))
            #expect(try other.receive().status != 200)
        }
    }
}
