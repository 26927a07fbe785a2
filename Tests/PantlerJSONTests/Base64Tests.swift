import PantlerJSON
import Testing

import struct Support.SeededGenerator

@Suite("Base64")
struct Base64Tests {
    private func encode(_ bytes: [UInt8]) -> String {
        var output: [UInt8] = []
        guarded(bytes) { Base64.encode($0, into: &output) }
        #expect(output.count == Base64.encodedCount(bytes.count))
        return text(output)
    }

    private func decode(_ text: String) -> [UInt8]? {
        guarded(text) { Base64.decode($0) }
    }

    @Test(
        "the examples of RFC 4648",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func examples(_ plain: String, _ coded: String) {
        #expect(encode(Array(plain.utf8)) == coded)
        #expect(decode(coded) == Array(plain.utf8))
    }

    @Test("any bytes come back")
    func roundTrip() {
        var random = SeededGenerator.announced("base64")
        #expect(encode(Array(0...255)).hasPrefix("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v"))
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(decode(encode(bytes)) == bytes)
        }
    }

    @Test("the whole alphabet is read")
    func alphabet() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        #expect(decode(alphabet).map(encode) == alphabet)
        for byte in UInt8(0)...255 where !alphabet.utf8.contains(byte) {
            for position in 0..<4 where byte != UInt8(ascii: "=") || position < 3 {
                var characters = Array("AAAA".utf8)
                characters[position] = byte
                #expect(guarded(characters) { Base64.decode($0) } == nil, "byte \(byte) at \(position)")
            }
        }
    }

    @Test(
        "what is not canonical is refused",
        arguments: [
            "A", "AA", "AAA", "AAAAA", "Zg", "Zg=", "Zm8", "=", "==", "===", "====", "A===", "Zg==Zg==", "Zm8=Zg==",
            "=AAA", "A=AA",
            "AA=A", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", " Zm9v", "Zm9v=", "-_-_", "Zg=\n", "Zm9vYg==\r\n", "é==",
        ]
    )
    func refuses(_ coded: String) {
        #expect(decode(coded) == nil)
    }
}
