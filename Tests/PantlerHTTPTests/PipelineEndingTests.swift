import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("The end of a connection")
struct PipelineEndingTests {
    private func limits(_ change: (inout HTTPLimits) -> Void = { _ in }) -> HTTPLimits {
        var limits = HTTPLimits()
        limits.headTimeout = .seconds(10)
        limits.bodyTimeout = .seconds(30)
        limits.idleTimeout = .seconds(75)
        limits.bodyRate = 0
        change(&limits)
        return limits
    }

    // MARK: Deadlines

    @Test("an idle connection is closed after the idle timeout, counted from its last answer")
    func idle() throws {
        let connection = try TestConnection(limits: limits())
        connection.advance(milliseconds: 74_000)
        try connection.get("none")
        connection.advance(milliseconds: 74_999)
        #expect(connection.isOpen)
        connection.advance(milliseconds: 1)
        #expect(!connection.isOpen)
    }

    @Test("empty lines keep no connection open")
    func emptyLines() throws {
        let connection = try TestConnection(limits: limits())
        for _ in 0..<75 {
            try connection.send("\r\n")
            connection.advance(milliseconds: 1000)
        }
        #expect(!connection.isOpen)
    }

    @Test(
        "a head that does not come in time is answered 408, counted from its first byte",
        arguments: [
            "GET /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: loc", "PUT /v1/namespaces/ns/entries/a HTTP/1.1\r\nHo",
        ]
    )
    func headTimeout(start: String) throws {
        let connection = try TestConnection(limits: limits())
        connection.advance(milliseconds: 60_000)
        try connection.send(start)
        for _ in 0..<9 {
            connection.advance(milliseconds: 1000)
            try connection.send("x")
        }
        #expect(try connection.answers().isEmpty)
        connection.advance(milliseconds: 1000)
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [408])
        #expect(answers[0].closes)
        connection.advance(milliseconds: 2000)
        #expect(!connection.isOpen)
    }

    @Test("each head has the whole time, also where the next one always comes with a part of it")
    func headsInPieces() throws {
        let connection = try TestConnection(limits: limits())
        let requests = Array((TestConnection.get("none") + TestConnection.get("none", TestConnection.otherLane)).utf8)
        try connection.send(requests[..<20])
        for _ in 0..<20 {
            connection.advance(milliseconds: 3000)
            try connection.send(requests[20...] + requests[..<20])
        }
        #expect(try connection.answers().map(\.status) == Array(repeating: 404, count: 40))
    }

    @Test("a body may take its time as long as it moves")
    func bodyTimeout() throws {
        let connection = try TestConnection(limits: limits())
        try connection.send("PUT /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        for _ in 0..<10 {
            connection.advance(milliseconds: 29_000)
            try connection.send("x")
        }
        #expect(try connection.answers().isEmpty)
        connection.advance(milliseconds: 30_000)
        #expect(try connection.answers().map(\.status) == [408])
    }

    @Test("a request that the server is at has all the time it takes")
    func atWork() throws {
        let connection = try TestConnection(limits: limits()) { $0.durability = .behind }
        try connection.get("slow")
        connection.advance(milliseconds: 500_000)
        #expect(connection.isOpen)
        connection.tier.answer("slow")
        #expect(try connection.answers().map(\.status) == [404])
        connection.advance(milliseconds: 74_999)
        #expect(connection.isOpen)
        connection.advance(milliseconds: 1)
        #expect(!connection.isOpen)
    }

    @Test("who takes nothing of what is sent to it is cut off after the idle timeout")
    func stalled() throws {
        let connection = try TestConnection(limits: limits())
        try connection.get("none")
        connection.setWritable(false)
        connection.advance(milliseconds: 74_999)
        #expect(connection.isOpen)
        connection.advance(milliseconds: 1)
        #expect(!connection.isOpen)
        #expect(connection.state.openConnections.slow(.answer) == 1)
    }

    @Test("a body that comes too slowly is answered 408, and counted", arguments: ["values/a", "entries/a", "nowhere"])
    func slowBody(path: String) throws {
        let connection = try TestConnection(limits: limits { $0.bodyRate = 1 << 10 })
        let head = "PUT /v1/namespaces/ns/\(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        try connection.send(head + "Content-Length: 60000\r\n\r\n")
        for second in 0..<45 {
            try connection.send(String(repeating: " ", count: second < 30 ? 1025 : 1000))
            #expect(connection.isOpen)
            connection.advance(milliseconds: 1000)
        }
        let early = try connection.answers()
        connection.advance(milliseconds: 15_000)
        let answers = try connection.answers()
        // What is refused already is only passed over.
        #expect((early + answers).map(\.status) == [path == "nowhere" ? 404 : 408])
        #expect(connection.state.openConnections.slow(.body) == 1)
        connection.advance(milliseconds: 2000)
        #expect(!connection.isOpen)
    }

    @Test("heads that are not whole have their share of the bytes in flight, and no more")
    func unfinishedHeads() throws {
        let start = TestConnection.get("none").dropLast() + "User-Agent: "
        let filler = String(repeating: "x", count: 5000)
        let connection = try TestConnection(limits: limits())
        let flight = connection.state.flight
        // An eighth of it is for heads.
        flight.setLimit(8 * 32 << 10)
        var others = flight.holdHead(16 << 10)
        #expect(others != nil)
        try connection.send(start + filler)
        try connection.send(filler)
        #expect(flight.holdHead(1) == nil, "the head has the other half")
        try connection.send("\r\n\r\n")
        #expect(try connection.answers().map(\.status) == [404])
        #expect(flight.holdHead(16 << 10) != nil, "a whole head is none of them")

        others = nil
        others = flight.holdHead(24 << 10)
        try connection.send(start + String(repeating: "x", count: 3000))
        try connection.send("\r\n\r\n")
        try connection.send(start + filler)
        #expect(try connection.answers().map(\.status) == [404])
        try connection.send(filler)
        let refused = try connection.answers()
        #expect(refused.map(\.status) == [503])
        #expect(refused.last?.closes == true)
        #expect(flight.figures.refusals == 1)
        others = nil
        #expect(flight.holdHead(32 << 10) != nil)
        #expect(flight.figures.held == 0)
        _ = others
    }

    @Test("busy connections set their timer once in a long while")
    func timers() throws {
        let connection = try TestConnection(limits: limits())
        let handler = try connection.channel.pipeline.syncOperations.handler(type: Connection.self)
        let first = try #require(handler.timer)
        for _ in 0..<100 {
            connection.advance(milliseconds: 100)
            try connection.get("none")
        }
        #expect(handler.timer?.due == first.due)
    }

    // MARK: The last answer

    @Test(
        "the answer to the last request says close, and nothing after it is a request",
        arguments: [
            "GET /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            "GET /v1/namespaces/ns/values/a HTTP/1.0\r\n\r\n",
        ]
    )
    func lastRequest(request: String) throws {
        let connection = try TestConnection(limits: limits())
        try connection.store("a", "1")
        try connection.send(request + "DELETE /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [200])
        #expect(answers[0].closes)
        connection.finishSending()
        #expect(!connection.isOpen)
    }

    @Test("a last answer that takes its time is sent whole, and what comes after it is short")
    func slowLastAnswer() throws {
        let connection = try TestConnection(limits: limits())
        try connection.store("a", "1")
        let socket = HeldSocket(connection.channel)
        let pipeline = connection.channel.pipeline.syncOperations
        try pipeline.addHandler(socket, position: .first)
        try connection.get("a", "Connection: close\r\n")
        connection.advance(milliseconds: 60_000)
        #expect(connection.isOpen)
        #expect(try connection.answers().isEmpty)
        socket.letGo(try pipeline.context(handler: socket))
        #expect(try connection.answers().map(\.body) == ["1"])
        // Only the outgoing direction, as the made-up channel does not know.
        #expect(connection.reads.firstClose == .output)
        // Whoever takes none of it is cut off, as ever.
        let stalled = try TestConnection(limits: limits())
        try stalled.channel.pipeline.syncOperations.addHandler(HeldSocket(stalled.channel), position: .first)
        try stalled.get("a", "Connection: close\r\n")
        stalled.advance(milliseconds: 75_000)
        #expect(!stalled.isOpen)
    }

    @Test(
        "the last request is answered last, also where its answer has to be waited for, and where others do",
        arguments: [false, true]
    )
    func lastRequestLate(isPut: Bool) throws {
        let connection = try TestConnection(limits: limits()) { $0.durability = .through }
        let close = "Connection: close\r\n"
        let last = isPut ? TestConnection.putEntry("b", #"{"value":1}"#, close) : TestConnection.get("b", close)
        try connection.get("a")
        try connection.send(last + TestConnection.get("c"))
        #expect(connection.tier.reads == ["a"])
        connection.tier.answer("a")
        #expect(try connection.answers().map(\.closes) == [false])
        #expect(connection.tier.reads == ["b"])
        connection.tier.answer("b")
        if isPut { connection.tier.commit() }
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [isPut ? 201 : 404])
        #expect(answers.first?.closes == true)
        #expect(connection.tier.reads == [])
        connection.finishSending()
        #expect(!connection.isOpen)
        #expect(connection.figures.requests.allSatisfy { $0.lane == .fast })
    }

    @Test("a put's body may come after its head, and take its time as long as it moves")
    func plainBodyTimeout() throws {
        let connection = try TestConnection(limits: limits())
        let body = #"{"value":"0123456789"}"#
        let request = Array(TestConnection.putEntry("a", body).utf8)
        let head = request.count - body.utf8.count
        for _ in 0..<2 {
            try connection.send(request[..<head])
            for index in head..<request.count - 1 {
                connection.advance(milliseconds: 29_000)
                try connection.send(request[index..<index + 1])
            }
            #expect(try connection.answers().isEmpty)
            connection.advance(milliseconds: 29_000)
            try connection.send(request[(request.count - 1)...])
            #expect(try connection.answers().map(\.status.description.first) == ["2"])
        }
        #expect(connection.figures.requests.allSatisfy { $0.lane == .fast })
        try connection.send(request[..<(head + 1)])
        connection.advance(milliseconds: 29_999)
        #expect(try connection.answers().isEmpty)
        connection.advance(milliseconds: 1)
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [408])
        #expect(answers.first?.body.contains("body") == true)
    }

    @Test("a put whose body is under way when the server drains is answered, and says close")
    func drainWithinBody() throws {
        let connection = try TestConnection(limits: limits())
        let request = Array(TestConnection.putEntry("a", #"{"value":1}"#).utf8)
        try connection.send(request.dropLast(3))
        _ = connection.state.drain(within: .seconds(10))
        #expect(connection.isOpen)
        try connection.send(request.suffix(3))
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201])
        #expect(answers.first?.closes == true)
    }

    @Test("a client of HTTP/1.0 that asks for it keeps its connection")
    func keepAlive10() throws {
        let connection = try TestConnection(limits: limits())
        try connection.store("a", "1")
        for _ in 0..<2 {
            try connection.send("GET /v1/namespaces/ns/values/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            let answer = try #require(try connection.answers().first)
            #expect(answer.status == 200)
            #expect(answer.fields["connection"] == "keep-alive")
        }
    }

    @Test("a client that has said all it will say gets its answers first")
    func halfClose() throws {
        let connection = try TestConnection(limits: limits()) { $0.durability = .behind }
        connection.tier.plant("a", "1")
        try connection.get("a")
        connection.finishSending()
        #expect(connection.isOpen)
        connection.tier.answer("a")
        #expect(try connection.answers().map(\.body) == ["1"])
        #expect(!connection.isOpen)
        let idle = try TestConnection(limits: limits())
        idle.finishSending()
        #expect(!idle.isOpen)
    }

    // MARK: Refusals

    @Test("a body over the limit ends the connection, whether its length is told or not")
    func bodyTooLarge() throws {
        let start = "PUT /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\n"
        let body = String(repeating: "x", count: 101)
        for request in [
            start + "Content-Length: 101\r\n\r\n",
            start + "Transfer-Encoding: chunked\r\n\r\n65\r\n\(body)\r\n0\r\n\r\n",
        ] {
            let connection = try TestConnection(limits: limits { $0.bodySize = 100 })
            try connection.send(request)
            let answers = try connection.answers()
            #expect(answers.map(\.status) == [413])
            try connection.send(body)
            #expect(try connection.received().isEmpty)
        }
        let within = try TestConnection(limits: limits { $0.bodySize = 101 })
        try within.send(start + "Content-Length: 101\r\n\r\n\(body)")
        #expect(try within.answers().map(\.status) == [201])
    }

    @Test("the short body of a refused request is passed over, and the connection kept")
    func passedOver() throws {
        let connection = try TestConnection(limits: limits())
        let head = "PUT /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/mixed\r\n"
        try connection.send(head + "Content-Length: 40\r\n\r\n")
        #expect(try connection.answers().map(\.status) == [415])
        try connection.send("GET /v1/namespaces/ns/values/a HTTP/1.1\r\n")
        #expect(try connection.received().isEmpty)
        try connection.get("none")
        #expect(try connection.answers().map(\.status) == [404])
        try connection.send(head + "Content-Length: 100000\r\n\r\n")
        #expect(try connection.answers().map(\.closes) == [true])
    }

    @Test("100 Continue is said to a client that waits for it, and only where the body is wanted")
    func expectContinue() throws {
        let connection = try TestConnection(limits: limits())
        let head =
            "PUT /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        try connection.send(head)
        #expect(try connection.answers().map(\.status) == [100])
        try connection.send("1")
        #expect(try connection.answers().map(\.status) == [201])
        try connection.send(head + "2")
        #expect(try connection.answers().map(\.status) == [200])
        try connection.send(head.replacing("values", with: "nothing"))
        let refused = try connection.answers()
        #expect(refused.map(\.status) == [404])
        #expect(refused.last?.closes == true)
    }

    @Test("a head over the limit is refused as soon as it is over, in whatever pieces it comes")
    func headTooLarge() throws {
        let line = String(repeating: "x", count: 2000)
        for (start, status) in [
            ("GET /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nX-Long: ", 431),
            ("GET /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ", 431),
            ("GET /v1/namespaces/ns/values/", 414),
        ] {
            let connection = try TestConnection(limits: limits())
            try connection.send(start)
            var statuses: [Int] = []
            for _ in 0..<12 {
                try connection.send(line)
                statuses += try connection.answers().map(\.status)
            }
            #expect(statuses == [status])
        }
    }

    @Test("one connection more than the limit is answered 503")
    func connectionLimit() throws {
        let count = ConnectionCount()
        count.setLimits(limits { $0.connections = 1 })
        let first = try TestConnection(limits: limits(), openConnections: count)
        let second = try TestConnection(limits: limits(), openConnections: count)
        let refused = try second.answers()
        #expect(refused.map(\.status) == [503])
        #expect(refused.last?.closes == true)
        try first.get("none")
        #expect(try first.answers().map(\.status) == [404])
        _ = try? first.channel.finish()
        _ = try? second.channel.finish()
        #expect(count.current == 0)
    }

    // MARK: The server's end

    @Test("a drain closes idle connections, and lets the others finish what they are at")
    func drain() throws {
        let idle = try TestConnection(limits: limits())
        let cutOff = idle.drain()
        #expect(!idle.isOpen)

        #expect(try cutOff.wait() == 0)

        let waiting = try TestConnection(limits: limits()) { $0.durability = .behind }
        waiting.tier.plant("a", "1")
        try waiting.get("a")
        let answered = waiting.drain()
        #expect(waiting.isOpen)
        waiting.tier.answer("a")
        let answers = try waiting.answers()
        #expect(answers.map(\.status) == [200])
        #expect(answers[0].closes)
        #expect(!waiting.isOpen)
        #expect(try answered.wait() == 0)

        let sending = try TestConnection(limits: limits())
        try sending.send("PUT /v1/namespaces/ns/values/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n")
        _ = sending.drain()
        try sending.send("1" + TestConnection.get("a"))
        let last = try sending.answers()
        #expect(last.map(\.status) == [201])
        #expect(last[0].closes)
    }

    @Test("what a drain cannot wait for is cut off")
    func cutOff() throws {
        let connection = try TestConnection(limits: limits()) { $0.durability = .behind }
        try connection.get("a")
        let cutOff = connection.drain()
        connection.advance(milliseconds: 9999)
        #expect(connection.isOpen)
        connection.advance(milliseconds: 1)
        #expect(!connection.isOpen)
        #expect(try cutOff.wait() == 1)
        connection.tier.answer("a")
    }
}

extension TestConnection {
    fileprivate func drain() -> EventLoopFuture<Int> { state.drain(within: .seconds(10)) }
}
