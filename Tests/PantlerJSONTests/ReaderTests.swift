import PantlerJSON
import Testing

@Suite("Readers")
struct ReaderTests {
    private func members(
        _ json: String,
        maxDepth: Int = 8,
        duplicateNames: JSONObjectReader.DuplicateNames = .refused
    ) throws -> [String] {
        try guarded(json) { bytes in
            var reader = try JSONObjectReader(bytes, maxDepth: maxDepth, duplicateNames: duplicateNames)
            var result: [String] = []
            while let member = try reader.next() {
                #expect(bytes.slice(member.value.range).text == member.value.bytes.text)
                result.append("\(member.name)=\(member.value.bytes.text):\(member.value.type)")
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

    @Test(
        "a name that comes twice is refused, however it is spelt",
        arguments: [
            (#"{"a":1,"a":1}"#, "a"), (#"{"a":1,"b":2,"\u0061":3}"#, "a"), (#"{"":1,"":2}"#, ""),
            (#"{"é":1,"\u00e9":2}"#, "é"),
        ]
    )
    func refusesDuplicates(_ json: String, _ name: String) throws {
        #expect(throws: JSONError.duplicateMember(name: name)) { try members(json) }
        #expect(try members(json, duplicateNames: .kept).count >= 2)
    }

    @Test("a name is remembered however many come in between")
    func remembersManyNames() throws {
        let names = (0..<100).map { "name\($0)" }
        let json = { (names: [String]) in "{" + names.map { "\"\($0)\":0" }.joined(separator: ",") + "}" }
        #expect(try members(json(names)).count == 100)
        for repeated in [0, 7, 8, 9, 99] {
            #expect(throws: JSONError.duplicateMember(name: names[repeated])) {
                try members(json(names + [names[repeated]]))
            }
        }
    }

    @Test("names are compared by their bytes: two spellings of an accent are two names")
    func canonicalEquivalence() throws {
        #expect(try members("{\"\u{e9}\":1,\"e\u{301}\":2}").count == 2)
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
            #expect(member.name == "b" && member.value.range == 14..<19)
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
