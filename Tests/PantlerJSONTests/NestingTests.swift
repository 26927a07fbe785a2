import PantlerJSON
import Testing

import struct Support.SeededGenerator

@Suite("Nesting")
struct NestingTests {
    @Test("nesting up to the limit is accepted, one more is refused, at limits around the words of the bit stack")
    func limits() {
        for limit in [0, 1, 2, 63, 64, 65, 127, 128, 129, 512] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deepest = repeated(open, limit) + "1" + repeated(close, limit)
                #expect(throws: Never.self) { try JSON.validate(Array(deepest.utf8), maxDepth: limit) }
                let tooDeep = repeated(open, limit + 1) + "1" + repeated(close, limit + 1)
                #expect(throws: JSONError.tooDeep(limit: limit)) {
                    try JSON.validate(Array(tooDeep.utf8), maxDepth: limit)
                }
            }
        }
    }

    @Test("depth is what is open at a time, not how many containers there are")
    func siblings() {
        let json = "[" + repeated("[{}],", 10_000) + "[]]"
        #expect(throws: Never.self) { try JSON.validate(Array(json.utf8), maxDepth: 3) }
        #expect(throws: JSONError.tooDeep(limit: 2)) { try JSON.validate(Array(json.utf8), maxDepth: 2) }
    }

    @Test("JSON nested 10,000 deep is refused by the limit", arguments: ["[", "{\"a\":", "[{\"a\":"])
    func refusesDeep(_ open: String) {
        #expect(throws: JSONError.tooDeep(limit: 512)) {
            try JSON.validate(Array(repeated(open, 10_000).utf8), maxDepth: 512)
        }
    }

    @Test("ten million brackets do not exhaust the stack")
    func millions() throws {
        let depth = 10_000_000
        var json = [UInt8](repeating: UInt8(ascii: "["), count: depth)
        #expect(throws: JSONError.syntax(offset: depth, expected: "a value")) {
            try JSON.validate(json, maxDepth: .max)
        }
        json.append(contentsOf: [UInt8](repeating: UInt8(ascii: "]"), count: depth))
        #expect(try JSON.validate(json, maxDepth: .max) == 0..<2 * depth)
        json.removeLast()
        #expect(throws: JSONError.self) { try JSON.validate(json, maxDepth: .max) }
    }

    @Test("in a mixed nest every bracket must be closed by its own kind")
    func mixedClosers() throws {
        var random = SeededGenerator.announced("nesting")
        let kinds = (0..<300).map { _ in Bool.random(using: &random) }
        let open = kinds.map { $0 ? "[" : "{\"k\":" }.joined()
        let close = kinds.reversed().map { $0 ? "]" : "}" }
        #expect(throws: Never.self) { try JSON.validate(Array((open + "0" + close.joined()).utf8), maxDepth: 300) }
        for wrong in close.indices {
            var closers = close
            closers[wrong] = closers[wrong] == "]" ? "}" : "]"
            #expect(throws: JSONError.self, "level \(wrong)") {
                try JSON.validate(Array((open + "0" + closers.joined()).utf8), maxDepth: 300)
            }
        }
    }

    private func repeated(_ text: String, _ count: Int) -> String {
        String(repeating: text, count: count)
    }
}
