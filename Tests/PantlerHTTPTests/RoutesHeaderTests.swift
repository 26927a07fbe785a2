internal import NIOHTTP1
import PantlerInsight
import PantlerModel
import PantlerStore
import Testing

@testable import PantlerHTTP

@Suite("Entity tags")
struct EntityTagTests {
    private func tags(_ values: [String], keepsWeak: Bool = true) throws -> EntityTags? {
        try EntityTags(HTTPHeaders(values.map { ("If-None-Match", $0) }), "If-None-Match", keepsWeak: keepsWeak)
    }

    @Test(
        "are versions in quotes, in any number",
        arguments: [
            (["\"7\""], [7]), (["\"1\", \"7\""], [1, 7]), (["\"1\",\"7\" ,\t\"3\""], [1, 7, 3]),
            (["\"1\"", "\"2\""], [1, 2]),
            (["W/\"7\""], [7]), ([",, \"7\" ,"], [7]), (["\"9007199254740991\""], [9_007_199_254_740_991]),
            (["\"0\""], []), (["\"07\""], []), (["\"9007199254740992\""], []), (["\"-7\""], []), (["\"\""], []),
            (["\"a,b\""], []),
            (["\"7x\", \"8\""], [8]),
        ] as [([String], [UInt64])]
    )
    func read(values: [String], versions: [UInt64]) throws {
        #expect(try tags(values) == EntityTags(versions: versions))
    }

    @Test("match strongly in If-Match: weak ones are left out")
    func weak() throws {
        #expect(try tags(["W/\"7\", \"8\""], keepsWeak: false) == EntityTags(versions: [8]))
    }

    @Test("are any by a star, and no condition where the field is not there")
    func any() throws {
        #expect(try tags([" * "]) == EntityTags(any: true))
        #expect(try tags([]) == nil)
    }

    @Test(
        "that are none are refused",
        arguments: [
            "7", "\"", "\"a\" \"b\"", "", ",", "*, \"7\"", "\"7\", *", "w/\"7\"", "W/7", "\"a b\"", "\"7\"x",
            "W/ \"7\"",
        ]
    )
    func malformed(value: String) {
        #expect(code { _ = try self.tags([value]) } == .headerInvalid)
    }
}

@Suite("Media types and Accept")
struct MediaTypeTests {
    @Test("have a type, a subtype, and printable parameters")
    func form() {
        for text in [
            "image/png", "a/b", "text/plain; charset=latin1", "text/plain ;x", "*/*", "application/vnd.api+json",
        ] {
            #expect(MediaType.isValid(text), "\(text)")
        }
        for text in [
            "", "png", "image/", "/png", "a/b/c", "image/png\r\nX: 1", "im age/png", "image/png ", "é/é",
            "text/plain; é",
            "a/" + String(repeating: "b", count: 254),
        ] {
            #expect(!MediaType.isValid(text), "\(text)")
        }
        #expect(MediaType.essence("Application/JSON ; charset=utf-8") == "application/json")
        // The Greek question mark, which Unicode has for equivalent to a semicolon; and the Kelvin sign, a small k of which is ours.
        for text in ["application/json\u{37e} a=b", "application/json\u{37e}"] {
            #expect(MediaType.essence(text) != "application/json")
            #expect(!MediaType.isValid(text))
        }
        #expect("CHUN\u{212a}ED K".asciiLowercased.utf8.elementsEqual("chun\u{212a}ed k".utf8))
    }

    @Test(
        "are accepted by the most specific range",
        arguments: [
            ([], 1), ([""], 1), (["*/*"], 1), (["application/*"], 1), (["Application/JSON"], 1), (["text/html"], 0),
            (["text/*"], 0), (["*/*, application/json;q=0"], 0), (["application/*;q=0", "*/*"], 0),
            (["application/json;q=0.5, */*;q=0.1"], 0.5), (["*/*;q=0"], 0), (["application/json ; q=0.000"], 0),
            (["text/html, application/xhtml+xml, */*;q=0.8"], 0.8), (["application/json; charset=utf-8; Q=0.3"], 0.3),
            (["text/html;a=\"x,application/json\""], 0), (["application/json;q=nonsense"], 1),
        ] as [([String], Double)]
    )
    func accept(fields: [String], quality: Double) {
        #expect(Accept(HTTPHeaders(fields.map { ("Accept", $0) })).quality(of: "application/json") == quality)
    }

    @Test(
        "take gzip where it is named, or anything is, and not where it is refused",
        arguments: [
            ([], false), ([""], false), (["gzip"], true), (["x-gzip"], true), (["deflate, GZIP;q=0.1"], true),
            (["br"], false),
            (["gzip;q=0"], false), (["*"], true), (["*, gzip;q=0"], false), (["identity"], false),
            (["br", "gzip"], true),
        ] as [([String], Bool)]
    )
    func gzip(fields: [String], isTaken: Bool) {
        #expect(Accept.takesGzip(HTTPHeaders(fields.map { ("Accept-Encoding", $0) })) == isTaken)
    }

    @Test(
        "choose OpenMetrics where it is named, and not liked less than text",
        arguments: [
            ("", false), ("*/*", false), ("text/plain", false), ("application/openmetrics-text; version=1.0.0", true),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.9", false),
            ("application/openmetrics-text;q=0", false),
            ("application/*", false),
        ]
    )
    func metricsFormat(accept: String, isOpen: Bool) {
        let format = Router.format(Accept(accept.isEmpty ? [:] : ["Accept": accept]))
        #expect(format.contentType.hasPrefix("application/openmetrics-text") == isOpen)
    }
}
