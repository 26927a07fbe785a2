import PantlerJSON
import Testing

@Suite("UTF-8")
struct UTF8Tests {
    /// Lead-in lengths that put a sequence at every place of a word, and at the end of the buffer.
    private static let places = 0..<10

    private func error(in characters: [UInt8], at place: Int) -> JSONError? {
        let json =
            [UInt8(ascii: "\"")] + [UInt8](repeating: UInt8(ascii: "x"), count: place) + characters + [
                UInt8(ascii: "\"")
            ]
        do {
            try guarded(json) { _ = try JSON.validate($0, maxDepth: 1) }
            return nil
        } catch {
            return error as? JSONError
        }
    }

    @Test(
        "the first and last character of every length are accepted",
        arguments: [
            "\u{80}", "\u{7ff}", "\u{800}", "\u{fff}", "\u{1000}", "\u{cfff}", "\u{d000}", "\u{d7ff}", "\u{e000}",
            "\u{ffff}",
            "\u{10000}", "\u{3ffff}", "\u{40000}", "\u{fffff}", "\u{100000}", "\u{10ffff}", "é€😀é", "кириллица", "日本語",
        ]
    )
    func accepts(_ characters: String) {
        for place in Self.places { #expect(error(in: Array(characters.utf8), at: place) == nil) }
    }

    @Test(
        "what is not UTF-8 is refused where it begins",
        arguments: [
            // Continuations without a lead; leads without a continuation.
            [0x80], [0xbf], [0x80, 0x80], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0xc3, 0x28], [0xe2, 0x28, 0xac],
            [0xe2, 0x82, 0x28], [0xf0, 0x28, 0x98, 0x80], [0xf0, 0x9f, 0x28, 0x80], [0xf0, 0x9f, 0x98, 0x28],
            [0xc3, 0xc3, 0xa9], [0xe2, 0x82, 0xe2], [0xc3, 0xff],
            // Overlong.
            [0xc0, 0x80], [0xc0, 0xaf], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xe0, 0x80, 0xaf], [0xe0, 0x9f, 0xbf],
            [0xf0, 0x80, 0x80, 0x80], [0xf0, 0x80, 0x80, 0xaf], [0xf0, 0x8f, 0xbf, 0xbf],
            // Surrogates.
            [0xed, 0xa0, 0x80], [0xed, 0xad, 0xbf], [0xed, 0xae, 0x80], [0xed, 0xaf, 0xbf], [0xed, 0xb0, 0x80],
            [0xed, 0xbf, 0xbf], [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80],
            // Beyond U+10FFFF, and bytes that no sequence has.
            [0xf4, 0x90, 0x80, 0x80], [0xf4, 0xbf, 0xbf, 0xbf], [0xf5, 0x80, 0x80, 0x80], [0xf7, 0xbf, 0xbf, 0xbf],
            [0xf8, 0x88, 0x80, 0x80, 0x80], [0xfc, 0x84, 0x80, 0x80, 0x80, 0x80], [0xfe], [0xff],
        ] as [[UInt8]]
    )
    func refuses(_ characters: [UInt8]) {
        for place in Self.places {
            #expect(error(in: characters, at: place) == .notUTF8(offset: 1 + place), "\(characters) at \(place)")
        }
    }

    @Test("a sequence cut short is refused at every cut, before a quote and at the buffer's end")
    func refusesCuts() {
        for character in ["é", "€", "😀"] {
            let whole = Array(character.utf8)
            for length in 1..<whole.count {
                for place in Self.places {
                    #expect(error(in: Array(whole[..<length]), at: place) == .notUTF8(offset: 1 + place))
                    let cut =
                        [UInt8(ascii: "\"")] + [UInt8](repeating: UInt8(ascii: "x"), count: place) + whole[..<length]
                    #expect(throws: JSONError.notUTF8(offset: 1 + place)) {
                        try guarded(cut) { try JSON.validate($0, maxDepth: 1) }
                    }
                }
            }
        }
    }

    @Test("every pair of a lead and a second byte is judged as the standard library does")
    func agreesOnPairs() {
        for lead in UInt8(0x80)...0xff {
            for second in UInt8(0x80)...0xff {
                for tail in [[], [0x80], [0x80, 0x80]] as [[UInt8]] {
                    let characters = [lead, second] + tail
                    let valid = String(validating: characters, as: UTF8.self) != nil
                    #expect((error(in: characters, at: 0) == nil) == valid, "\(characters)")
                }
            }
        }
    }

    @Test("outside strings nothing but ASCII is accepted")
    func outsideStrings() {
        for json in ["[é]", "é", "[1é]", "{é:1}", "\u{3000}[]"] {
            #expect(throws: JSONError.self) { try guarded(json) { try JSON.validate($0, maxDepth: 9) } }
        }
    }
}
