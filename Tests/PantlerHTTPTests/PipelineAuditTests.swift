import Logging
import NIOCore
import NIOEmbedded
import PantlerModel
import PantlerSockets
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Worthless tokens, by peer")
struct FailedTokenTests {
    /// A table, and peers by numbers.
    private final class Table {
        private(set) var table = FailedTokenTable()

        /// Whether a peer's token is answered at once, some seconds after the beginning.
        func take(_ number: Int, at seconds: Double = 0, perMinute: Int) -> Bool {
            let bytes = (UInt8(10), UInt8(number >> 16 & 0xff), UInt8(number >> 8 & 0xff), UInt8(number & 0xff))
            let peer = PeerAddress(ipv4: bytes, port: 0)
            return table.take(peer, at: UInt64(seconds * 1e9), perMinute: perMinute)
        }
    }

    private let table = Table()

    @Test("are answered at once as many as a minute allows, and again as the minute goes by")
    func minute() {
        let taken = (0..<13).map { _ in table.take(1, perMinute: 10) }
        #expect(taken == Array(repeating: true, count: 10) + [false, false, false])
        #expect(table.take(2, perMinute: 10))
        #expect(!table.take(1, at: 5.9, perMinute: 10))
        #expect(table.take(1, at: 6, perMinute: 10))
        #expect(!table.take(1, at: 6, perMinute: 10))
        let later = (0..<11).map { _ in table.take(1, at: 100, perMinute: 10) }
        #expect(later == Array(repeating: true, count: 10) + [false])
    }

    @Test("none is answered at once where none may be")
    func none() {
        #expect(table.take(1, perMinute: 0))
        #expect(table.table.count == 0)
    }

    @Test("many peers take no more room than is set aside, share what is left, and leave when their minute is over")
    func bound() {
        for number in 0..<FailedTokenTable.peerLimit { #expect(table.take(number, perMinute: 2)) }
        #expect(table.table.count == FailedTokenTable.peerLimit)
        let others = (0..<4).map { table.take(100_000 + $0, perMinute: 2) }
        #expect(others == [true, true, false, false])
        #expect(table.table.count == FailedTokenTable.peerLimit)
        // Those that have their own are not the worse for it.
        #expect(table.take(7, perMinute: 2))
        #expect(table.take(200_000, at: 31, perMinute: 2))
        #expect(table.table.count == 2)
    }
}

@Suite("The audit log")
struct AuditTests {
    @Test("writes down ten refusals a second, and how many it has left out")
    func budget() {
        var budget = AuditBudget()
        let start = NIODeadline.uptimeNanoseconds(5)
        let first = (0..<10).map { _ in budget.take(at: start) }
        #expect(first == Array(repeating: 0, count: 10))
        let more = (0..<3).map { _ in budget.take(at: start + .milliseconds(999)) }
        #expect(more == [nil, nil, nil])
        let next = (0..<2).map { _ in budget.take(at: start + .seconds(1)) }
        #expect(next == [3, 0])
    }

    private func connection(_ lines: Shared<[String]>, audits: Bool = true) throws -> TestConnection {
        var access = AccessOptions()
        access.audits = audits
        let connection = try TestConnection(needsToken: true, access: access)
        connection.state.auditLogger = Logger(label: "pantler.audit") { _ in Notes(lines: lines) }
        return connection
    }

    private func send(_ connection: TestConnection, _ line: String, _ fields: String = "", _ body: String = "") throws {
        let type = body.isEmpty ? "" : "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        try connection.send("\(line) HTTP/1.1\r\nHost: localhost\r\n\(fields)\(type)\r\n\(body)")
        connection.tier.commit()
        _ = try connection.answers()
    }

    @Test("names who, from where, what and with what end, and never a secret")
    func lines() throws {
        let lines = Shared<[String]>([])
        let connection = try connection(lines)
        let (admin, reader) = (try connection.token(.admin, "*"), try connection.token(.read, "other"))
        let entry = "/v1/namespaces/ns/entries/a"
        try send(connection, "GET \(entry)")
        try send(connection, "GET \(entry)", "Authorization: Bearer guess\r\n")
        try send(connection, "GET \(entry)", reader.field)
        try send(connection, "PUT \(entry)", admin.field + "Origin: null\r\n", "{}")
        try send(connection, "PUT /v1/namespaces/ns", admin.field, "{\"durability\":\"memory\"}")
        try send(connection, "PATCH /v1/namespaces/ns", admin.field, "{\"max_ttl\":5}")
        try send(connection, "PATCH /v1/namespaces/ns", admin.field, "{\"max_ttl\":-1}")
        try send(connection, "POST /v1/namespaces/ns/invalidate", admin.field, "{\"tags\":[\"a\"]}")
        try send(connection, "POST /v1/namespaces/ns/invalidate", admin.field, "{\"all\":true}")
        try send(connection, "DELETE /v1/tokens/\(reader.id)", admin.field)
        try send(connection, "POST /v1/tokens/\(admin.id)/rotate", admin.field, "{\"grace\":60}")
        let id = "\(admin.id)"
        #expect(
            lines.value == [
                "refused code=token_required method=GET namespace=ns peer=unix route=get status=401 token=-",
                "refused code=token_invalid method=GET namespace=ns peer=unix route=get status=401 token=-",
                "refused code=forbidden method=GET namespace=ns peer=unix route=get status=403 token=\(reader.id)",
                "refused code=cross_site method=PUT namespace=ns peer=unix route=put status=403 token=-",
                "policy changed method=PUT namespace=ns peer=unix route=namespace status=200 token=\(id)",
                "policy changed method=PATCH namespace=ns peer=unix route=namespace status=200 token=\(id)",
                "namespace flushed method=POST namespace=ns peer=unix route=invalidate status=200 token=\(id)",
                "token revoked method=DELETE peer=unix route=token status=204 subject=\(reader.id) token=\(id)",
                "token rotated method=POST peer=unix route=token status=200 subject=\(id) token=\(id)",
            ]
        )
        let secrets = [admin.field, reader.field].map { String($0.dropLast().suffix(43)) } + ["guess"]
        #expect(!lines.value.contains { line in secrets.contains { line.contains($0) } })
    }

    @Test("tells of a change whose caller has left before its end")
    func left() throws {
        let lines = Shared<[String]>([])
        let connection = try connection(lines)
        let admin = try connection.token(.admin, "*")
        try connection.send("DELETE /v1/tokens/\(admin.id) HTTP/1.1\r\nHost: localhost\r\n\(admin.field)\r\n")
        connection.channel.close(promise: nil)
        connection.eventLoop.run()
        connection.tier.commit()
        #expect(lines.value.map { String($0.prefix(13)) } == ["token revoked"])
    }

    @Test("has nothing where it is not wanted, and counts all the same")
    func unwanted() throws {
        let lines = Shared<[String]>([])
        let connection = try connection(lines, audits: false)
        try send(connection, "GET /v1/stats")
        #expect(lines.value == [] && connection.state.router.refusals.count(.missing) == 1)
    }
}

/// Notes what is logged: the message, and the metadata by their names.
private struct Notes: LogHandler {
    let lines: Shared<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let values = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        lines.update { $0.append(([event.message.description] + values).joined(separator: " ")) }
    }
}
