import NIOCore
import NIOEmbedded
import PantlerInsight
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("A connection")
struct PipelineConnectionTests {
    /// Requests of both lanes, as one text, and the status that each is answered with.
    static let mixture: (text: String, statuses: [Int]) = {
        var text = ""
        var statuses: [Int] = []
        func add(_ request: String, _ status: Int) {
            text += request
            statuses.append(status)
        }
        for number in 0..<6 {
            add(TestConnection.put("k\(number)", "value \(number)"), 201)
            add(TestConnection.get("k\(number)"), 200)
            add(TestConnection.get("k\(number)", view: "entries"), 200)
            add(TestConnection.get("none"), 404)
            add(TestConnection.get("k\(number)", "If-None-Match: *\r\n"), 304)
            add("DELETE /v1/namespaces/ns/entries/k\(number) HTTP/1.1\r\nHost: localhost\r\n\r\n", 204)
            add("\r\nPOST /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 405)
            add(
                "PUT /v1/namespaces/ns/values/c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + "3;x=\"y\"\r\nabc\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nTrailer: 1\r\nOther: 2\r\n\r\n",
                number == 0 ? 201 : 200
            )
            add("BREW /v1/namespaces/ns/entries/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 405)
        }
        return (text, statuses)
    }()

    @Test(
        "requests in any pieces are the same requests, and are answered in their order",
        arguments: [1, 2, 3, 7, 64, 1_000_000]
    )
    func pieces(size: Int) throws {
        let connection = try TestConnection()
        let bytes = Array(Self.mixture.text.utf8)
        for begin in stride(from: 0, to: bytes.count, by: size) {
            try connection.send(bytes[begin..<min(begin + size, bytes.count)])
        }
        let answers = try connection.answers()
        #expect(answers.map(\.status) == Self.mixture.statuses)
        #expect(connection.isOpen)
    }

    @Test("plain gets of one burst are answered by one write")
    func oneWrite() throws {
        let connection = try TestConnection()
        try connection.store("a", "1")
        try connection.send(String(repeating: TestConnection.get("a") + TestConnection.get("none"), count: 20))
        var writes = 0
        while try connection.channel.readOutbound(as: ByteBuffer.self) != nil { writes += 1 }
        #expect(writes == 1)
    }

    @Test("the two lanes answer with the same bytes", arguments: ["entries", "values"])
    func sameBytes(view: String) throws {
        let connection = try TestConnection()
        try connection.store("a", "text")
        let object = #"{"value":[1, 2],"ttl":60,"tags":["x"]}"#
        try connection.send(
            "PUT /v1/namespaces/ns/entries/j HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(object.utf8.count)\r\n\r\n\(object)"
        )
        #expect(try connection.answers().map(\.status) == [201])
        for key in ["a", "j", "none"] {
            try connection.get(key, view: view)
            let fast = try connection.received()
            try connection.get(key, TestConnection.otherLane, view: view)
            let slow = try connection.received()
            #expect(!fast.isEmpty)
            #expect(fast == slow, "\(String(decoding: fast, as: UTF8.self))")
        }
    }

    @Test("a request goes to the lane that understands it, and is counted once either way")
    func counts() throws {
        let connection = try TestConnection()
        try connection.store("a", "1")
        try connection.get("a")
        try connection.get("a", TestConnection.otherLane)
        try connection.get("none")
        let figures = connection.figures
        #expect(figures.requests(.get, status: 200) == 2)
        #expect(figures.requests(.get, status: 404) == 1)
        #expect(figures.requests(.put, status: 201) == 1)
        #expect(figures.durations(.get).count == 3)
    }

    // MARK: Order

    @Test("reads of the lower tier that end in any order are answered in the order asked")
    func outOfOrder() throws {
        let connection = try TestConnection { $0.durability = .behind }
        for key in ["a", "b", "c"] { connection.tier.plant(key, "value of \(key)") }
        try connection.get("a")
        try connection.get("b")
        try connection.get("c")
        try connection.send("GET /v1/namespaces/nowhere/values/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(connection.tier.reads == ["a", "b", "c"])
        connection.tier.answer("c")
        connection.tier.answer("b")
        #expect(try connection.answers().isEmpty)
        connection.tier.answer("a")
        let answers = try connection.answers()
        #expect(answers.map(\.status) == [200, 200, 200, 404])
        #expect(answers.prefix(3).map(\.body) == ["value of a", "value of b", "value of c"])
        #expect(answers[0].fields["cache-status"] == "pantler; hit; detail=disk")
    }

    @Test("nothing overtakes a write, and a write overtakes nothing")
    func writesHoldTheOrder() throws {
        let connection = try TestConnection { $0.durability = .through }
        connection.tier.plant("old", "1")
        try connection.send(
            TestConnection.get("old") + TestConnection.put("w", "2") + TestConnection.get("w")
                + TestConnection.put("w", "3")
        )
        #expect(connection.tier.reads == ["old"])
        connection.tier.answer("old")
        #expect(try connection.answers().map(\.body) == ["1"])
        connection.tier.answer("w")
        connection.tier.commit()
        let first = try connection.answers()
        #expect(first.map(\.status) == [201, 200])
        #expect(first.last?.body == "2")
        connection.tier.commit()
        #expect(try connection.answers().map(\.status) == [200])
    }

    @Test("while a write is on its way nothing after it begins")
    func nothingBegins() throws {
        let connection = try TestConnection { $0.durability = .through }
        try connection.send(TestConnection.put("w", "2") + TestConnection.get("other"))
        connection.tier.answer("w")
        #expect(connection.tier.reads == [])
        connection.tier.commit()
        #expect(connection.tier.reads == ["other"])
        connection.tier.answer("other")
        #expect(try connection.answers().map(\.status) == [201, 404])
    }

    // MARK: Bounds

    @Test("no more requests wait than the limit, and the rest stays unread")
    func pipelinedRequests() throws {
        var limits = HTTPLimits()
        limits.pipelinedRequests = 4
        let connection = try TestConnection(limits: limits) { $0.durability = .behind }
        for number in 0..<10 { try connection.get("k\(number)") }
        #expect(connection.tier.reads.count == 4)
        let reads = connection.reads.count
        connection.channel.read()
        #expect(connection.reads.count == reads)
        connection.tier.answer("k0")
        #expect(connection.tier.reads.count == 4)
        for number in 1..<10 { connection.tier.answer("k\(number)") }
        #expect(try connection.answers().count == 10)
        #expect(connection.reads.count == reads + 1)
    }

    @Test("while the other side takes no answers, no requests are taken from it")
    func unwritable() throws {
        let connection = try TestConnection()
        try connection.store("a", "1")
        connection.setWritable(false)
        try connection.get("a")
        try connection.get("a")
        #expect(try connection.answers().isEmpty)
        let reads = connection.reads.count
        connection.channel.read()
        #expect(connection.reads.count == reads)
        connection.setWritable(true)
        #expect(try connection.answers().map(\.status) == [200, 200])
        #expect(connection.reads.count == reads + 1)
    }

    @Test(
        "what waits because an answer is more than the socket holds goes on once it has been taken, in the same burst too"
    )
    func narrow() throws {
        let connection = try TestConnection { $0.durability = .behind }
        try connection.channel.pipeline.syncOperations.addHandler(NarrowSocket(connection.channel), position: .first)
        connection.tier.plant("large", String(repeating: "x", count: 100_000))
        try connection.get("large")
        // The odd field takes this one past the fast lane, where it waits for the one before.
        try connection.get("none", TestConnection.otherLane)
        // The first look tells how large it is, the second is made once there is room for it.
        connection.tier.answer("large")
        connection.tier.answer("large")
        connection.tier.answer("none")
        #expect(try connection.answers().map(\.status) == [200, 404])
    }

    @Test("a large value comes whole in both views", arguments: [16 << 10, (16 << 10) + 1, 1_000_000])
    func large(size: Int) throws {
        let connection = try TestConnection()
        let value = String(repeating: "pantler ", count: size / 8 + 1).prefix(size)
        try connection.store("large", String(value))
        for fields in ["", TestConnection.otherLane] {
            try connection.get("large", fields)
            #expect(try connection.answers().map(\.body) == [String(value)])
            try connection.get("large", fields, view: "entries")
            let object = try #require(try connection.answers().first)
            #expect(object.body.contains("cGFudGxlciBwYW50bGVyIHBhbnRsZXIg"))
            #expect(object.body.hasSuffix("\"expires_at\":null}"))
        }
    }
}

extension TestConnection {
    var figures: RequestFigures { RequestFigures([state.tally]) }
}
