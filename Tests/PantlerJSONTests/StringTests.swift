import PantlerJSON
import Testing

@Suite("Strings")
struct StringTests {
    @Test(
        "a literal's escapes are decoded",
        arguments: [
            (#""""#, ""), (#""abc""#, "abc"), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (#""\u0041\u00e9\u20AC""#, "Aé€"),
            (#""\u0000""#, "\0"), (#""\u007f\u0080\u07ff\u0800\uffff""#, "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}"),
            (#""\ud83d\ude00""#, "😀"), (#""x\uD834\uDd1Ey""#, "x\u{1d11e}y"),
            (#""\uDBFF\uDFFF\uD800\uDC00""#, "\u{10ffff}\u{10000}"),
            (#""\\u0041""#, "\\u0041"), ("\"日本\\n語\"", "日本\n語"), (#""\u005c\u0022""#, "\\\""),
        ]
    )
    func decodes(_ literal: String, _ characters: String) throws {
        // By UTF-8: Swift's own comparison is canonical equivalence.
        #expect(try guarded(literal) { Array(try JSON.string($0).utf8) } == Array(characters.utf8))
        #expect(try guarded(literal) { try JSON.stringBytes($0) } == Array(characters.utf8))
    }

    @Test(
        "half a surrogate pair has no UTF-8, and is an error at its place",
        arguments: [
            (#""\ud800""#, 1), (#""ab\udc00""#, 3), (#""\ud800x""#, 1), (#""\ud800\n""#, 1),
            (#""\ud800\ud800\udc00""#, 1),
            (#""\udc00\ud800""#, 1), (#""\ud83d\ude00\ud83d""#, 13), (#""\ud800\u0041""#, 1),
        ]
    )
    func refusesLoneSurrogates(_ literal: String, _ offset: Int) {
        #expect(throws: JSONError.loneSurrogate(offset: offset)) { try guarded(literal) { try JSON.string($0) } }
        #expect(throws: JSONError.loneSurrogate(offset: offset)) { try guarded(literal) { try JSON.stringBytes($0) } }
    }

    @Test(
        "what is no string literal is refused",
        arguments: ["", "\"", "a", "1", "\"a", "\"a\" ", " \"a\"", "\"a\"b\"", "\"\\\"", "\"\\u00\""]
    )
    func refusesOthers(_ literal: String) {
        #expect(throws: JSONError.self) { try guarded(literal) { try JSON.string($0) } }
    }

    @Test("a written string is JSON, escapes what it must and reads back", arguments: 0..<40)
    func roundTrip(_ length: Int) throws {
        for special in (0..<0x20).map({ UInt8($0) }) + Array("\"\\/x\u{7f}".utf8) {
            var characters = [UInt8](repeating: UInt8(ascii: "y"), count: length)
            characters.append(special)
            characters.append(contentsOf: "é€😀".utf8)
            var literal: [UInt8] = []
            guarded(characters) { JSON.appendString($0, to: &literal) }
            #expect(try guarded(literal) { try JSON.stringBytes($0) } == characters)
            let mustEscape = special < 0x20 || special == 0x22 || special == 0x5c
            #expect(guarded(characters) { JSON.needsEscaping($0) } == mustEscape)
            #expect(literal.contains(UInt8(ascii: "\\")) == mustEscape)
        }
    }

    @Test("escapes are the short ones where there are any")
    func writesEscapes() {
        var literal: [UInt8] = []
        JSON.appendString("\"\\\u{8}\t\n\u{c}\r\0\u{1f}\u{1b}/\u{7f}é", to: &literal)
        #expect(text(literal) == #""\"\\\b\t\n\f\r\u0000\u001f\u001b/"# + "\u{7f}é\"")
    }

    @Test("bytes that are not UTF-8 are written as U+FFFD, each")
    func repairs() throws {
        for (bytes, expected) in [
            ([0xff], "\u{fffd}"), ([0x61, 0xc3, 0x62], "a\u{fffd}b"), ([0xe2, 0x82], "\u{fffd}\u{fffd}"),
            ([0x80, 0xc3, 0xa9, 0x0a], "\u{fffd}é\n"),
        ] as [([UInt8], String)] {
            var literal: [UInt8] = []
            guarded(bytes) { JSON.appendString($0, to: &literal) }
            #expect(try guarded(literal) { try JSON.string($0) } == expected)
        }
    }
}
