import PantlerJSON
import Testing

@Suite("Writer")
struct WriterTests {
    @Test("commas stand where they belong")
    func writes() throws {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("a")
        writer.integer(1)
        writer.member("b\n")
        writer.beginArray()
        writer.null()
        writer.bool(true)
        writer.beginObject()
        writer.endObject()
        writer.beginArray()
        writer.endArray()
        writer.string("\"x\"")
        writer.endArray()
        writer.member("c")
        writer.beginObject()
        writer.member("d")
        writer.raw(Array("1.50".utf8))
        writer.endObject()
        writer.member("e")
        writer.number(0.5)
        writer.member("f")
        writer.number(.nan)
        writer.member("g")
        writer.string(Array("é".utf8))
        writer.member("h")
        [UInt8](1...3).withUnsafeBytes { writer.base64($0) }
        writer.member("i")
        writer.bool(false)
        writer.endObject()
        #expect(
            text(writer.bytes)
                == #"{"a":1,"b\n":[null,true,{},[],"\"x\""],"#
                + #""c":{"d":1.50},"e":0.5,"f":null,"g":"é","h":"AQID","i":false}"#
        )
        #expect(try JSON.validate(writer.bytes, maxDepth: 4) == 0..<writer.bytes.count)
    }

    @Test("what is taken out in the midst is missing from the rest, and nothing else is")
    func takesBytes() {
        var writer = JSONWriter()
        var pieces: [String] = []
        writer.beginArray()
        for number in 0..<3 {
            writer.integer(number)
            pieces.append(text(writer.takeBytes()))
        }
        writer.endArray()
        #expect(pieces + [text(writer.bytes)] == ["[0", ",1", ",2", "]"])
    }

    @Test("an empty container needs no comma, and one after another does")
    func writesEmpty() {
        var writer = JSONWriter(capacity: 0)
        writer.beginArray()
        for _ in 0..<2 {
            writer.beginObject()
            writer.endObject()
        }
        writer.endArray()
        #expect(text(writer.bytes) == "[{},{}]")
    }
}
