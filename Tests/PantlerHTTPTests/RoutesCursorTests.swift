import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Cursors")
struct CursorTests {
    private let cursor = Cursor(namespace: 7, prefix: Array("user/".utf8), after: Array("user/42é".utf8))

    private func read(_ text: String, _ namespace: NamespaceID = 7, _ prefix: String = "user/") throws -> Cursor {
        try Cursor(Array(text.utf8), namespace: namespace, prefix: Array(prefix.utf8))
    }

    @Test("come back as they were given, whatever the key")
    func roundTrip() throws {
        #expect(try read(cursor.text) == cursor)
        for length in 1...40 {
            let key = (0..<length).map { UInt8(truncatingIfNeeded: 255 - $0 * 7) }
            let cursor = Cursor(namespace: 1, prefix: [], after: key)
            #expect(try Cursor(Array(cursor.text.utf8), namespace: 1, prefix: []).after == key)
            #expect(cursor.text.utf8.allSatisfy { MediaType.isTokenByte($0) }, "it needs no encoding in a URL")
        }
    }

    @Test("of another namespace or another prefix are refused")
    func foreign() {
        #expect(code { _ = try read(cursor.text, 8) } == .cursorInvalid)
        #expect(code { _ = try read(cursor.text, 7, "") } == .cursorInvalid)
        #expect(code { _ = try read(cursor.text, 7, "user/4") } == .cursorInvalid)
    }

    @Test("that are damaged anywhere are refused")
    func damaged() {
        let text = Array(cursor.text.utf8)
        for index in text.indices {
            var damaged = text
            damaged[index] = damaged[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(code { _ = try Cursor(damaged, namespace: 7, prefix: Array("user/".utf8)) } == .cursorInvalid)
            #expect(
                code { _ = try Cursor(Array(text[..<index]), namespace: 7, prefix: Array("user/".utf8)) }
                    == .cursorInvalid
            )
        }
        for text in ["nonsense", "", "====", cursor.text + "=", cursor.text + "A"] {
            #expect(code { _ = try read(text) } == .cursorInvalid, "\(text)")
        }
    }
}
