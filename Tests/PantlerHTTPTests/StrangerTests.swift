import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("Who has shown no token")
struct StrangerTests {
    /// The field that presents a new token of the connection's store.
    private func authorization(_ connection: TestConnection) throws -> String {
        let made = Shared<String?>(nil)
        connection.store.tokens.create(
            Grant(role: .write),
            note: "",
            expiresAt: nil,
            nowMilliseconds: connection.store.moment().wall.milliseconds
        ) { result in made.value = try? result.get().secretText }
        connection.tier.commit()
        return "Authorization: Bearer \(try #require(made.value))\r\n"
    }

    private func handler(_ connection: TestConnection) throws -> Connection {
        try connection.channel.pipeline.syncOperations.handler(type: Connection.self)
    }

    @Test("may hold little, until it has shown one")
    func share() throws {
        let connection = try TestConnection(needsToken: true)
        let handler = try handler(connection)
        #expect(handler.isShort && handler.readLimit == Connection.uncountedBytes)
        try connection.get("none")
        try connection.get("none", "Authorization: Bearer pt_aaaaaaaa_\(String(repeating: "A", count: 43))\r\n")
        #expect(try connection.answers().map(\.status) == [401, 401])
        #expect(handler.isShort)
        try connection.get("none", try authorization(connection))
        #expect(try connection.answers().map(\.status) == [404])
        #expect(!handler.isShort && handler.readLimit == .max)
        // Where none is needed nobody is a stranger.
        #expect(try !self.handler(TestConnection()).isShort)
    }

    @Test("is read no further while it takes no answers")
    func deaf() throws {
        let connection = try TestConnection(needsToken: true)
        try connection.get("none")
        connection.setWritable(false)
        let reads = connection.reads.count
        connection.channel.read()
        #expect(connection.reads.count == reads)
        try connection.get("none")
        connection.setWritable(true)
        #expect(try connection.answers().map(\.status) == [401, 401])
        #expect(connection.reads.count == reads + 1)
    }

    @Test("is answered as many requests at once as one answer's buffer holds, and all of them in the end")
    func pipelined() throws {
        let connection = try TestConnection(needsToken: true)
        try connection.send(String(repeating: TestConnection.get("none"), count: 500))
        // Others of the loop have their turns in between.
        connection.eventLoop.run()
        var largest = 0
        var bytes: [UInt8] = []
        while let piece = try connection.channel.readOutbound(as: ByteBuffer.self) {
            largest = max(largest, piece.readableBytes)
            bytes += piece.readableBytesView
        }
        #expect(largest < 8 << 10)
        #expect(String(decoding: bytes, as: UTF8.self).ranges(of: "HTTP/1.1 401 ").count == 500)
    }

    @Test("leaves nothing of a refused request's head behind while its body is passed over", arguments: [false, true])
    func refusedHead(isTraced: Bool) throws {
        let connection = try TestConnection(needsToken: true)
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let long = String(repeating: "x", count: 10_000)
        let fields = (isTraced ? "Traceparent: \(trace)\r\n" : "") + "X-Long: \(long)\r\n"
        try connection.send(Array(TestConnection.put("a", "value", fields).utf8).dropLast(5))
        #expect(try connection.answers().map(\.status) == [401])
        let message = try #require(try handler(connection).message)
        #expect(message.head.headers.map(\.name) == (isTraced ? ["traceparent"] : []))
        #expect(message.request.headers.isEmpty)
        try connection.send("value")
        try connection.get("none")
        #expect(try connection.answers().map(\.status) == [401])
    }

    @Test("goes on after a refusal that took its time", arguments: ["", "value"])
    func afterDelay(body: String) throws {
        var limits = HTTPLimits()
        limits.failedTokens = 1
        let connection = try TestConnection(limits: limits, needsToken: true)
        let wrong = "Authorization: Bearer pt_aaaaaaaa_\(String(repeating: "A", count: 43))\r\n"
        let request = body.isEmpty ? TestConnection.get("none", wrong) : TestConnection.put("a", body, wrong)
        try connection.send(request)
        #expect(try connection.answers().map(\.status) == [401])
        for _ in 0..<3 {
            try connection.send(request)
            #expect(try connection.answers().isEmpty)
            connection.advance(milliseconds: 1000)
            #expect(try connection.answers().map(\.status) == [401])
        }
        try connection.get("none", try authorization(connection))
        #expect(try connection.answers().map(\.status) == [404])
    }
}
