import Testing

@testable import pantler

@Suite("Arguments as bytes")
struct RawArgumentsTests {
    @Test(
        "text stays as it is, whatever characters it has",
        arguments: ["", "-k", "é", "e\u{301}", "\u{f0000}", "\u{10ffff}"]
    )
    func text(text: String) throws {
        let arguments = RawArguments([Array(text.utf8), [0x80, 0xff]])
        #expect(Array(arguments.texts[0].utf8) == Array(text.utf8))
        #expect(arguments.bytes(of: arguments.texts[0]) == Array(text.utf8))
        #expect(arguments.bytes(of: arguments.texts[1]) == [0x80, 0xff])
    }

    @Test("what is no UTF-8 comes through byte for byte, also where an option and its value are one argument")
    func bytes() {
        let value: [UInt8] = Array("é ".utf8) + [0x80, 0xfe, 0xff, 0xc3] + Array("'".utf8)
        let arguments = RawArguments([value, Array("--file=".utf8) + value])
        #expect(arguments.bytes(of: arguments.texts[0]) == value)
        #expect(arguments.texts[1].hasPrefix("--file="))
        #expect(arguments.bytes(of: String(arguments.texts[1].dropFirst("--file=".count))) == value)
    }

    @Test("only what is taken as bytes may be any bytes")
    func refusal() throws {
        let arguments = RawArguments([Array("set".utf8), [0x63, 0xe9], [0x63, 0xe9], [0x62, 0xe8]])
        let value: String? = arguments.texts[2]
        let error = #expect(throws: CommandFailure.self) { try arguments.checkText(besides: [value, nil]) }
        #expect(error?.status == .usage)
        #expect(error?.message.contains("'b\\xe8'") == true)
        let one = RawArguments([Array("set".utf8), Array("k".utf8), [0xff]])
        try one.checkText(besides: [one.texts[2], nil])
        #expect(throws: CommandFailure.self) { try one.checkText(besides: []) }
        try RawArguments([Array("get".utf8)]).checkText(besides: [])
    }
}
