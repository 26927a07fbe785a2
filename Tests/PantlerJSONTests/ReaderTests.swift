import PantlerJSON
import Testing

@Suite("Readers")
struct ReaderTests {
    private func members(_ json: String, maxDepth: Int = 8) throws -> [String] {
        try guarded(json) { bytes in
            var reader = try JSONObjectReader(bytes, maxDepth: maxDepth)
            var result: [String] = []
            while let member = try reader.next() {
                #expect(bytes.slice(member.value.range).text == member.value.bytes.text)
                result.append("\(member.name.text)=\(member.value.bytes.text):\(member.value.type)")
            }
            #expect(try reader.next() == nil)
            return result
        }
    }

    private func elements(_ json: String, maxDepth: Int = 8) throws -> [String] {
        try guarded(json) { bytes in
            var reader = try JSONArrayReader(bytes, maxDepth: maxDepth)
            var result: [String] = []
            while let element = try reader.next() { result.append("\(element.bytes.text):\(element.type)") }
            #expect(try reader.next() == nil)
            return result
        }
    }

    @Test("members come in order, names decoded, values as they stand")
    func readsMembers() throws {
        #expect(
            try members(#" { "value" : {"a":1, "a":2} , "t\u0074l":1.50,"":null,"\ud83d\ude00":[ ] } "#) == [
                #"value={"a":1, "a":2}:object"#, "ttl=1.50:number", "=null:null", "😀=[ ]:array",
            ]
        )
        #expect(try members("{}") == [])
        #expect(try members(" { } ") == [])
        #expect(try members(#"{"a":true,"b":false,"c":"x"}"#) == ["a=true:true", "b=false:false", "c=\"x\":string"])
    }

    @Test("elements come in order")
    func readsElements() throws {
        #expect(
            try elements(#" [ 1 , "a" ,[2],{"b":3},null ] "#) == [
                "1:number", "\"a\":string", "[2]:array", "{\"b\":3}:object", "null:null",
            ]
        )
        #expect(try elements("[]") == [])
        #expect(try elements("[ ]") == [])
    }

    @Test("a name that comes twice is handed out twice, and nothing is remembered of it")
    func handsOutDuplicates() throws {
        #expect(
            try members(#"{"a":1,"\u0061":2,"":3,"":4}"#) == ["a=1:number", "a=2:number", "=3:number", "=4:number"]
        )
    }

    @Test("a name is known however it is spelt, by its bytes: two spellings of an accent are two names")
    func says() throws {
        try guarded("{\"ttl\":1,\"t\\u0074l\":1,\"\u{e9}\":1,\"e\u{301}\":1,\"\":1}") { bytes in
            var reader = try JSONObjectReader(bytes, maxDepth: 1)
            for (name, others) in [
                ("ttl", ["tt", "ttll", "TTL", ""]), ("ttl", ["t\\u0074l"]), ("\u{e9}", ["e\u{301}"]),
                ("e\u{301}", ["\u{e9}"]), ("", ["a"]),
            ] {
                let found = try #require(try reader.nextName())
                #expect(found.says(name) && found.text == name)
                #expect(!others.contains { found.says($0) })
                #expect(found.text(atMost: 1).utf8.count == (name.utf8.first.map { $0 < 0x80 ? 1 : 3 } ?? 0))
                _ = try reader.value()
            }
        }
    }

    @Test("duplicates within values are kept")
    func keepsNestedDuplicates() throws {
        #expect(try members(#"{"v":{"a":1,"a":2},"w":[{"a":1,"a":2}]}"#).count == 2)
    }

    @Test(
        "an envelope that is not one object is refused",
        arguments: [
            "", " ", "[]", "1", "\"a\"", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}",
            "{\"a\":1}x", "{} {}",
            "{}\u{0}", "{\"a\":01}", "{\"a\":tru}", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{\"a\":1 \"b\":2}", "{\"a\":[}",
            "{\"a\":1]",
        ]
    )
    func refusesOthers(_ json: String) {
        #expect(throws: JSONError.self) { try members(json) }
    }

    @Test(
        "what is not one array is refused",
        arguments: ["", "{}", "1", "[", "[1", "[1,", "[1,]", "[,]", "[1 2]", "[1]x", "[1}", "[] []", "[01]", "[\"]"]
    )
    func refusesOtherArrays(_ json: String) {
        #expect(throws: JSONError.self) { try elements(json) }
    }

    @Test("depth counts within values, not the reader's own brackets")
    func depth() throws {
        #expect(try members(#"{"v":[[]]}"#, maxDepth: 2).count == 1)
        #expect(throws: JSONError.tooDeep(limit: 1)) { try members(#"{"v":[[]]}"#, maxDepth: 1) }
        #expect(try members(#"{"v":1}"#, maxDepth: 0).count == 1)
        #expect(try elements("[[[]]]", maxDepth: 2).count == 1)
        #expect(throws: JSONError.tooDeep(limit: 1)) { try elements("[[[]]]", maxDepth: 1) }
    }

    @Test("a reader keeps to its range, and its offsets count from the buffer's beginning")
    func ranges() throws {
        try guarded(#"[{"a":1},{"b":[2,3]}]"#) { bytes in
            var array = try JSONArrayReader(bytes, maxDepth: 8)
            _ = try array.next()
            let second = try #require(try array.next())
            #expect(second.range == 9..<20)
            var object = try JSONObjectReader(bytes, in: second.range, maxDepth: 8)
            let member = try #require(try object.next())
            #expect(member.name.says("b") && member.value.range == 14..<19)
            #expect(try object.next() == nil)
            #expect(throws: JSONError.syntax(offset: 19, expected: "',' or '}'")) {
                var cut = try JSONObjectReader(bytes, in: 9..<19, maxDepth: 8)
                while try cut.next() != nil {}
            }
        }
    }

    @Test("errors in names are located in the buffer")
    func nameErrors() {
        #expect(throws: JSONError.loneSurrogate(offset: 10)) { try members(#"{"ab":1, "\ud800":2}"#) }
        #expect(throws: JSONError.syntax(offset: 7, expected: "a member name")) { try members(#"{"a":1,"#) }
    }
}
