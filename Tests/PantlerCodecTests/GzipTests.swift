import PantlerCodec
import Support
import Testing

@Suite("Texts for clients")
struct GzipTests {
    @Test("are what gzip makes of them, and come back whole", arguments: [0, 1, 1000, 300_000])
    func wholeAgain(lines: Int) throws {
        let text = (0..<lines).map { "pantler_hits_total{namespace=\"shop\"} \($0)\n" }.joined()
        let encoded = try #require(Array(text.utf8).withUnsafeBytes { Gzip.encode($0) })
        #expect(encoded.count < text.utf8.count / 4 || lines < 2)
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let result = try Command.run(program: ["gzip", "-dc", try folder.write(encoded, to: "text.gz")])
        #expect(result.status == 0)
        #expect(result.output == text)
    }
}
