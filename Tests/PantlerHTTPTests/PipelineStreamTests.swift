import NIOCore
import NIOEmbedded
import NIOHTTP1
import PantlerInsight
import PantlerModel
import Support
import Testing

@testable import PantlerHTTP

@Suite("An exchange that is alone")
struct PipelineStreamTests {
    private static let head = PantlerHTTP.Response(status: 200, contentType: "text/plain", operation: .list)

    /// An exchange that has begun on a connection, as one of the slow lane does.
    private func begin(on connection: TestConnection, closes: Bool = false) throws -> Exchange {
        let handler = try connection.channel.pipeline.syncOperations.handler(type: Connection.self)
        return Exchange(
            connection: handler,
            loop: connection.state,
            method: .get,
            number: handler.state.beginAlone(closes: closes, isHTTP10: false),
            requestID: .none,
            takesPieces: true,
            logged: nil,
            headers: [:],
            caller: .anybody,
            began: connection.eventLoop.now,
            claim: nil
        )
    }

    private static func piece(_ text: String) -> WireAnswer { WireAnswer(ByteBuffer(string: text)) }

    private func text(_ connection: TestConnection) throws -> String {
        String(decoding: try connection.received(), as: UTF8.self)
    }

    // MARK: Answers in pieces

    @Test("is answered in chunks, and the next request after that")
    func chunks() throws {
        let connection = try TestConnection()
        let stream = try begin(on: connection).begin(Self.head)
        try connection.get("none")
        let head = try text(connection)
        #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
        #expect(head.contains("\r\ntransfer-encoding: chunked\r\n") && !head.contains("content-length"))
        stream.write(Self.piece("first, ")) {}
        #expect(try text(connection) == "7\r\nfirst, \r\n")
        stream.write(Self.piece("")) {}
        #expect(try text(connection).isEmpty)
        stream.write(Self.piece(String(repeating: "x", count: 20_000))) {}
        #expect(try text(connection) == "4e20\r\n\(String(repeating: "x", count: 20_000))\r\n")
        stream.end(Self.piece("last"))
        let rest = try text(connection)
        #expect(rest.hasPrefix("4\r\nlast\r\n0\r\n\r\nHTTP/1.1 404 Not Found\r\n"))
        #expect(connection.figures.requests(.list, status: 200) == 1)
    }

    @Test("is asked for the next piece when the client has taken those before, and not in the call that wrote them")
    func backpressure() throws {
        let connection = try TestConnection()
        let stream = try begin(on: connection).begin(Self.head)
        let asked = Shared(0)
        stream.write(Self.piece("1")) { asked.update { $0 += 1 } }
        #expect(asked.value == 0)
        connection.eventLoop.run()
        #expect(asked.value == 1)
        connection.setWritable(false)
        stream.write(Self.piece("2")) { asked.update { $0 += 1 } }
        connection.eventLoop.run()
        #expect(asked.value == 1)
        connection.setWritable(true)
        connection.eventLoop.run()
        #expect(asked.value == 2)
        connection.setWritable(false)
        connection.setWritable(true)
        connection.eventLoop.run()
        #expect(asked.value == 2)
    }

    @Test("is not asked for more once its client is gone, and lets go of what it is made of")
    func gone() throws {
        let connection = try TestConnection()
        let stream = try begin(on: connection).begin(Self.head)
        let asked = Shared(0)
        weak var source: Shared<Int>?
        connection.setWritable(false)
        do {
            let held = Shared(0)
            source = held
            stream.write(Self.piece("1")) { asked.update { $0 += 1 + held.value } }
        }
        #expect(source != nil)
        _ = try connection.channel.finish(acceptAlreadyClosed: true)
        #expect(source == nil)
        stream.write(Self.piece("2")) { asked.update { $0 += 1 } }
        stream.end()
        connection.eventLoop.run()
        #expect(asked.value == 0)
    }

    @Test("whose client takes nothing is ended after the idle timeout, and one that has nothing to write is not")
    func stalled() throws {
        let connection = try TestConnection()
        let stream = try begin(on: connection).begin(Self.head)
        connection.advance(milliseconds: 500_000)
        #expect(connection.isOpen)
        connection.setWritable(false)
        stream.write(Self.piece("1")) {}
        connection.advance(milliseconds: 75_000)
        #expect(!connection.isOpen)
    }

    @Test("that is its connection's last says so when it begins, and ends it with its end", arguments: [false, true])
    func last(drains: Bool) throws {
        let connection = try TestConnection()
        let exchange = try begin(on: connection, closes: !drains)
        if drains { _ = connection.state.drain(within: .seconds(10)) }
        let stream = exchange.begin(Self.head)
        #expect(try text(connection).contains("\r\nconnection: close\r\n"))
        #expect(connection.isOpen)
        stream.end(Self.piece("all"))
        #expect(try text(connection) == "3\r\nall\r\n0\r\n\r\n")
        #expect(connection.reads.firstClose == .output)
    }

    @Test("that has begun when the server drains is written to its end")
    func drained() throws {
        let connection = try TestConnection()
        let stream = try begin(on: connection).begin(Self.head)
        let drained = connection.state.drain(within: .seconds(10))
        stream.write(Self.piece("1")) {}
        #expect(connection.isOpen)
        stream.end()
        #expect(!connection.isOpen)
        #expect(try text(connection).hasSuffix("1\r\n1\r\n0\r\n\r\n"))
        #expect(try drained.wait() == 0)
    }

    @Test("is not answered twice")
    func once() throws {
        let connection = try TestConnection()
        let exchange = try begin(on: connection)
        let stream = exchange.begin(Self.head)
        exchange.respond(Self.head)
        #expect(exchange.begin(Self.head).exchange === exchange)
        stream.end()
        stream.end()
        stream.write(Self.piece("more")) {}
        exchange.respond(Self.head)
        let all = try text(connection)
        #expect(all.hasSuffix("\r\n\r\n0\r\n\r\n") && all.split(separator: "HTTP/1.1").count == 1)
    }

    // MARK: Long batches

    private func batch(_ connection: TestConnection, _ keys: some Collection<String>) throws {
        let body = "{\"keys\":[\(keys.map { "\"\($0)\"" }.joined(separator: ","))]}"
        try connection.send(
            "POST /v1/namespaces/ns/batch/get HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
    }

    /// Keys of which some are in memory, with small values and large ones, some in the lower tier, and some nowhere.
    private func fill(_ connection: TestConnection, _ count: Int) throws -> [String] {
        connection.tier.answerAtOnce()
        return try (0..<count).map { number in
            let key = "k\(number)"
            let value = String(repeating: "v\(number)", count: number % 7 == 1 ? 6000 : 600)
            switch number % 5 {
            case 0: break
            case 1: connection.tier.plant(key, value)
            default:
                try connection.send(TestConnection.put(key, value))
                connection.tier.commit()
            }
            return key
        }
    }

    @Test("a long batch of gets comes in pieces, and is what short ones are", arguments: [65, 200, 1000])
    func longBatch(count: Int) throws {
        let connection = try TestConnection { $0.durability = .behind }
        let keys = try fill(connection, count)
        connection.eventLoop.run()
        _ = try connection.answers()
        try batch(connection, keys)
        connection.eventLoop.run()
        let long = try #require(try connection.answers().last)
        #expect((long.fields["transfer-encoding"] == "chunked") == (count > 65))
        var entries: [JSON] = []
        var missing: [JSON] = []
        for begin in stride(from: 0, to: count, by: 10) {
            try batch(connection, keys[begin..<min(begin + 10, count)])
            connection.eventLoop.run()
            let short = try #require(try connection.answers().last)
            #expect(short.fields["content-length"] != nil)
            let json = JSON(Array(short.body.utf8))
            entries += json["entries"].array
            missing += json["missing"].array
        }
        let json = JSON(Array(long.body.utf8))
        #expect(entries.count == count - (count + 4) / 5 && missing.count == (count + 4) / 5)
        #expect(json["entries"].array.map { $0["key"].string } == entries.map { $0["key"].string })
        #expect(json["entries"].array.map { $0["value_base64"].string } == entries.map { $0["value_base64"].string })
        #expect(json["missing"].array.map(\.string) == missing.map(\.string))
        #expect(json.names == ["entries", "missing"])
    }

    @Test("a long batch is looked up as its client takes it")
    func batchWaits() throws {
        let connection = try TestConnection { $0.durability = .behind }
        let keys = try fill(connection, 1000)
        connection.eventLoop.run()
        _ = try connection.answers()
        try batch(connection, keys)
        connection.setWritable(false)
        // The second was asked for before the socket was full.
        connection.eventLoop.run()
        let first = try connection.received().count
        #expect(first > 512 << 10 && first < 2 << 20, "\(first)")
        connection.eventLoop.run()
        #expect(try connection.received().isEmpty)
        var pieces = 1
        while try !text(connection).hasSuffix("\r\n0\r\n\r\n"), pieces < 100 {
            connection.setWritable(true)
            connection.setWritable(false)
            connection.eventLoop.run()
            pieces += 1
        }
        #expect(pieces > 2 && pieces < 20, "\(pieces)")
        #expect(connection.state.flight.figures.held == 0)
    }

    // MARK: Cancellation

    private func watch(_ exchange: Exchange) -> Shared<[Cancellation]> {
        let told = Shared<[Cancellation]>([])
        exchange.onCancel { why in told.update { $0.append(why) } }
        return told
    }

    @Test("is told once that its client has left, in whatever way it leaves")
    func clientLeft() throws {
        let connection = try TestConnection()
        let told = watch(try begin(on: connection))
        #expect(told.value.isEmpty)
        connection.finishSending()
        #expect(told.value == [.clientLeft])
        _ = try connection.channel.finish(acceptAlreadyClosed: true)
        #expect(told.value == [.clientLeft])

        let other = try TestConnection()
        let toldAtOnce = watch(try begin(on: other))
        _ = try other.channel.finish(acceptAlreadyClosed: true)
        #expect(toldAtOnce.value == [.clientLeft])
    }

    @Test("may answer a client that has only said its last")
    func answersStill() throws {
        let connection = try TestConnection()
        let exchange = try begin(on: connection)
        exchange.onCancel { _ in exchange.respond(Self.head) }
        connection.finishSending()
        #expect(try connection.answers().map(\.status) == [200])
        #expect(!connection.isOpen)
    }

    @Test("is told at once where nobody waits any more when it asks, and nothing once it is answered")
    func registration() throws {
        let connection = try TestConnection()
        let exchange = try begin(on: connection)
        connection.finishSending()
        #expect(connection.isOpen)
        #expect(watch(exchange).value == [.clientLeft])
        let answered = try TestConnection()
        let second = try begin(on: answered)
        let told = watch(second)
        second.respond(Self.head)
        let late = watch(second)
        _ = try answered.channel.finish(acceptAlreadyClosed: true)
        #expect(told.value.isEmpty && late.value.isEmpty)
    }

    @Test("is told that the server stops, and may answer then")
    func serverStops() throws {
        let connection = try TestConnection()
        let exchange = try begin(on: connection)
        exchange.onCancel { why in
            #expect(why == .serverStops)
            exchange.respond(Self.head)
        }
        let drained = connection.state.drain(within: .seconds(10))
        #expect(try connection.answers().map(\.closes) == [true])
        #expect(try drained.wait() == 0)
    }
}
