import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("A plain put")
struct PipelinePutTests {
    private static func put(_ key: String, _ value: String, _ fields: String = "") -> String {
        TestConnection.putEntry(key, "{\"value\":\(value)}", fields)
    }

    private static func get(_ key: String) -> String { TestConnection.get(key) }

    /// What came back, without the time of day.
    private func received(_ connection: TestConnection) throws -> String {
        let text = String(decoding: try connection.received(), as: UTF8.self)
        return text.split(separator: "\r\n", omittingEmptySubsequences: false).filter { !$0.hasPrefix("date: ") }
            .joined(separator: "\r\n")
    }

    // MARK: The answer

    @Test(
        "is answered by both lanes with the same bytes, whatever is in it",
        arguments: [
            #"{"value":1}"#, #"{"value":{"a":[1, 2]},"ttl":60.5,"tags":["x"]}"#, #" {"ttl":null,"value":"x"} "#,
            #"{"value_base64":"AAEC","content_type":"image/png","stale_ttl":5}"#, "", "{", "[]",
            #"{"value":1,"value":2}"#,
            #"{"value":1,"tll":2}"#, #"{"value":1,"ttl":0}"#, #"{"value":1,"ttl":2,"expires_at":null}"#, #"{"ttl":60}"#,
            #"{"value":"0123456789012345678901234567890123456789"}"#,
            #"{"value":"01234567890123456789012345678901234567890123456789012345678901234567890123456789"}"#,
        ]
    )
    func sameBytes(envelope: String) throws {
        var limits = HTTPLimits()
        limits.bodySize = 80
        func answers(_ fields: String) throws -> String {
            let connection = try TestConnection(limits: limits) {
                $0.durability = .memory
                $0.maxValueSize = 40
            }
            let request = TestConnection.putEntry("a~b", envelope, fields)
            let isPlain = fields.isEmpty && envelope.utf8.count <= 80
            #expect(laneVerdict(request.utf8, body: 80).hasPrefix("PUT") == isPlain)
            for _ in 0..<2 { try connection.send(request) }
            return try received(connection)
        }
        let fast = try answers("")
        #expect(fast.hasPrefix("HTTP/1.1 "))
        #expect(try fast == answers(TestConnection.otherLane))
    }

    @Test("tells key, version and expiry, with the version as its ETag")
    func answer() throws {
        let connection = try TestConnection()
        try connection.send(Self.put("k", "1") + TestConnection.putEntry("k", #"{"value":2,"ttl":1.5}"#))
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201, 200])
        let first = try #require(answers.first)
        let second = try #require(answers.last)
        let versions = answers.compactMap { $0.fields["etag"]?.dropFirst().dropLast() }.compactMap { Int($0) }
        try #require(versions.count == 2)
        #expect(versions[0] < versions[1])
        #expect(first.body == #"{"key":"k","version":\#(versions[0]),"expires_at":null}"#)
        let expiry = RFC3339.string(connection.store.moment().now.advanced(byMilliseconds: 1500).wallTime(aheadBy: 0))
        #expect(second.body == #"{"key":"k","version":\#(versions[1]),"expires_at":"\#(expiry)"}"#)
        #expect(second.fields["content-type"] == "application/json")
    }

    @Test("of a key that needs escaping tells it as JSON")
    func escapedKey() throws {
        let connection = try TestConnection()
        try connection.send(Self.put("a%22%5C%0Ab%C3%A9", "1"))
        let answer = try #require(try connection.answers().first)
        #expect(answer.status == 201)
        #expect(answer.body.hasPrefix(#"{"key":"a\"\\\nbé","version":"#))
    }

    @Test("is counted once, with its status, in both lanes")
    func counts() throws {
        let connection = try TestConnection()
        for fields in ["", TestConnection.otherLane] {
            try connection.send(Self.put("k\(fields.count)", "1", fields) + Self.put("k\(fields.count)", "2", fields))
            try connection.send(Self.put("k", "?", fields))
        }
        let figures = connection.figures
        #expect(try connection.answers().map(\.status) == [201, 200, 400, 201, 200, 400])
        for lane in Lane.allCases { #expect(figures.requests.filter { $0.lane == lane }.map(\.count) == [1, 1, 1]) }
        for status in [201, 200, 400] { #expect(figures.requests(.put, status: status) == 2) }
        #expect(figures.durations(.put).count == 6)
    }

    @Test("keeps its key, decoded, while others decode theirs")
    func encodedKey() throws {
        let connection = try TestConnection { $0.durability = .through }
        connection.tier.answerAtOnce()
        try connection.send(Self.put("caf%C3%A9%20%22", "1") + Self.put("%41%42%43%44", "2"))
        connection.tier.commit()
        connection.eventLoop.run()
        let bodies = try connection.answers().map(\.body)
        #expect(bodies.count == 2)
        #expect(bodies.first?.hasPrefix(#"{"key":"café \""#) == true)
        #expect(bodies.last?.hasPrefix(#"{"key":"ABCD""#) == true)
        #expect(connection.figures.requests.map(\.lane) == [.fast])
    }

    @Test("makes its namespace, as any write does")
    func namespace() throws {
        let connection = try TestConnection()
        connection.tier.answerAtOnce()
        try connection.send(Self.put("k", "1").replacing("/ns/", with: "/other/"))
        #expect(try connection.answers().map(\.status) == [201])
        #expect(connection.store.namespace("other") != nil)
    }

    // MARK: Order

    @Test("is answered in its turn among others of one burst, all by one write")
    func mixture() throws {
        let connection = try TestConnection()
        var requests = Self.get("k")
        for number in 0..<20 { requests += Self.put("k", "\(number)") + Self.get("k") + Self.get("none") }
        try connection.send(requests)
        var writes = 0
        var bytes: [UInt8] = []
        while let piece = try connection.channel.readOutbound(as: ByteBuffer.self) {
            writes += 1
            bytes += piece.readableBytesView
        }
        #expect(writes == 1)
        var bodies: [String] = []
        while let (answer, length) = TestAnswer.first(in: bytes) {
            bodies.append(
                answer.status == 200 && answer.fields["cache-status"] != nil ? answer.body : "\(answer.status)"
            )
            bytes.removeFirst(length)
        }
        let expected = (0..<20).flatMap { [$0 == 0 ? "201" : "200", "\($0)", "404"] }
        #expect(bodies == ["404"] + expected)
    }

    @Test("in two pieces, wherever it is cut, is the same put")
    func cuts() throws {
        let connection = try TestConnection()
        let request = Array((Self.put("k", "[\"some value\"]", "Accept: */*\r\n") + Self.get("k")).utf8)
        try connection.store("k", "x")
        for count in 1..<request.count {
            try connection.send(request[..<count])
            try connection.send(request[count...])
            let answers = try connection.answers()
            #expect(answers.map(\.status) == [200, 200], "\(count)")
            #expect(answers.last?.body == "[\"some value\"]", "\(count)")
        }
        #expect(connection.figures.requests.allSatisfy { $0.lane == .fast || $0.code == "201" })
    }

    @Test("that has to be committed first is answered before what comes after it begins")
    func through() throws {
        let connection = try TestConnection { $0.durability = .through }
        try connection.send(Self.put("w", "1") + Self.get("w") + Self.put("w", "2") + Self.get("other"))
        #expect(connection.tier.reads == ["w"])
        connection.tier.answer("w")
        #expect(try connection.answers().isEmpty)
        connection.tier.commit()
        let first = try connection.answers()
        #expect(first.map(\.status) == [201, 200])
        #expect(first.last?.body == "1")
        #expect(connection.tier.reads == [])
        connection.tier.commit()
        #expect(connection.tier.reads == ["other"])
        connection.tier.answer("other")
        #expect(try connection.answers().map(\.status) == [200, 404])
        #expect(connection.figures.durations(.put).count == 2)
    }

    @Test("waits for gets before it that wait for the lower tier, also where it could be answered at once")
    func overtakesNothing() throws {
        let connection = try TestConnection { $0.durability = .behind }
        connection.tier.plant("old", "1")
        try connection.send(Self.put("w", "1"))
        connection.tier.answer("w")
        #expect(try connection.answers().map(\.status) == [201])
        try connection.send(Self.get("old") + Self.get("w") + Self.put("w", "2") + Self.get("w"))
        #expect(try connection.answers().isEmpty)
        #expect(connection.tier.reads == ["old"])
        connection.tier.answer("old")
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [200, 200, 200, 200])
        #expect(answers.enumerated().filter { $0.offset != 2 }.map(\.element.body) == ["1", "1", "2"])
    }

    @Test("that the lower tier answers before its call returns holds nothing up")
    func answeredAtOnce() throws {
        let connection = try TestConnection { $0.durability = .behind }
        connection.tier.answerAtOnce()
        try connection.send(Self.put("a", "1") + Self.put("b", "2") + Self.get("a"))
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201, 201, 200])
        #expect(answers.last?.body == "1")
    }

    // MARK: Ends

    @Test("that is under way when the server drains is answered, and says close")
    func drain() throws {
        let connection = try TestConnection { $0.durability = .through }
        connection.tier.answerAtOnce()
        try connection.send(Self.put("w", "1"))
        _ = connection.state.drain(within: .seconds(10))
        #expect(connection.isOpen)
        connection.tier.commit()
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [201])
        #expect(answers.first?.closes == true)
        #expect(try connection.received().isEmpty)
    }

    @Test("whose client is gone before it is answered is dropped")
    func gone() throws {
        let connection = try TestConnection { $0.durability = .through }
        connection.tier.answerAtOnce()
        try connection.send(Self.put("w", "1"))
        _ = try connection.channel.finish(acceptAlreadyClosed: true)
        connection.tier.commit()
        #expect(try connection.received().isEmpty)
    }
}
