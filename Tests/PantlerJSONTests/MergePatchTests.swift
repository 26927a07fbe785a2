import PantlerJSON
import Testing

@Suite("Merge patch")
struct MergePatchTests {
    private func merge(
        _ target: String,
        _ patch: String,
        maxDepth: Int = 512,
        limit: Int = .max
    ) throws -> String {
        try guarded(target) { target in
            try guarded(patch) {
                text(try JSON.mergePatch(target: target, patch: $0, maxDepth: maxDepth, limit: limit))
            }
        }
    }

    @Test(
        "the examples of RFC 7396, appendix A",
        arguments: [
            (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
            (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
            (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#),
            (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
            (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
            (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
            (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
            (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#),
            (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
            (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#),
            (#"{"a":"foo"}"#, "null", "null"),
            (#"{"a":"foo"}"#, #""bar""#, #""bar""#),
            (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#),
            (#"[1,2]"#, #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
            (#"{}"#, #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
        ]
    )
    func appendixA(_ target: String, _ patch: String, _ result: String) throws {
        #expect(try merge(target, patch) == result)
    }

    @Test("the example of RFC 7396, section 3")
    func section3() throws {
        let target = """
            {"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],\
            "content":"This will be unchanged"}
            """
        let patch = """
            {"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}
            """
        #expect(
            try merge(target, patch) == """
                {"title":"Hello!","author":{"givenName":"John"},"tags":["example"],\
                "content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}
                """
        )
    }

    @Test("what the patch does not name keeps its bytes and its place")
    func keepsBytes() throws {
        #expect(
            try merge(
                #" { "x" : 1.500 , "n":18446744073709551616,"a": 1e+05,"s":"\u0041\/" ,"o":{ "k" : [ 1 , 2 ] } } "#,
                #"{"a":2}"#
            )
                == #"{"x" : 1.500,"n":18446744073709551616,"a":2,"s":"\u0041\/","o":{ "k" : [ 1 , 2 ] }}"#
        )
        #expect(
            try merge(#"{"o":{"keep":1.0, "go":2,"z" :-0}}"#, #"{"o":{"go":null}}"#) == #"{"o":{"keep":1.0,"z" :-0}}"#
        )
        #expect(
            try merge(#"{"a":1}"#, #"{"b": 1.250 ,"c":[ null , {"d":null} ]}"#)
                == #"{"a":1,"b":1.250,"c":[ null , {"d":null} ]}"#
        )
    }

    @Test("names are compared decoded, and the target's spelling stays")
    func comparesDecoded() throws {
        #expect(try merge(#"{"\u0061":1}"#, #"{"a":2}"#) == #"{"\u0061":2}"#)
        #expect(try merge(#"{"a":1}"#, #"{"\u0061":null}"#) == "{}")
        #expect(try merge(#"{"\ud83d\ude00":1}"#, #"{"😀":2}"#) == #"{"\ud83d\ude00":2}"#)
        // Lone surrogates are names too; half a pair is not the other half.
        #expect(try merge(#"{"\ud800":1,"\ud801":2}"#, #"{"\uD800":null}"#) == #"{"\ud801":2}"#)
        // Two spellings of an accent are two names.
        #expect(try merge("{\"\u{e9}\":1}", "{\"e\u{301}\":2}") == "{\"\u{e9}\":1,\"e\u{301}\":2}")
    }

    @Test("of several members of one name the last one counts, and none is left behind")
    func duplicates() throws {
        #expect(try merge(#"{"a":1,"b":2,"a":3}"#, #"{"a":4}"#) == #"{"b":2,"a":4}"#)
        #expect(try merge(#"{"a":1,"b":2,"a":3}"#, #"{"a":null}"#) == #"{"b":2}"#)
        #expect(try merge(#"{"a":1,"b":2,"a":3}"#, #"{"b":null}"#) == #"{"a":1,"a":3}"#)
        #expect(try merge(#"{"a":{"x":1},"a":{"y":2}}"#, #"{"a":{"z":3}}"#) == #"{"a":{"y":2,"z":3}}"#)
        // What the first one had is new to the last one.
        #expect(try merge(#"{"a":{"x":1},"a":{"y":2}}"#, #"{"a":{"x":3}}"#) == #"{"a":{"y":2,"x":3}}"#)
        #expect(try merge(#"{"a":{"x":1},"a":5}"#, #"{"a":{"x":3,"n":null}}"#) == #"{"a":{"x":3}}"#)
        #expect(try merge(#"{"a":5,"a":{"y":{"q":1}}}"#, #"{"a":{"y":{"q":null}}}"#) == #"{"a":{"y":{}}}"#)
        #expect(try merge(#"{}"#, #"{"a":1,"a":2,"b":3}"#) == #"{"a":2,"b":3}"#)
        #expect(try merge(#"{"a":0}"#, #"{"a":{"x":1},"a":null}"#) == "{}")
        #expect(try merge(#"{"a":{"y":1}}"#, #"{"a":{"y":null},"a":{"x":1}}"#) == #"{"a":{"y":1,"x":1}}"#)
    }

    @Test("an empty patch makes an object of what is none, and changes nothing else")
    func emptyPatch() throws {
        #expect(try merge(#"{"a":1}"#, "{}") == #"{"a":1}"#)
        #expect(try merge("5", " {} ") == "{}")
        #expect(try merge("{}", "{}") == "{}")
    }

    @Test("neither text may be invalid or too deep")
    func refuses() {
        #expect(throws: JSONError.self) { try merge("{", "{}") }
        #expect(throws: JSONError.self) { try merge("{}", "{\"a\":}") }
        #expect(throws: JSONError.self) { try merge("{}", "") }
        #expect(throws: JSONError.tooDeep(limit: 2)) { try merge("[[[]]]", "{}", maxDepth: 2) }
        #expect(throws: JSONError.tooDeep(limit: 2)) { try merge("{}", "{\"a\":[[]]}", maxDepth: 2) }
    }

    @Test("a result over the limit is told with its size, and one of just the limit is made")
    func limit() throws {
        for (target, patch) in [
            (#"{"a":1,"b":{"c":[1, 2]}}"#, #"{"b":{"d":"x"},"e":{"f":null,"g":1}}"#), ("[1,2]", #"{"a":"b","c":null}"#),
            (#"{"a":1}"#, #""text""#), (#"{"a":1,"a":2}"#, #"{"a":null,"b":  [ 1 ]}"#),
        ] {
            let result = try merge(target, patch)
            let size = result.utf8.count
            #expect(try merge(target, patch, limit: size) == result)
            #expect(throws: JSONError.tooLarge(size: size, limit: size - 1)) {
                try merge(target, patch, limit: size - 1)
            }
        }
    }

    @Test("what an earlier member of a name holds is forgotten with it, also in objects of many members")
    func replacedMembers() throws {
        let many = (0..<300).map { "\"n\($0)\":\($0)" }.joined(separator: ",")
        let fewer = (0..<300).map { "\"n\($0)\":null" }.joined(separator: ",")
        #expect(
            try merge("{\"o\":{\(many),\"x\":1}}", "{\"o\":{\(fewer)},\"o\":{\"x\":2}}") == "{\"o\":{\(many),\"x\":2}}"
        )
        #expect(try merge("{\"o\":{\(many),\"x\":1}}", "{\"o\":{\"x\":2},\"o\":{\(fewer)}}") == "{\"o\":{\"x\":1}}")
        // A name of an object within another is none of that other.
        #expect(try merge(#"{"a":1,"b":{"a":2}}"#, #"{"b":{"a":null}}"#) == #"{"a":1,"b":{}}"#)
    }

    @Test("a patch as deep as the limit allows is merged")
    func deep() throws {
        let nest = { (inner: String) in
            String(repeating: "{\"a\":", count: 511) + inner + String(repeating: "}", count: 511)
        }
        #expect(try merge(nest("{\"x\":1.0,\"y\":2}"), nest("{\"y\":null,\"z\":3}")) == nest("{\"x\":1.0,\"z\":3}"))
        #expect(try merge("1", nest("{\"y\":null,\"z\":3}")) == nest("{\"z\":3}"))
    }
}
