import PantlerJSON
import Testing

import struct Support.SeededGenerator

/// The strings of an array that is a member, read in one pass.
@Suite("Arrays of strings")
struct StringArrayTests {
    /// The member's strings as they stand, those with escapes marked; `nil` if the array is none of strings alone, and its
    /// value could be read nevertheless.
    private func strings(_ value: String, limit: Int = 100, maxDepth: Int = 8) throws -> (told: [String], count: Int)? {
        try guarded("{\"k\":\(value),\"next\":1}") { bytes in
            var reader = try JSONObjectReader(bytes, maxDepth: maxDepth)
            #expect(try reader.nextName()?.text == "k")
            let strings = try reader.strings(limit: limit)
            if strings == nil { #expect(try reader.value().bytes.text == value) }
            #expect(try reader.nextName()?.text == "next")
            #expect(try reader.value().bytes.text == "1")
            #expect(try reader.nextName()?.text == nil)
            return strings.map { strings in
                (
                    strings.literals.map { bytes.slice($0.range).text + ($0.hasEscapes ? " escaped" : "") },
                    strings.count
                )
            }
        }
    }

    @Test(
        "are told as they stand",
        arguments: [
            ("[]", []), ("[ \n]", []), (#"["a"]"#, [#""a""#]), (#"[ "a" ,"","é" ]"#, [#""a""#, #""""#, #""é""#]),
            (#"["\u0061","a\/b","日本語"]"#, [#""\u0061" escaped"#, #""a\/b" escaped"#, #""日本語""#]),
            ("[\t\"a\"\r\n,\n\"b\" ]", [#""a""#, #""b""#]),
            (#"["]",",","[","a\"]"]"#, [#""]""#, #"",""#, #""[""#, #""a\"]" escaped"#]),
        ] as [(String, [String])]
    )
    func told(value: String, expected: [String]) throws {
        let strings = try #require(try strings(value))
        #expect(strings.told == expected)
        #expect(strings.count == expected.count)
    }

    @Test("are told up to the limit, and all counted")
    func limit() throws {
        for (limit, told) in [(0, 0), (2, 2), (3, 3), (4, 3)] {
            let strings = try #require(try strings(#"["a","b","c"]"#, limit: limit))
            #expect(strings.told == Array([#""a""#, #""b""#, #""c""#].prefix(told)))
            #expect(strings.count == 3)
        }
    }

    @Test(
        "leave any other value to be read as one",
        arguments: [#""a""#, "1", "null", "{}", #"["a",1]"#, #"[["a"]]"#, #"[{"a":"b"}]"#, #"["a" , null ]"#]
    )
    func others(value: String) throws {
        #expect(try strings(value) == nil)
    }

    @Test("count as a level of nesting")
    func depth() throws {
        #expect(try strings(#"["a"]"#, maxDepth: 1) != nil)
        #expect(throws: JSONError.tooDeep(limit: 0)) { _ = try strings(#"["a"]"#, maxDepth: 0) }
    }

    @Test("that are mutated are found right or wrong as a value would be, at the same place")
    func mutations() {
        var random = SeededGenerator.announced("arrays of strings")
        var found = 0
        for _ in 0..<8000 {
            var text = Array(
                #"[ "plain key" ,"es\"c\u00e9 é","日本",  "x", "eight by", "longer than eight bytes" ]"#.utf8
            )
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let place = Int.random(in: text.indices, using: &random)
                text[place] = random.pick(Array("\"\\,[] 0u\u{1}é{".utf8))
            }
            let body = Array("{\"k\":".utf8) + text + Array("}".utf8)
            let value = guarded(body) { bytes in
                outcome {
                    var reader = try JSONObjectReader(bytes, maxDepth: 3)
                    var members: [String] = []
                    while let member = try reader.next() { members.append(member.value.bytes.text) }
                    return members
                }
            }
            let strings = guarded(body) { bytes in
                outcome {
                    var reader = try JSONObjectReader(bytes, maxDepth: 3)
                    var members: [String] = []
                    while try reader.nextName() != nil {
                        let start = members.count
                        if let strings = try reader.strings(limit: 100) {
                            found += 1
                            let inner = strings.literals.map { bytes.slice($0.range).text }
                            let elements = try elements(value, at: start)
                            #expect(inner == elements, "\(bytes.text)")
                            members.append(try value.get()[start])
                        } else {
                            members.append(try reader.value().bytes.text)
                        }
                    }
                    return members
                }
            }
            #expect("\(strings)" == "\(value)", "\(PantlerJSONTests.text(body))")
        }
        #expect(found > 1000, "\(found) were arrays of strings")
    }

    private func outcome(_ body: () throws -> [String]) -> Result<[String], any Error> { Result(catching: body) }

    private func elements(_ members: Result<[String], any Error>, at index: Int) throws -> [String] {
        try guarded(try members.get()[index]) { bytes in
            var reader = try JSONArrayReader(bytes, maxDepth: 3)
            var elements: [String] = []
            while let element = try reader.next() { elements.append(element.bytes.text) }
            return elements
        }
    }
}
