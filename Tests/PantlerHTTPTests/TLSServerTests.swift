import Logging
import NIOCore
import NIOSSL
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("TLS on a real socket")
struct TLSServerTests {
    private let authority: CertificateAuthority
    private let router: Router
    private let server: HTTPServer
    private var handshakes: Handshakes { router.handshakes }
    private var options = HTTPOptions()

    init() async throws { try await self.init { _ in } }

    private init(_ change: (inout HTTPOptions) -> Void) async throws {
        authority = try CertificateAuthority()
        let identity = try authority.sign()
        let store = Store(StoreOptions(), clock: ManualClock(), lower: nil, state: PersistedState())
        try store.start()
        var listener = Listener(.port(host: "127.0.0.1", port: 0))
        listener.speaksTLS = true
        options.listeners = [listener]
        options.tls = TLSOptions(certificate: identity.certificate, key: identity.key)
        change(&options)
        router = Router(store, RouterOptions())
        server = HTTPServer(
            options,
            store: store,
            router: router,
            tallies: [RequestTally()],
            logger: Logger(label: "test")
        )
        try await server.start()
    }

    /// Another server, with other options.
    private func other(_ change: (inout HTTPOptions) -> Void) async throws -> Self { try await Self(change) }

    private func plainConnection() throws -> RawConnection { try RawConnection(port: UInt16(server.port)) }

    private func connect(
        showing identity: CertificateAuthority.Identity? = nil,
        trusting other: CertificateAuthority? = nil,
        _ change: (inout TLSConfiguration) -> Void = { _ in }
    ) throws -> RawConnection {
        let connection = try plainConnection()
        try connection.startTLS(TLSClient.context(trusting: other ?? authority, showing: identity, change))
        return connection
    }

    private func drain() async throws { try await server.drain(within: .seconds(10)) }

    private static func put(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let head =
            "PUT /v1/namespaces/ns/values/\(key) HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(value.count)\r\n\r\n"
        return Array(head.utf8) + value
    }

    @Test("speaks HTTP/1.1, by TLS 1.2 and 1.3", arguments: [TLSVersion.tlsv12, .tlsv13])
    func versions(version: TLSVersion) async throws {
        let connection = try connect { $0.maximumTLSVersion = version }
        #expect(connection.negotiatedProtocol == "http/1.1")
        try connection.send(TestConnection.put("a", "1") + TestConnection.get("a"))
        #expect(try connection.receive().status == 201)
        #expect(try connection.receive().text == "1")
        #expect(handshakes.count(of: .done) == 1)
        #expect(handshakes.underWay == 0)
        try await drain()
    }

    @Test(
        "requests in pieces of any size, many at once, are answered in their order",
        arguments: [1, 7, 1000, 100_000]
    )
    func pieces(size: Int) async throws {
        let connection = try connect()
        let count = size == 1 ? 20 : 300
        let requests = Array(
            (0..<count).map { TestConnection.put("k\($0)", "v\($0)") + TestConnection.get("k\($0)") }.joined().utf8
        )
        for start in stride(from: 0, to: requests.count, by: size) {
            try connection.send(requests[start..<min(start + size, requests.count)])
        }
        for number in 0..<count {
            #expect(try connection.receive().status == 201)
            #expect(try connection.receive().text == "v\(number)")
        }
        try await drain()
    }

    @Test("bodies and answers larger than the socket takes at once arrive whole and in order")
    func large() async throws {
        let connection = try connect()
        var generator = SeededGenerator()
        let value = generator.bytes(8 << 20)
        try connection.send(Self.put("a", value))
        #expect(try connection.receive().status == 201)
        for _ in 0..<8 {
            try connection.send(
                TestConnection.get("a") + TestConnection.get("none") + TestConnection.get("a", view: "entries")
            )
        }
        for _ in 0..<8 {
            #expect(try connection.receive().body == value)
            #expect(try connection.receive().status == 404)
            let entry = try connection.receive()
            #expect(entry.status == 200)
            #expect(entry.body.count > value.count * 4 / 3)
        }
        try await drain()
        #expect(router.flight.figures.held == 0)
    }

    @Test("the longest answers give other connections their turn")
    func turns() async throws {
        let connection = try connect()
        try connection.send(Self.put("a", [UInt8](repeating: 1, count: 8 << 20)))
        #expect(try connection.receive().status == 201)
        for _ in 0..<4 { try connection.send(TestConnection.get("a")) }
        // Nothing of it is read before another connection has been answered.
        let second = try connect()
        try second.send(TestConnection.get("none"))
        #expect(try second.receive().status == 404)
        for _ in 0..<4 { #expect(try connection.receive().body.count == 8 << 20) }
        try await drain()
    }

    @Test("who ends the input in TLS, or without a word, is still answered", arguments: [true, false])
    func halfClose(inTLS: Bool) async throws {
        let connection = try connect()
        try connection.send(Self.put("a", [UInt8](repeating: 1, count: 1 << 20)) + Array(TestConnection.get("a").utf8))
        connection.finishSending(inTLS: inTLS)
        #expect(try connection.receive().status == 201)
        #expect(try connection.receive().body.count == 1 << 20)
        #expect(connection.ends())
        #expect(connection.hasEndedInTLS)
        try await drain()
    }

    @Test("the last answer is followed by the end, in TLS and of the connection")
    func lastAnswer() async throws {
        let connection = try connect()
        try connection.send(TestConnection.get("none", "Connection: close\r\n"))
        #expect(try connection.receive().status == 404)
        #expect(connection.ends())
        #expect(connection.hasEndedInTLS)
        try await drain()
    }

    @Test("a drain ends idle connections at once, and does not wait for their word", .timeLimit(.minutes(1)))
    func drains() async throws {
        let connection = try connect()
        try connection.send(TestConnection.get("none"))
        #expect(try connection.receive().status == 404)
        let begun = try plainConnection()
        try begun.send([22])
        #expect(try await server.drain(within: .seconds(60)) == 0)
        #expect(connection.ends())
        #expect(connection.hasEndedInTLS)
        #expect(begun.ends())
    }

    @Test("a client that takes nothing ends at the deadline, and nothing is kept for it")
    func stalled() async throws {
        let other = try await other { $0.limits.idleTimeout = .milliseconds(200) }
        let connection = try other.connect()
        try connection.send(Self.put("a", [UInt8](repeating: 1, count: 8 << 20)))
        #expect(try connection.receive().status == 201)
        // More than the two sockets hold.
        for _ in 0..<4 { try connection.send(TestConnection.get("a")) }
        try eventually("the connection ends") { other.server.connections == 0 }
        try eventually("nothing is in flight") { other.router.flight.figures.held == 0 }
        try await other.drain()
        try await drain()
    }

    // MARK: Handshakes

    @Test("HTTP without TLS is answered 400, in so many words")
    func plainHTTP() async throws {
        let connection = try plainConnection()
        try connection.send(TestConnection.get("a"))
        let answer = try connection.receive()
        #expect(answer.status == 400)
        #expect(answer.text.contains("https://"), "\(answer)")
        #expect(connection.ends())
        #expect(handshakes.count(of: .failed) == 1)
        try await drain()
    }

    @Test("what is no TLS ends at once")
    func foreign() async throws {
        let connection = try plainConnection()
        try connection.send("SSH-2.0-OpenSSH_9.2\r\n")
        #expect(connection.ends(within: 5))
        #expect(handshakes.count(of: .failed) == 1)
        try await drain()
    }

    @Test("who speaks no HTTP/1.1 is told so in TLS")
    func otherProtocol() async throws {
        let error = #expect(throws: (any Error).self) { try connect { $0.applicationProtocols = ["h2"] } }
        #expect("\(String(describing: error))".contains("NO_APPLICATION_PROTOCOL"), "\(String(describing: error))")
        try eventually("it is counted") { handshakes.count(of: .failed) == 1 }
        let silent = try connect { $0.applicationProtocols = [] }
        try silent.send(TestConnection.get("a"))
        #expect(try silent.receive().status == 404)
        try await drain()
    }

    @Test("one that does not go on ends at the deadline", arguments: [0, 1, 300])
    func halfOpen(count: Int) async throws {
        let other = try await other { $0.limits.handshakeTimeout = .milliseconds(200) }
        let connection = try other.plainConnection()
        let hello = try TLSClient(TLSClient.context(trusting: authority)).outgoing()
        try connection.send(Array(hello.prefix(count)))
        #expect(connection.ends(within: 10))
        try eventually("it is counted") { other.handshakes.count(of: .timeout) == 1 }
        #expect(other.handshakes.underWay == 0)
        try eventually("the connection ends") { other.server.connections == 0 }
        try await other.drain()
        try await drain()
    }

    @Test(
        "no more are under way than may be; those that wait are let in when a slow one has had its second, and too many are refused"
    )
    func bounds() async throws {
        let other = try await other { $0.limits.handshakes = 1 }
        let hello = try TLSClient(TLSClient.context(trusting: authority)).outgoing()
        // Each has sent its first message, and does not go on.
        var begun: [RawConnection] = []
        for _ in 0..<5 {
            begun.append(try other.plainConnection())
            try begun[begun.count - 1].send(hello)
            try eventually("it is taken") { other.handshakes.underWay + other.handshakes.waiting == begun.count }
        }
        #expect(other.handshakes.underWay == 1)
        let refused = try other.plainConnection()
        try refused.send(hello)
        #expect(refused.ends(within: 5))
        #expect(other.handshakes.count(of: .refused) == 1)
        begun.removeLast()
        try eventually("who left waits no more") { other.handshakes.waiting == 3 }
        // It comes after the others, which have a second each.
        let connection = try other.plainConnection()
        try connection.startTLS(TLSClient.context(trusting: other.authority))
        try connection.send(TestConnection.get("a"))
        #expect(try connection.receive().status == 404)
        #expect(other.handshakes.count(of: .timeout) >= 3)
        try await other.drain()
        try await drain()
    }

    // MARK: Certificates

    @Test("clients may show a certificate, which then has to be good")
    func clientCertificates() async throws {
        let clients = try CertificateAuthority("clients")
        let other = try await other { $0.tls?.clientCA = clients.certificate }
        let without = try other.connect(trusting: other.authority)
        try without.send(TestConnection.get("a"))
        #expect(try without.receive().status == 404)
        for version in [TLSVersion.tlsv12, .tlsv13] {
            let with = try other.connect(showing: clients.sign("client"), trusting: other.authority) {
                $0.maximumTLSVersion = version
            }
            try with.send(TestConnection.get("a"))
            #expect(try with.receive().status == 404)
            for bad in [try authority.sign("stranger"), try clients.sign("old", days: -1)] {
                #expect(throws: (any Error).self) {
                    let connection = try other.connect(showing: bad, trusting: other.authority) {
                        $0.maximumTLSVersion = version
                    }
                    try connection.send(TestConnection.get("a"))
                    _ = try connection.receive()
                }
            }
        }
        try eventually("they are counted") { other.handshakes.count(of: .failed) == 4 }
        #expect(other.handshakes.count(of: .done) == 3)
        try await other.drain()
        try await drain()
    }

    @Test("new files hold for new connections, and bad ones for none")
    func reload() async throws {
        let old = try connect()
        let next = try CertificateAuthority("next")
        let identity = try next.sign()
        try server.reloadTLS(TLSOptions(certificate: identity.certificate, key: identity.key))
        await server.comesRound()
        let new = try connect(trusting: next)
        #expect(throws: (any Error).self) { try connect() }
        for connection in [old, new] {
            try connection.send(TestConnection.get("a"))
            #expect(try connection.receive().status == 404)
        }
        let expiry = handshakes.certificateExpiry
        #expect(throws: TLSFault.self) {
            try server.reloadTLS(TLSOptions(certificate: identity.certificate, key: "/nowhere"))
        }
        await server.comesRound()
        _ = try connect(trusting: next)
        #expect(handshakes.certificateExpiry == expiry)
        try await drain()
    }

    @Test("is not begun without its files")
    func start() async throws {
        await #expect(throws: TLSFault.self) { _ = try await other { $0.tls?.key = "/nowhere" } }
        try await drain()
    }
}
