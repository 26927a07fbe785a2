import PantlerJSON
import Testing

/// In the manner of JSONTestSuite (Nicolas Seriot): what every parser must accept, what every parser must refuse, and
/// what the RFC leaves open, with the answer that we give.
@Suite("Validation")
struct ValidationTests {
    @Test("valid texts are accepted, whole", arguments: ValidationCases.accepted)
    func accepts(_ json: String) {
        #expect(throws: Never.self) {
            let range = try guarded(json) { try JSON.validate($0, maxDepth: 512) }
            #expect(range == guarded(json) { JSON.trimmed($0) })
        }
    }

    @Test("invalid texts are refused", arguments: ValidationCases.refused)
    func refuses(_ json: String) {
        #expect(throws: JSONError.self, "accepted: \(json)") {
            try guarded(json) { try JSON.validate($0, maxDepth: 512) }
        }
    }

    @Test("every cut of a valid object is refused")
    func refusesCuts() {
        let json = Array(#"{"a":[1,-2.5e+3,true,false,null,"x\u00e9\n€😀"],"b":{}}"#.utf8)
        for length in 0..<json.count {
            #expect(throws: JSONError.self, "accepted: \(text(json[..<length]))") {
                try guarded(json[..<length]) { try JSON.validate($0, maxDepth: 512) }
            }
        }
        #expect(throws: Never.self) { try JSON.validate(json, maxDepth: 512) }
    }

    @Test("every control character is refused inside a string, wherever it stands, and DEL is not")
    func controlCharacters() {
        for position in 0..<20 {
            for byte in UInt8(0)...0x7f where byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "\"") {
                var json = Array("\"abcdefghijklmnopqrst\"".utf8)
                json[1 + position] = byte
                let accepted = (try? guarded(json) { try JSON.validate($0, maxDepth: 1) }) != nil
                #expect(accepted == (byte >= 0x20), "byte \(byte) at \(position)")
            }
        }
    }

    @Test("a quote and a backslash are seen at every place of a word")
    func specialsAtEveryPlace() throws {
        for length in 0..<40 {
            let run = String(repeating: "x", count: length)
            #expect(throws: Never.self) { try guarded("[\"\(run)\",1]") { try JSON.validate($0, maxDepth: 1) } }
            #expect(throws: Never.self) { try guarded("[\"\(run)\\n\(run)\"]") { try JSON.validate($0, maxDepth: 1) } }
            let quoted = try guarded("\"\(run)\\\"\(run)\"") { try JSON.string($0) }
            #expect(quoted == run + "\"" + run)
        }
    }

    @Test(
        "errors say where and what",
        arguments: [
            ("", JSONError.syntax(offset: 0, expected: "a value")),
            ("[1 2]", .syntax(offset: 3, expected: "',' or ']'")),
            ("{\"a\":1,}", .syntax(offset: 7, expected: "a member name")),
            ("{\"a\" 1}", .syntax(offset: 5, expected: "':'")),
            ("{\"a\":1 \"b\"}", .syntax(offset: 7, expected: "',' or '}'")),
            ("1 2", .syntax(offset: 2, expected: "the end")),
            ("\"abc", .syntax(offset: 4, expected: "the string's end")),
            ("\"a\\x\"", .syntax(offset: 3, expected: "one of \"\\/bfnrtu after a backslash")),
            ("\"\\u12g4\"", .syntax(offset: 5, expected: "a hexadecimal digit")),
            ("\"\\u12", .syntax(offset: 5, expected: "a hexadecimal digit")),
            ("[1.]", .syntax(offset: 3, expected: "a digit")),
            ("[nul]", .syntax(offset: 1, expected: "null")),
            ("\"a\nb\"", .syntax(offset: 2, expected: "no control character in a string")),
        ]
    )
    func locatesErrors(_ json: String, _ error: JSONError) {
        #expect(throws: error) { try guarded(json) { try JSON.validate($0, maxDepth: 512) } }
    }

    @Test("errors read as sentences")
    func describesErrors() {
        #expect(
            JSONError.syntax(offset: 7, expected: "':'").description
                == "The JSON is malformed at byte 7: expected ':'."
        )
        #expect(JSONError.tooDeep(limit: 512).description == "The JSON nests deeper than 512 arrays and objects.")
        #expect(JSONError.duplicateMember(name: "ttl").description == "The member \"ttl\" occurs more than once.")
    }

    @Test("trimming takes JSON's whitespace from both ends and nothing else")
    func trims() {
        #expect(guarded(" \t\r\n[1, 2] \n") { JSON.trimmed($0) } == 4..<10)
        #expect(guarded("1") { JSON.trimmed($0) } == 0..<1)
        #expect(guarded("") { JSON.trimmed($0) }.isEmpty)
        #expect(guarded("  \n ") { JSON.trimmed($0) }.isEmpty)
        #expect(guarded("\u{b}1\u{c}") { JSON.trimmed($0) } == 0..<3)
        #expect(JSON.trimmed(UnsafeRawBufferPointer(start: nil, count: 0)) == 0..<0)
    }

    @Test("a value's type is told by its first byte")
    func types() {
        let expected: [(Character, JSONType)] = [
            ("{", .object), ("[", .array), ("\"", .string), ("-", .number), ("0", .number), ("9", .number),
            ("t", .true), ("f", .false), ("n", .null),
        ]
        for byte in UInt8(0)...255 {
            let type = expected.first { $0.0.asciiValue == byte }?.1
            if !(UInt8(ascii: "1")...UInt8(ascii: "8")).contains(byte) { #expect(JSON.type(of: byte) == type) }
        }
        #expect(JSON.type(of: UInt8(ascii: "5")) == .number)
    }
}
