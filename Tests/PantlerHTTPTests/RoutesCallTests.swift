internal import NIOHTTP1
import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("The head of a request")
struct CallTests {
    private let json: HTTPHeaders = ["Content-Type": "application/json"]
    private let shop = "/v1/namespaces/shop"

    @Test("says namespace, key and query, decoded once")
    func decoded() throws {
        let call = try judge(.get, "\(shop)/entries/a%2Fb%2525+c?peek")
        #expect(call.namespace == "shop")
        #expect(call.key == Array("a/b%25+c".utf8))
        #expect(try call.query.peek())
        let byQuery = try judge(.get, "\(shop)/entry?key=a+b%20c%2B%26%3D&peek=false")
        #expect(byQuery.key == Array("a b c+&=".utf8))
        #expect(try !byQuery.query.peek())
        #expect(try judge(.get, "/v1/namespaces/sho%70/entries/a").namespace == "shop")
    }

    @Test(
        "is refused with the first fault in a fixed order",
        arguments: [
            (.get, "/nothing", .routeNotFound), (.post, "/livez", .methodNotAllowed),
            (.other, "/livez", .methodNotAllowed),
            (.post, "/v1/namespaces/Shop/entries/a", .methodNotAllowed),
            (.get, "/v1/namespaces/Shop/entries/%FF", .namespaceInvalid), (.get, "/v1/namespaces/", .namespaceInvalid),
            (.get, "/v1/namespaces/a%2Fb", .namespaceInvalid), (.get, "/v1/namespaces/%zz", .namespaceInvalid),
            (.get, "/v1/namespaces/shop/entries/a%00", .keyInvalid),
            (.get, "/v1/namespaces/shop/entries/%C0%AF", .keyInvalid),
            (.get, "/v1/namespaces/shop/entries/a%2", .keyInvalid),
            (.get, "/v1/namespaces/shop/entry?key=%zz", .keyInvalid),
            (.get, "/v1/namespaces/shop/entries/..", .keyInvalid),
            (.put, "/v1/namespaces/shop/values/%2E", .keyInvalid),
            (.get, "/v1/namespaces/shop/entries/?x", .keyRequired),
            (.post, "/v1/namespaces/shop/entries/", .keyRequired),
            (.get, "/v1/namespaces/shop/entry", .keyRequired), (.get, "/v1/namespaces/shop/entry?key", .keyRequired),
            (.get, "/v1/namespaces/shop/entries/a?pek", .queryInvalid),
            (.put, "/v1/namespaces/shop/entries/a?miss=204", .queryInvalid),
            (.get, "/v1/stats?miss=204", .queryInvalid),
            (.get, "/v1/namespaces/shop/entries/a?key=b", .queryInvalid),
            (.get, "/v1/namespaces/shop/entry?key=a&key=a", .queryInvalid), (.get, "/v1/stats?peek", .queryInvalid),
            (.delete, "/v1/namespaces/shop/entries/a?peek", .queryInvalid), (.get, "/livez?x=1", .queryInvalid),
            (.put, "/v1/namespaces/shop/entries/a?ttl=1", .queryInvalid),
            (.get, "/v1/namespaces/shop/entries?limit=%zz", .queryInvalid),
            (.delete, "/v1/namespaces/shop?ttl=1", .queryInvalid),
            (.put, "/v1/namespaces/shop?confirm=shop", .queryInvalid),
            (.put, "/v1/namespaces/shop", .unsupportedMediaType),
            (.post, "/v1/namespaces/shop/invalidate", .unsupportedMediaType),
        ] as [(Method, String, Problem.Code)]
    )
    func faults(method: Method, target: String, expected: Problem.Code) {
        #expect(code { try judge(method, target) } == expected)
    }

    @Test("has a key of 1 to 1,024 bytes, counted decoded")
    func keyLength() throws {
        #expect(try judge(.get, "\(shop)/entries/" + String(repeating: "%C3%A9", count: 512)).key.count == 1024)
        #expect(code { try judge(.get, "\(shop)/entries/" + String(repeating: "%C3%A9", count: 513)) } == .keyTooLong)
        #expect(code { try judge(.get, "\(shop)/value?key=" + String(repeating: "k", count: 1025)) } == .keyTooLong)
    }

    @Test(
        "has the media type that its call takes",
        arguments: [
            (.put, "entries/a", "application/json", true),
            (.put, "entries/a", "APPLICATION/JSON ; charset=utf-8", true),
            (.put, "entries/a", "application/merge-patch+json", true), (.put, "entries/a", "text/json", true),
            (.put, "entries/a", "application/x-www-form-urlencoded", true), (.put, "entries/a", "", true),
            (.put, "entries/a", "multipart/form-data; boundary=x", false),
            (.put, "entries/a", "Multipart/mixed", false),
            (.patch, "entries/a", "application/merge-patch+json", true),
            (.patch, "entries/a", "application/json", true), (.patch, "entries/a", "text/plain", false),
            (.put, "", "text/plain", false),
            (.patch, "", "application/merge-patch+json", true), (.patch, "", "application/json", true),
            (.patch, "", "text/plain", false),
            (.post, "batch/get", "application/json", true),
            (.post, "counters/a", "multipart/form-data; boundary=x", false),
            (.put, "values/a", "whatever/it-is", true), (.put, "values/a", "multipart/form-data", false),
            (.put, "values/a", "application/x-www-form-urlencoded", true),
        ] as [(Method, String, String, Bool)]
    )
    func mediaTypes(method: Method, path: String, type: String, isTaken: Bool) {
        let target = path.isEmpty ? shop : "\(shop)/\(path)"
        let refused = code { try judge(method, target, ["Content-Type": type]) }
        #expect(refused == (isTaken ? nil : .unsupportedMediaType))
    }

    @Test("has its body as it is, or is refused: nothing would tell of a content coding")
    func contentCoding() throws {
        for path in ["entries/a", "values/a"] {
            var headers = json
            headers.add(name: "Content-Encoding", value: "gzip")
            #expect(code { try judge(.put, "\(shop)/\(path)", headers) } == .unsupportedMediaType)
            headers.replaceOrAdd(name: "Content-Encoding", value: "identity")
            try judge(.put, "\(shop)/\(path)", headers)
        }
    }

    @Test("is asked by OPTIONS what it takes, whatever else it says")
    func options() throws {
        for target in ["\(shop)/entries/", "/v1/namespaces/Shop/entry", "/livez?x"] { try judge(.options, target) }
        #expect(code { try judge(.options, "/nothing") } == .routeNotFound)
    }
}

@Suite("Percent-decoding")
struct PercentDecodingTests {
    @Test(
        "decodes once, and folds nothing",
        arguments: [
            ("", ""), ("a+b", "a+b"), ("%2B", "+"), ("%41%6a%6A", "Ajj"), ("%2525", "%25"), ("..%2F..", "../.."),
            ("%00", "\0"),
        ]
    )
    func decodes(encoded: String, decoded: String) throws {
        let inQuery = decoded.replacing("a+b", with: "a b")
        #expect(
            Array(encoded.utf8).withUnsafeBytes { PercentDecoding.decode($0, plusIsSpace: true) } == Array(inQuery.utf8)
        )
        #expect(Array(encoded.utf8).withUnsafeBytes { PercentDecoding.decode($0) } == Array(decoded.utf8))
    }

    @Test(
        "takes no percent sign without two hexadecimal digits",
        arguments: ["%", "a%", "%4", "%4g", "%g4", "%%41", "% 41", "%+1"]
    )
    func malformed(encoded: String) {
        #expect(Array(encoded.utf8).withUnsafeBytes { PercentDecoding.decode($0) } == nil)
    }
}

@Suite("Queries")
struct QueryTests {
    private func query(_ text: String) throws -> Query {
        try text.withBytes { bytes throws(Problem) in try Query(bytes, allowed: Set(QueryName.allCases)) }
    }

    @Test("say each parameter once, whose name may be encoded too")
    func values() throws {
        let query = try query("prefix=a%26b&li%6Dit=7&&cursor=&peek")
        #expect(query[.prefix] == Array("a&b".utf8))
        #expect(try query.limit() == 7)
        #expect(query[.cursor] == [])
        #expect(query[.ttl] == nil)
        #expect(code { _ = try self.query("ttl=1&ttl=1") } == .queryInvalid)
        #expect(code { _ = try self.query("TTL=1") } == .queryInvalid)
        #expect(code { _ = try self.query("=1") } == .queryInvalid)
    }

    @Test("limit a page to 1 to 1,000, and to 100 when nothing is said")
    func limits() throws {
        #expect(try query("").limit() == 100)
        #expect(try query("limit=1000").limit() == 1000)
        for text in ["0", "1001", "-1", "+1", "", "ten", "1.0", "99999999999999999999"] {
            #expect(code { _ = try self.query("limit=\(text)").limit() } == .limitInvalid, "\(text)")
        }
    }

    @Test("say 204 or 404 of a miss, and 404 when nothing is said")
    func miss() throws {
        #expect(try query("").missStatus() == 404)
        #expect(try query("miss=404").missStatus() == 404)
        #expect(try query("miss=204").missStatus() == 204)
        for text in ["miss", "miss=", "miss=200", "miss=0204", "miss=true"] {
            #expect(code { _ = try self.query(text).missStatus() } == .queryInvalid)
        }
    }

    @Test("peek by nothing, true or false")
    func peek() throws {
        for (text, peeks) in [("peek", true), ("peek=", true), ("peek=true", true), ("peek=false", false), ("", false)]
        {
            #expect(try query(text).peek() == peeks)
        }
        for text in ["peek=1", "peek=True", "peek=no"] {
            #expect(code { _ = try self.query(text).peek() } == .queryInvalid)
        }
    }
}
