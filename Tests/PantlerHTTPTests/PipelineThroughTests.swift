import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerStore
import Testing

@testable import PantlerHTTP

@Suite("Plain puts that wait until they are durable")
struct PipelineThroughTests {
    /// Reads of the lower tier are answered at once, unless it is told otherwise.
    private func connect(
        _ durability: Durability = .through,
        pipelinedRequests: Int = 1000,
        answersReads: Bool = true
    ) throws -> TestConnection {
        var limits = HTTPLimits()
        limits.pipelinedRequests = pipelinedRequests
        let connection = try TestConnection(limits: limits) { $0.durability = durability }
        // The policy.
        connection.tier.commit()
        if answersReads { connection.tier.answerAtOnce() }
        return connection
    }

    private static func put(_ key: String, _ value: String = "1", _ fields: String = "") -> String {
        TestConnection.putEntry(key, "{\"value\":\(value)}", fields)
    }

    private static func get(_ key: String, _ fields: String = "") -> String { TestConnection.get(key, fields) }

    /// The keys that answers to puts tell, or their status where it is none of a success.
    private func told(_ answers: [TestAnswer]) -> [String] {
        answers.map {
            $0.status < 300 ? $0.body.split(separator: "\"").dropFirst(3).first.map(String.init) ?? "" : "\($0.status)"
        }
    }

    // MARK: Order

    @Test("are made one after the other, and answered in their order, whatever the order in which they become durable")
    func order() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b"))
        try connection.send(Self.put("c") + Self.put("a", "2"))
        #expect(connection.tier.puts == ["a", "b", "c", "a"])
        try #require(connection.tier.waiting == 4)
        for place in [3, 1] {
            connection.commitOne(place)
            #expect(try connection.answers().isEmpty)
        }
        connection.commitOne(0)
        let first = try connection.answers()
        #expect(told(first) == ["a", "b"])
        connection.commitOne(0)
        let second = try connection.answers()
        #expect(told(second) == ["c", "a"])
        #expect((first + second).map(\.status) == [201, 201, 201, 200])
        let versions = (first + second).compactMap { $0.fields["etag"] }
        #expect(versions == versions.sorted())
        try connection.send(Self.get("a"))
        #expect(try connection.answers().map(\.body) == ["2"])
        #expect(connection.figures.durations(.put).count == 4)
    }

    @Test("are answered by one write where they become durable together")
    func oneWrite() throws {
        let connection = try connect()
        try connection.send((0..<20).map { Self.put("k\($0)") }.joined())
        connection.commit()
        var writes = 0
        while try connection.channel.readOutbound(as: ByteBuffer.self) != nil { writes += 1 }
        #expect(writes == 1)
    }

    @Test("do not begin before one that has to ask the lower tier first is made")
    func asksFirst() throws {
        let connection = try connect(answersReads: false)
        try connection.send(Self.put("a") + Self.put("a", "2") + Self.put("b") + Self.put("a", "3"))
        #expect(connection.tier.reads == ["a"])
        #expect(connection.tier.puts.isEmpty)
        connection.tier.answer("a")
        #expect(connection.tier.puts == ["a", "a"])
        #expect(connection.tier.reads == ["b"])
        connection.commit()
        #expect(try connection.answers().map(\.status) == [201, 200])
        #expect(connection.tier.puts == ["a", "a"])
        connection.tier.answer("b")
        #expect(connection.tier.puts == ["a", "a", "b", "a"])
        connection.commit()
        #expect(try connection.answers().map(\.status) == [201, 200])
    }

    @Test("do not begin while one waits for room, which is to slow its writer down")
    func waitsForRoom() throws {
        let connection = try connect()
        let other = Self.put("b").replacing("/ns/", with: "/other/")
        connection.tier.fill()
        try connection.send(Self.put("a") + other + Self.put("c"))
        #expect(connection.tier.puts == ["a", "b"])
        connection.commitOne(0)
        #expect(told(try connection.answers()) == ["a"])
        #expect(connection.tier.puts == ["a", "b"])
        connection.commit()
        #expect(connection.tier.puts == ["a", "b", "c"])
        #expect(told(try connection.answers()) == ["b"])
        connection.commit()
        #expect(told(try connection.answers()) == ["c"])
    }

    @Test(
        "are all answered before a read or anything of the slow lane begins",
        arguments: ["", TestConnection.otherLane]
    )
    func readsWait(fields: String) throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b") + Self.get("a", fields) + Self.put("c"))
        #expect(connection.tier.puts == ["a", "b"])
        connection.commitOne(0)
        #expect(told(try connection.answers()) == ["a"])
        connection.commitOne(0)
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201, 200])
        #expect(answers.last?.body == "1")
        #expect(connection.tier.puts == ["a", "b", "c"])
        try connection.send(Self.put("d", "1", fields))
        #expect(connection.tier.puts.last == (fields.isEmpty ? "d" : "c"))
        connection.commit()
        connection.commit()
        #expect(told(try connection.answers()) == ["c", "d"])
    }

    @Test("do not begin while a read before them is under way")
    func readsFirst() throws {
        let connection = try connect(answersReads: false)
        connection.tier.plant("a", "old")
        try connection.send(Self.put("b"))
        connection.tier.answer("b")
        connection.commit()
        #expect(told(try connection.answers()) == ["b"])
        try connection.send(Self.get("a") + Self.put("b") + Self.put("a"))
        #expect(connection.tier.puts == ["b"])
        connection.tier.answer("a")
        #expect(connection.tier.puts == ["b", "b", "a"])
        #expect(try connection.answers().map(\.body) == ["old"])
        connection.commit()
        #expect(told(try connection.answers()) == ["b", "a"])
    }

    @Test("have answers that come at once in their turn, be they good or bad")
    func atOnce() throws {
        let connection = try connect()
        let other = Self.put("b").replacing("/ns/", with: "/other/")
        try connection.send(other)
        #expect(told(try connection.answers()) == ["b"])
        try connection.send(Self.put("a") + other + Self.put("c", "?") + Self.put("d"))
        #expect(connection.tier.puts == ["b", "a", "b", "d"])
        #expect(try connection.answers().isEmpty)
        connection.commit()
        #expect(told(try connection.answers()) == ["a", "b", "400", "d"])
        #expect(connection.figures.durations(.put).count == 5)
    }

    @Test("fail each for itself, and what failed is not there")
    func failure() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b") + Self.put("c"))
        connection.commit(failing: 1)
        #expect(told(try connection.answers()) == ["a", "507", "c"])
        try connection.send(Self.get("b") + Self.get("c"))
        #expect(try connection.answers().map(\.status) == [404, 200])
        #expect(connection.figures.requests(.put, status: 507) == 1)
        #expect(connection.figures.requests(.put, status: 201) == 2)
    }

    // MARK: Bounds

    @Test("are no more than the limit, and the rest stays unread")
    func pipelinedRequests() throws {
        let connection = try connect(pipelinedRequests: 4)
        for number in 0..<10 { try connection.send(Self.put("k\(number)")) }
        #expect(connection.tier.puts.count == 4)
        let reads = connection.reads.count
        connection.channel.read()
        #expect(connection.reads.count == reads)
        connection.commitOne(0)
        #expect(connection.tier.puts.count == 5)
        for _ in 0..<3 {
            connection.commit()
        }
        #expect(told(try connection.answers()) == (0..<10).map { "k\($0)" })
        #expect(connection.reads.count == reads + 1)
    }

    @Test("are no more than some bytes, and one more")
    func bytes() throws {
        let connection = try connect()
        let value = "\"" + String(repeating: "x", count: ConnectionState.gatheredBytes / 3) + "\""
        for number in 0..<5 { try connection.send(Self.put("k\(number)", value)) }
        #expect(connection.tier.puts.count == 3)
        connection.commit()
        #expect(connection.tier.puts.count == 5)
        connection.commit()
        #expect(try connection.answers().count == 5)
    }

    // MARK: Ends

    @Test("that are under way when the server drains are answered, and the last says close")
    func drain() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b"))
        let drained = connection.state.drain(within: .seconds(10))
        connection.commit()
        #expect(try connection.answers().map(\.closes) == [false, true])
        // The connection lingers, so that what still comes does not take the answers with it.
        #expect(connection.reads.firstClose == .output)
        #expect(try drained.wait() == 0)
    }

    @Test("let what waits behind them end a drain")
    func drainWithMore() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b") + Self.get("a"))
        _ = connection.state.drain(within: .seconds(10))
        connection.commit()
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201, 201, 200])
        #expect(answers.map(\.closes) == [false, false, true])
    }

    @Test("are answered to a client that has said all it will say")
    func halfClose() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b"))
        connection.finishSending()
        connection.commitOne(0)
        #expect(connection.isOpen)
        connection.commitOne(0)
        #expect(told(try connection.answers()) == ["a", "b"])
        #expect(!connection.isOpen)
    }

    @Test("have all the time it takes, and are dropped with their connection")
    func gone() throws {
        let connection = try connect()
        try connection.send(Self.put("a") + Self.put("b") + Self.put("c"))
        connection.advance(milliseconds: 500_000)
        #expect(connection.isOpen)
        connection.commitOne(1)
        _ = try connection.channel.finish(acceptAlreadyClosed: true)
        connection.commit()
        #expect(try connection.received().isEmpty)
    }
}

extension TestConnection {
    /// Commits all that waits, but for what fails, and lets the loop answer.
    fileprivate func commit(failing place: Int? = nil) {
        tier.commit(failing: place)
        eventLoop.run()
    }

    /// Commits the one change at `place` among those that wait.
    fileprivate func commitOne(_ place: Int) {
        tier.commitOne(place)
        eventLoop.run()
    }
}
