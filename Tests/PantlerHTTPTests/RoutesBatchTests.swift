internal import NIOEmbedded
import PantlerJSON
import PantlerModel
import Support
import Testing

@testable import PantlerHTTP

/// The keys of a batch as they are read, against a plain reading of the same body.
@Suite("The keys of a batch")
struct KeyBatchTests {
    private enum Member: String, Sendable {
        case keys
    }

    private func keys(_ body: [UInt8]) throws(Problem) -> [[UInt8]] {
        try body.withBytes { body throws(Problem) in try KeyBatch.read(body) }
    }

    /// The same, each thing after the other.
    private func plainly(_ body: [UInt8]) throws(Problem) -> [[UInt8]] {
        try body.withBytes { body throws(Problem) in
            let members = try Members<Member>(body, allowed: [.keys])
            try members.checkUnknown()
            guard let element = members[.keys] else {
                throw Problem(.missingMember, "'keys' is needed: an array of keys.")
            }
            var distinct: [[UInt8]] = []
            for key in try KeyBatch.keys(element) where !distinct.contains(key) { distinct.append(key) }
            return distinct
        }
    }

    private func outcome(_ read: ([UInt8]) throws(Problem) -> [[UInt8]], _ body: [UInt8]) -> String {
        do throws(Problem) {
            return try read(body).map { String(decoding: $0, as: UTF8.self) }.debugDescription
        } catch {
            return "\(error.code) \(error.detail)"
        }
    }

    @Test(
        "are what the body says, whatever its spelling",
        arguments: [
            (#"{"keys":["a","b"]}"#, ["a", "b"]), (" \n{ \t\"keys\" \r: [ \"a\" ,\n\"b\" ] } \n", ["a", "b"]),
            (#"{"k\u0065ys":["a"]}"#, ["a"]), (#"{"keys":[ ]}"#, []),
            (#"{"keys":["\u0061\"\\\/\n","é\u00e9","\ud83d\ude00","😀","x"]}"#, ["a\"\\/\n", "éé", "😀", "x"]),
            (#"{"keys":["a","\u0061","b","a"]}"#, ["a", "b"]),
        ] as [(String, [String])]
    )
    func read(body: String, expected: [String]) throws {
        #expect(try keys(Array(body.utf8)) == expected.map { Array($0.utf8) })
    }

    @Test("may have 1 to 1,024 bytes, spelt with escapes or without")
    func lengths() throws {
        for key in [String(repeating: "k", count: 1024), String(repeating: "é", count: 512)] {
            #expect(try keys(Array("{\"keys\":[\"\(key)\"]}".utf8)) == [Array(key.utf8)])
            for long in [key + "k", key + #"\u006b"#] {
                #expect(code { _ = try keys(Array("{\"keys\":[\"\(long)\"]}".utf8)) } == .keyTooLong)
            }
        }
        let escaped = String(repeating: #"\u006b"#, count: 1024)
        #expect(try keys(Array("{\"keys\":[\"\(escaped)\"]}".utf8))[0].count == 1024)
    }

    @Test("are at most 1,000, whatever they are")
    func most() throws {
        for key in ["\"k\"", #""\u006b""#] {
            let thousand = Array(repeating: key, count: 1000).joined(separator: " ,")
            #expect(try keys(Array("{\"keys\":[\(thousand)]}".utf8)) == [Array("k".utf8)])
            for more in ["\"k\"", "\"\"", "1"] {
                #expect(code { _ = try keys(Array("{\"keys\":[\(more),\(thousand)]}".utf8)) } == .batchTooLarge)
                #expect(code { _ = try keys(Array("{\"keys\":[\(thousand),\(more)]}".utf8)) } == .batchTooLarge)
            }
        }
    }

    @Test(
        "are refused for the first thing that is wrong: the body's JSON, its members, then the keys in their order",
        arguments: [
            (#"{"keys":["a"],"x":1,"#, .invalidJSON), (#"{"keys":[1],"x":1}"#, .unknownMember),
            (#"{"keys":[""],"keys":["#, .duplicateMember), (#"{"x":1,"keys":["a"]}"#, .unknownMember),
            (#"{"keys":["a\u0000","",1]}"#, .keyInvalid), (#"{"keys":["",1]}"#, .keyRequired),
            (#"{"keys":["","a\u0000"]}"#, .keyRequired), (#"{"keys":["\ud800",""]}"#, .keyInvalid),
            (#"{"keys":[""]]"#, .invalidJSON), (#"{"keys":["a",]}"#, .invalidJSON),
            (#"{"keys":["a"]} x"#, .invalidJSON),
            ("{\"keys\":[\"a\u{1}\"]}", .invalidJSON), (#"["a"]"#, .memberInvalid), (#"{"keys":{}}"#, .memberInvalid),
            (
                "{\"keys\":" + String(repeating: "[", count: 513) + String(repeating: "]", count: 513) + "}",
                .jsonTooDeep
            ),
        ] as [(String, Problem.Code)]
    )
    func refused(body: String, expected: Problem.Code) {
        #expect(code { _ = try keys(Array(body.utf8)) } == expected)
    }

    @Test("are read, or refused in the same words, as a plain reading does")
    func mutations() {
        var random = SeededGenerator()
        var good = 0
        let pieces = [
            "", "\"", "\\", "\\u0061", "\\ud800", "\\u0000", ",", "[", "]", "}", "1", "é", " ", ",\"x\":1", "\u{1}",
        ]
        for _ in 0..<6000 {
            var body = Array(#" {"keys": ["user:profile:00000001","a\"b" ,"é","" ,"longer than a word or two"]} "#.utf8)
            // Most often the key without characters goes.
            if Int.random(in: 0..<4, using: &random) > 0 { body.replace(Array(#""" ,"#.utf8), with: []) }
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let place = Int.random(in: body.indices, using: &random)
                let piece = pieces[Int.random(in: pieces.indices, using: &random)]
                body.replaceSubrange(
                    place..<min(body.count, place + Int.random(in: 0...2, using: &random)),
                    with: piece.utf8
                )
            }
            body.append(UInt8(ascii: " "))
            let expected = outcome(plainly, body)
            #expect(outcome(keys, body) == expected, "\(String(decoding: body, as: UTF8.self)) \(random)")
            if expected.hasPrefix("[") { good += 1 }
        }
        #expect(good > 600 && good < 5400, "\(good) were good, \(random)")
    }
}

/// Batches of gets, byte for byte.
@Suite("Answers to batches of gets")
struct BatchGetTests {
    private func post(_ body: String, namespace: String = "ns") -> String {
        "POST /v1/namespaces/\(namespace)/batch/get HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func answer(_ connection: TestConnection, _ body: String, namespace: String = "ns") throws -> TestAnswer {
        try connection.send(post(body, namespace: namespace))
        return try #require(try connection.answers().first)
    }

    private func put(_ connection: TestConnection, _ path: String, _ object: String) throws {
        try connection.send(
            "PUT /v1/namespaces/ns/\(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(object.utf8.count)\r\n\r\n\(object)"
        )
        #expect(try connection.answers().map(\.status) == [201])
    }

    /// What a GET of the key says.
    private func entry(_ connection: TestConnection, _ key: String) throws -> String {
        try connection.get(key, view: "entries")
        let answer = try #require(try connection.answers().first)
        #expect(answer.status == 200)
        return answer.body
    }

    private func expected(_ entries: [String], missing: String = "") -> String {
        "{\"entries\":[\(entries.joined(separator: ","))],\"missing\":[\(missing)]}"
    }

    @Test("entries of every kind stand in the order of their keys, each as a GET tells it")
    func kinds() throws {
        let connection = try TestConnection()
        let large = String(repeating: "0123456789", count: 3000)
        try put(connection, "entries/plain", #"{"value":{"n": 1.0}}"#)
        try put(connection, "entries/a%22%5C%0A%C3%A9", #"{"value":"é","ttl":60}"#)
        try put(connection, "entries/tagged", #"{"value":[1 ,2],"tags":["a\"b","c"]}"#)
        try put(connection, "entries/large", "{\"value\":\"\(large)\"}")
        try put(connection, "entries/bytes", #"{"value_base64":"iVBORw0KGgoA/w==","content_type":"text/x; a=\"b\""}"#)
        try put(connection, "entries/empty", #"{"value_base64":"","content_type":"a/b"}"#)
        try put(connection, "entries/many", "{\"value_base64\":\"\(String(repeating: "AQID", count: 6000))\"}")
        let keys = ["large", "plain", "bytes", "empty", "a%22%5C%0A%C3%A9", "tagged", "many", "plain", "large"]
        let spelt = [
            #""l\u0061rge""#, #""plain""#, #""bytes""#, #""empty""#, #""a\"\\\n\u00e9""#, #""tagged""#, #""many""#,
            #""\u0070lain""#, #""large""#,
        ]
        // However often a key is named and however it is spelt, its entry stands once, at its first naming.
        let entries = try keys.dropLast(2).map { try entry(connection, $0) }
        let got = try answer(connection, " { \"keys\" : [\n \(spelt.joined(separator: " ,\t"))\r\n] } ")
        #expect(got.status == 200)
        #expect(got.fields["content-type"] == "application/json")
        #expect(got.body == expected(entries))
    }

    @Test("keys that are missing are told in their order, spelt as JSON spells them")
    func missing() throws {
        let connection = try TestConnection()
        try connection.store("a", "A")
        let a = try entry(connection, "a")
        let got = try answer(connection, #"{"keys":["none","a","\u00e9\"\u0001","a","none","日本\/"]}"#)
        #expect(got.body == expected([a], missing: #""none","é\"\u0001","日本/""#))
        #expect(try answer(connection, #"{"keys":[]}"#).body == expected([]))
        #expect(try answer(connection, #"{"keys":["x","\n"]}"#).body == expected([], missing: #""x","\n""#))
        let nowhere = try answer(connection, #"{"keys":["a","\u0061"]}"#, namespace: "none")
        #expect(nowhere.body == expected([], missing: #""a""#))
    }

    @Test(
        "memory, the lower tier and nothing are put together in the order of the keys",
        arguments: [
            ["memory1", "below1", "none", "memory2", "below2"], ["below1", "below2", "memory1"],
            ["none", "memory1", "below2"], ["memory1", "memory2", "none", "none2"], ["below2", "none", "below1"],
            ["none", "memory2", "memory1", "memory2", "below1", "memory1", "below1"],
        ]
    )
    func mixed(order: [String]) throws {
        let connection = try TestConnection { $0.durability = .behind }
        for key in ["below1", "below2"] { connection.tier.plant(key, key) }
        for key in ["memory1", "memory2"] {
            // Whether a write makes or replaces, the lower tier has to tell.
            try connection.send(TestConnection.put(key, key))
            connection.tier.answer(key)
            connection.eventLoop.run()
            #expect(try connection.answers().map(\.status) == [201])
        }
        func below(_ key: String, _ base64: String) -> String {
            #"{"key":"\#(key)","value_base64":"\#(base64)","content_type":"text/plain","version":1,"expires_at":null}"#
        }
        let all = [
            "memory1": try entry(connection, "memory1"), "memory2": try entry(connection, "memory2"),
            "below1": below("below1", "YmVsb3cx"), "below2": below("below2", "YmVsb3cy"),
        ]
        try connection.send(post("{\"keys\":[\(order.map { "\"\($0)\"" }.joined(separator: ","))]}"))
        for key in order.reversed() { connection.tier.answer(key) }
        connection.eventLoop.run()
        let distinct = order.enumerated().filter { !order[..<$0.offset].contains($0.element) }.map(\.element)
        let missing = distinct.filter { all[$0] == nil }.map { "\"\($0)\"" }.joined(separator: ",")
        let body = try #require(try connection.answers().first).body
        #expect(body == expected(distinct.compactMap { all[$0] }, missing: missing))
    }

    @Test("a thousand keys are all looked up, and counted once each")
    func thousand() throws {
        let connection = try TestConnection()
        for number in 0..<500 { try connection.store("k\(number * 2)", "v\(number)") }
        let keys = (0..<1000).map { "\"k\($0)\"" }
        let body = try answer(connection, "{\"keys\":[\(keys.joined(separator: ","))]}").body
        let missing = stride(from: 1, to: 1000, by: 2).map { "\"k\($0)\"" }.joined(separator: ",")
        #expect(body.hasSuffix("],\"missing\":[\(missing)]}"))
        var position = body.startIndex
        for number in 0..<500 {
            let found = body[position...].firstRange(of: "{\"key\":\"k\(number * 2)\",\"value_base64\":")
            position = try #require(found, "k\(number * 2) in its place").upperBound
        }
        let refused = try answer(connection, "{\"keys\":[\(keys.joined(separator: ",")),\"k1000\"]}")
        #expect(refused.status == 422)
        try connection.send("GET /v1/namespaces/ns/stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        let stats = try #require(try connection.answers().first).body
        #expect(stats.contains(#""gets":1000,"#), "\(stats)")
    }

    @Test(
        "nothing is looked up for a body that is refused",
        arguments: [
            #"{"keys":["a"],"x":1}"#, #"{"keys":["a"],"keys":["a"]}"#, #"{"keys":["a",1]}"#, #"{"keys":["a",""]}"#,
            #"{"keys":["a"]"#, #"{"keys":["a","\ud800"]}"#,
        ]
    )
    func refused(body: String) throws {
        let connection = try TestConnection()
        try connection.store("a", "A")
        #expect(try answer(connection, body).status >= 400)
        try connection.send("GET /v1/namespaces/ns/stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(try #require(try connection.answers().first).body.contains(#""gets":0,"#))
    }
}
