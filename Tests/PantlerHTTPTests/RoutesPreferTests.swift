import NIOHTTP1
import Testing

@testable import PantlerHTTP

@Suite("What a request prefers")
struct RoutesPreferTests {
    private func prefer(_ fields: String...) -> Prefer { Prefer(HTTPHeaders(fields.map { ("Prefer", $0) })) }

    @Test(
        "is found whatever its order, its case, and the space around it",
        arguments: [
            ["return=minimal, bytes=raw"], ["bytes=raw,return=minimal"], ["Return = Minimal ,\tBYTES\t=\"RAW\""],
            ["respond-async, return=minimal; x=y ;z, wait=10 , bytes=raw;a=\"b,c;d\""],
            ["return=minimal", "bytes=raw"],
            ["bytes=raw", "x", "return=\"minimal\""], [",, return=minimal, ,bytes=raw,"],
            ["return=minimal, return=representation, bytes=raw, bytes=x"],
            ["x=\"a\\\", b\", bytes=raw, return=\"min\\imal\""],
        ]
    )
    func found(fields: [String]) {
        let prefer = Prefer(HTTPHeaders(fields.map { ("prefer", $0) }))
        #expect(prefer["return"] == "minimal" && prefer["bytes"] == "raw")
    }

    @Test("is nothing that stands in quotes, in parameters, or in no form")
    func none() {
        #expect(prefer()["return"] == nil)
        #expect(prefer("x=\"a, return=minimal, bytes=raw\"")["return"] == nil)
        #expect(prefer("x; return=minimal; bytes=raw")["bytes"] == nil)
        #expect(prefer("return minimal, =raw, ret urn=minimal, \"return\"=minimal")["return"] == nil)
        #expect(prefer("return, bytes=")["return"] == "")
        #expect(prefer("return=representation, return=minimal")["return"] == "representation")
    }
}
