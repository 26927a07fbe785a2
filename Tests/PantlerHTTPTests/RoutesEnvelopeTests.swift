import PantlerModel
import PantlerStore
import Testing

@testable import PantlerHTTP

private let now = WallTime(milliseconds: 1_800_000_000_000)
private let century: Int64 = 3_153_600_000_000

private func put(_ json: String) throws -> Put {
    try json.withBytes { body throws(Problem) in try Put(envelope: body, now: now) }
}

private func patch(_ json: String) throws -> Patch {
    try json.withBytes { body throws(Problem) in try PatchEnvelope(body, now: now).patch }
}

@Suite("The envelope of an entry")
struct EnvelopeTests {
    @Test(
        "keeps the bytes of a JSON value",
        arguments: ["18446744073709551615", "4.20", "[ 1 ,\t2 ]", #"{"a":2,"a":3}"#, "null", #""\u00e9""#]
    )
    func json(value: String) throws {
        let read = try put("{ \"value\" : \(value) , \"tags\":[\"x\",\"\\u0079\"] }")
        #expect(String(decoding: read.value, as: UTF8.self) == value)
        #expect(read.kind == .json)
        #expect(read.tags == ["x", "y"])
        #expect(read.lifetime == .byPolicy)
        #expect(read.staleTTL == nil)
    }

    @Test("has bytes in base64, of a type that is octet-stream where it is not told")
    func bytes() throws {
        let png = try put(#"{"value_base64":"iVBORw0KGgo=","content_type":"image/png"}"#)
        #expect(png.value == [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
        #expect(png.kind == .bytes(mediaType: "image/png"))
        let empty = try put(#"{"value_base64":""}"#)
        #expect(empty.value == [])
        #expect(empty.kind == .bytes(mediaType: "application/octet-stream"))
    }

    @Test(
        "says how long it is to live",
        arguments: [
            (#""ttl":60"#, .milliseconds(60_000)), (#""ttl":0.25"#, .milliseconds(250)),
            (#""ttl":1e1"#, .milliseconds(10_000)),
            (#""ttl":0.001"#, .milliseconds(1)), (#""ttl":null"#, .never), (#""expires_at":null"#, .never),
            (#""ttl":60,"expires_at":null"#, .milliseconds(60_000)), (#""ttl":null,"expires_at":null"#, .never),
            (#""ttl":null,"expires_at":"2099-01-01T00:00:00Z""#, .until(WallTime(milliseconds: 4_070_908_800_000))),
            (#""ttl":3153600000"#, .milliseconds(century)),
            (#""expires_at":"2099-01-01T00:00:00Z""#, .until(WallTime(milliseconds: 4_070_908_800_000))),
        ] as [(String, Lifetime)]
    )
    func lifetimes(member: String, lifetime: Lifetime) throws {
        #expect(try put("{\"value\":1,\(member)}").lifetime == lifetime)
        #expect(try patch("{\(member)}").lifetime == lifetime)
    }

    @Test(
        "is refused with its code",
        arguments: [
            ("", .invalidJSON), ("{", .invalidJSON), (#"{"value":1}{}"#, .invalidJSON), ("\u{feff}{}", .invalidJSON),
            (#"{"value":1,"tll":2,}"#, .invalidJSON), ("[1]", .memberInvalid), ("7", .memberInvalid),
            (#"{"value":1,"v\u0061lue":2}"#, .duplicateMember), (#"{"x":1,"x":2}"#, .unknownMember),
            (
                "{\"value\":" + String(repeating: "[", count: 600) + String(repeating: "]", count: 600) + "}",
                .jsonTooDeep
            ),
            (#"{"value":1,"tll":60}"#, .unknownMember), (#"{"value":1,"key":"a"}"#, .unknownMember),
            ("{}", .missingMember),
            (#"{"ttl":60}"#, .missingMember), (#"{"value":1,"value_base64":""}"#, .memberInvalid),
            (#"{"value":1,"content_type":"a/b"}"#, .memberInvalid), (#"{"value_base64":"A?=="}"#, .memberInvalid),
            (#"{"value_base64":7}"#, .memberInvalid), (#"{"value_base64":"","content_type":"png"}"#, .memberInvalid),
            (#"{"value":1,"ttl":6,"expires_at":"2099-01-01T00:00:00Z"}"#, .ttlConflict),
            (#"{"value":1,"ttl":0.0009}"#, .ttlInvalid),
            (#"{"value":1,"ttl":3153600000.001}"#, .ttlInvalid), (#"{"value":1,"ttl":1e300}"#, .ttlInvalid),
            (#"{"value":1,"ttl":"60"}"#, .ttlInvalid), (#"{"value":1,"stale_ttl":-1}"#, .ttlInvalid),
            (#"{"value_base64":null,"content_type":"a/b"}"#, .missingMember),
            (#"{"value":1,"expires_at":7}"#, .expiresAtInvalid),
            (#"{"value":1,"expires_at":"2001-01-01T00:00:00Z"}"#, .expiresAtInvalid),
            (#"{"value":1,"tags":[1]}"#, .tagsInvalid), (#"{"value":1,"tags":[""]}"#, .tagsInvalid),
            (#"{"value":1,"tags":["\ud800"]}"#, .tagsInvalid), (#"{"value":1,"tags":["\u0000"]}"#, .tagsInvalid),
            (#"{"value":1,"tags":["a","user\u00007"]}"#, .tagsInvalid), (#"{"value":1,"\u1e97tl":2}"#, .unknownMember),
            (#"{"value":1,"ttl\u0000":2}"#, .unknownMember), (#"{"value":1,"TTL":2}"#, .unknownMember),
        ] as [(String, Problem.Code)]
    )
    func refused(body: String, expected: Problem.Code) {
        #expect(code { _ = try put(body) } == expected)
    }

    @Test(
        "is a negative entry's where it says that, and a false or a null says nothing",
        arguments: [
            (#"{"absent":true}"#, .absent), (#"{"value":null,"stale_ttl":null,"absent":true}"#, .absent),
            (#"{"absent":false,"value":1}"#, .json), (#"{"absent":null,"value":1}"#, .json),
        ] as [(String, ValueKind)]
    )
    func negative(body: String, kind: ValueKind) throws {
        #expect(try put(body).kind == kind)
        let rest = #","ttl":9,"tags":["t"]}"#
        let read = try put(String(body.dropLast()) + rest)
        #expect(read.lifetime == .milliseconds(9000) && read.tags == ["t"] && read.staleTTL == nil)
        #expect(read.value.isEmpty == (kind == .absent))
    }

    @Test(
        "of a negative entry has no value and no stale TTL",
        arguments: [
            (#"{"absent":true,"value":1}"#, .memberInvalid), (#"{"absent":true,"value_base64":""}"#, .memberInvalid),
            (#"{"absent":true,"content_type":"a/b"}"#, .memberInvalid),
            (#"{"absent":true,"stale_ttl":0}"#, .memberInvalid), (#"{"absent":1}"#, .memberInvalid),
            (#"{"absent":"true","value":1}"#, .memberInvalid), (#"{"absent":false}"#, .missingMember),
            (#"{"absent":true,"ttl":0}"#, .ttlInvalid), (#"{"absent":true,"tags":[1]}"#, .tagsInvalid),
            (#"{"absent":true,"x":1}"#, .unknownMember), (#"{"absent":true,"absent":true}"#, .duplicateMember),
        ] as [(String, Problem.Code)]
    )
    func negativeRefused(body: String, expected: Problem.Code) {
        #expect(code { _ = try put(body) } == expected)
        #expect(code { _ = try patch(#"{"absent":true}"#) } == .unknownMember)
    }

    @Test("takes a stale TTL from 0 on, and up to 64 tags of 1 to 255 bytes")
    func bounds() throws {
        #expect(try put(#"{"value":1,"stale_ttl":0}"#).staleTTL == 0)
        #expect(try put(#"{"value":1,"stale_ttl":30.5}"#).staleTTL == 30_500)
        let tags = (0..<64).map { "\"t\($0)\"" }.joined(separator: ",")
        #expect(try put("{\"value\":1,\"tags\":[\(tags)]}").tags.count == 64)
        #expect(code { _ = try put("{\"value\":1,\"tags\":[\(tags),\"x\"]}") } == .tagsInvalid)
        let long = String(repeating: "é", count: 127)
        #expect(try put("{\"value\":1,\"tags\":[\"\(long)t\"]}").tags == [EntryTag(long + "t")])
        #expect(code { _ = try put("{\"value\":1,\"tags\":[\"\(long)tt\"]}") } == .tagsInvalid)
    }

    @Test("is patched in parts: what is absent stays, null takes away")
    func patches() throws {
        let nothing = try patch("{}")
        #expect(nothing.value == nil && nothing.lifetime == nil && nothing.tags == nil && nothing.staleTTL == .keep)
        let all = try patch(#"{"value":{"a":null},"stale_ttl":2,"tags":["t"]}"#)
        #expect(all.value == Array(#"{"a":null}"#.utf8))
        #expect(all.staleTTL == .milliseconds(2000))
        #expect(all.tags == ["t"])
        let nulls = try patch(#"{"value":null,"stale_ttl":null,"tags":null}"#)
        #expect(nulls.value == Array("null".utf8))
        #expect(nulls.staleTTL == .byPolicy)
        #expect(nulls.tags == [])
        #expect(code { _ = try patch(#"{"tags":["user\u00007"]}"#) } == .tagsInvalid)
        for body in [#"{"version":3}"#, #"{"key":"k"}"#, #"{"value_base64":""}"#] {
            #expect(code { _ = try patch(body) } == .unknownMember)
        }
    }

    @Test("keeps each spelling of a tag as it came")
    func spellings() throws {
        let read = try put(#"{"value":1,"tags":["K","\u212a","\u00e9","e\u0301"]}"#).tags
        #expect(read.map { Array($0.text.utf8) } == [[0x4b], [0xe2, 0x84, 0xaa], [0xc3, 0xa9], [0x65, 0xcc, 0x81]])
    }

    @Test("in headers, tags stand with commas between them")
    func cacheTag() throws {
        #expect(try Tags.read(["a, b", " c ,,\td"]) == ["a", "b", "c", "d"])
        #expect(try Tags.read([]) == [])
        #expect(code { _ = try Tags.read(["é"]) } == .tagsInvalid)
        #expect(code { _ = try Tags.read([String(repeating: "t", count: 256)]) } == .tagsInvalid)
        #expect(code { _ = try Tags.read([String(repeating: "t,", count: 65)]) } == .tagsInvalid)
    }
}

@Suite("Bodies of other calls")
struct BodyTests {
    private func counter(_ json: String) throws -> CounterAdd {
        try json.withBytes { body throws(Problem) in try CounterAdd(body) }
    }

    private func batch(_ json: String) throws -> [BatchEntry] {
        try json.withBytes { body throws(Problem) in try BatchEntry.readAll(body, now: now) }
    }

    private func keys(_ json: String) throws -> [[UInt8]] {
        try json.withBytes { body throws(Problem) in try KeyBatch.read(body) }
    }

    private func order(_ json: String) throws -> InvalidationOrder {
        try json.withBytes { body throws(Problem) in try InvalidationOrder(body) }
    }

    @Test("a counter adds 1 when nothing is said, and integers only")
    func counters() throws {
        #expect(try counter("{}").by == 1)
        #expect(try counter(" ").by == 1, "a body may be left out")
        #expect(try counter("{}").initial == nil)
        let all = try counter(#"{"by":-9007199254740991,"initial":1.0,"ttl":null}"#)
        #expect(all.by == -9_007_199_254_740_991)
        #expect(all.initial == 1)
        #expect(all.lifetime == .never)
        for (body, expected): (String, Problem.Code) in [
            (#"{"by":1.5}"#, .memberInvalid), (#"{"by":"1"}"#, .memberInvalid), (#"{"by":null}"#, .memberInvalid),
            (#"{"by":9007199254740992}"#, .memberInvalid), (#"{"by":9007199254740993}"#, .memberInvalid),
            (#"{"initial":[]}"#, .memberInvalid), ("[]", .memberInvalid), (#"{"add":1}"#, .unknownMember),
            (#"{"ttl":0}"#, .ttlInvalid),
        ] {
            #expect(code { _ = try counter(body) } == expected, "\(body)")
        }
    }

    @Test("a batch of keys is read whole before anything is done")
    func keyBatches() throws {
        #expect(try keys(#"{"keys":["a","x\/y","\u00e9"]}"#) == ["a", "x/y", "é"].map { Array($0.utf8) })
        #expect(try keys(#"{"keys":[]}"#) == [])
        for (body, expected): (String, Problem.Code) in [
            ("{}", .missingMember), (#"{"keys":"a"}"#, .memberInvalid), (#"{"keys":[1]}"#, .memberInvalid),
            (#"{"keys":["a"],"x":1}"#, .unknownMember), (#"{"keys":[""]}"#, .keyRequired),
            (#"{"keys":["a\u0000"]}"#, .keyInvalid),
            (#"{"keys":["\ud800"]}"#, .keyInvalid), (#"{"keys":["a"],"keys":[]}"#, .duplicateMember),
            ("{\"keys\":[" + String(repeating: "\"\",", count: 1000) + "\"\"]}", .batchTooLarge),
        ] {
            #expect(code { _ = try keys(body) } == expected, "\(body.prefix(40))")
        }
    }

    @Test("each entry of a batch of sets stands alone, as long as it tells its key")
    func sets() throws {
        let entries = try batch(
            #"""
            {"entries":[{"key":"a","value":1.50},{"value":1,"key":"b","ttl":-1},{"key":"","value":1},{"key":"c"},
            {"key":"d","value":1,"value":2},{"key":"\u00e9","value":1},{"key":"\ud800","value":1}]}
            """#
        )
        let codes = entries.map { entry -> Problem.Code? in
            if case .failure(let problem) = entry.put { problem.code } else { nil }
        }
        #expect(codes == [nil, .ttlInvalid, .keyRequired, .missingMember, .duplicateMember, nil, .keyInvalid])
        #expect(entries[5].key == Array("é".utf8))
        #expect(entries[6].literal == Array(#""\ud800""#.utf8))
        for (body, expected): (String, Problem.Code) in [
            (#"{"entries":[{"value":1}]}"#, .missingMember), (#"{"entries":[{"key":1,"value":1}]}"#, .memberInvalid),
            (#"{"entries":[1]}"#, .memberInvalid), (#"{"entries":{}}"#, .memberInvalid), ("{}", .missingMember),
            (#"{"entries":[{"key":"a","value":1}"#, .invalidJSON), (#"{"entries":[],"x":1}"#, .unknownMember),
        ] {
            #expect(code { _ = try batch(body) } == expected, "\(body)")
        }
    }

    @Test("a value in a batch may nest as deep as one by itself")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(try batch("{\"entries\":[{\"key\":\"a\",\"value\":\(nested(512))}]}").count == 1)
        #expect(code { _ = try batch("{\"entries\":[{\"key\":\"a\",\"value\":\(nested(513))}]}") } == .jsonTooDeep)
    }

    @Test("an invalidation says exactly one thing")
    func invalidations() throws {
        #expect(try order(#"{"all":true}"#).what == .all)
        #expect(try order(#"{"tags":["x"],"mode":"stale"}"#).what == .tags(["x"]))
        #expect(try order(#"{"tags":["x"],"mode":"stale"}"#).mode == .stale)
        #expect(try order(#"{"prefix":"a/","mode":"gone"}"#).what == .prefix(Array("a/".utf8)))
        #expect(try order(#"{"keys":["a"]}"#).mode == .gone)
        for (body, expected): (String, Problem.Code) in [
            ("{}", .missingMember), (#"{"mode":"gone"}"#, .missingMember),
            (#"{"all":true,"tags":["x"]}"#, .memberInvalid),
            (#"{"all":false}"#, .memberInvalid), (#"{"tags":"x"}"#, .tagsInvalid),
            (#"{"tags":["x\u0000"]}"#, .tagsInvalid), (#"{"prefix":""}"#, .keyRequired),
            (#"{"all":true,"mode":"later"}"#, .memberInvalid), (#"{"everything":true}"#, .unknownMember),
            ("null", .memberInvalid),
        ] {
            #expect(code { _ = try order(body) } == expected, "\(body)")
        }
    }
}
