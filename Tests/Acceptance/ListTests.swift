import Support
import Testing

@Suite("Listings", .server())
struct ListTests {
    let http: HTTPClient

    init() throws {
        http = try ServerTrait.server.client
    }

    static func fill(_ http: HTTPClient, _ ns: String, _ keys: [String]) throws {
        for begin in stride(from: 0, to: keys.count, by: 1000) {
            let entries = keys[begin..<min(begin + 1000, keys.count)].map {
                #"{"key":\#(quoted($0)),"value":"12345678"}"#
            }
            let set = expect(
                try http.post("\(ns)/batch/set", #"{"entries":[\#(entries.joined(separator: ","))]}"#),
                200
            )
            #expect(set.json["errors"].array.isEmpty)
        }
    }

    /// All pages of a listing, followed by their cursors.
    static func pages(_ http: HTTPClient, _ ns: String, _ query: String) throws -> [[JSON]] {
        var pages: [[JSON]] = []
        var cursor = ""
        repeat {
            let page = expect(try http.get("\(ns)/entries?\(query)\(cursor)"), 200)
            pages.append(page.json["entries"].array)
            guard let next = page.json["cursor"].string else {
                #expect(page.json["cursor"].isNull)
                break
            }
            cursor = "&cursor=\(next)"
        } while pages.count < 1000
        return pages
    }

    @Test("a cursor goes through 2,500 keys in the order of their bytes", arguments: ["memory", "behind", "through"])
    func cursor(durability: String) throws {
        let ns = try http.namespace(#"{"durability":"\#(durability)"}"#)
        let keys = (0..<2500).map { "key/\($0 &* 7919 % 2500)" }
        try Self.fill(http, ns, keys)
        let pages = try Self.pages(http, ns, "limit=1000")
        #expect(pages.map(\.count) == [1000, 1000, 500])
        let listed = pages.joined().compactMap { $0["key"].string }
        #expect(listed == keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
        #expect(try Self.pages(http, ns, "limit=7&prefix=key/24").joined().count == 111)
        #expect(try http.get("\(ns)/entries").json["entries"].array.count == 100)
        #expect(try http.get("\(ns)/stats").json["gets"].int == 0)
    }

    @Test("a page of long keys comes whole, in chunks to who knows them")
    func longKeys() throws {
        let ns = try http.namespace()
        let keys = (0..<1000).map { "\($0 + 1000)/" + String(repeating: "k", count: 600) }
        for begin in stride(from: 0, to: 1000, by: 200) { try Self.fill(http, ns, Array(keys[begin..<begin + 200])) }
        let connection = try RawConnection(port: ServerTrait.server.port)
        for (version, isInChunks) in [("HTTP/1.1", true), ("HTTP/1.0", false)] {
            try connection.send(
                "GET \(ns)/entries?limit=1000 \(version)\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
            )
            let page = try connection.receive()
            #expect((page["Transfer-Encoding"] == "chunked") == isInChunks)
            #expect(page.json["entries"].array.compactMap { $0["key"].string } == keys)
            #expect(page.json["cursor"].isNull)
        }
        #expect(try Self.pages(http, ns, "limit=999").map(\.count) == [999, 1])
    }

    @Test("a row tells key, version, expiry, size and tier")
    func row() throws {
        let ns = try http.namespace()
        let version = try http.store(ns, "a", #"{"n": 1}"#, #""expires_at":"2099-01-01T00:00:00Z""#)
        expect(try http.put("\(ns)/values/b", bytes: [1, 2, 3]), 201)
        let page = expect(try http.get("\(ns)/entries"), 200)
        #expect(page.json.names == ["entries", "cursor"])
        let row = page.json["entries"][0]
        #expect(row.names == ["key", "version", "expires_at", "size", "tier"])
        #expect(row["version"].int == version)
        #expect(row["expires_at"].string == "2099-01-01T00:00:00.000Z")
        #expect(row["size"].int == 8)
        #expect(["memory", "disk"].contains(row["tier"].string))
        #expect(page.json["entries"][1]["size"].int == 3)
        #expect(page.json["entries"][1]["expires_at"].isNull)
    }

    @Test("what is deleted, expired or invalidated is not listed")
    func gone() throws {
        let ns = try http.namespace()
        try http.store(ns, "deleted")
        try http.store(ns, "expired", "1", #""ttl":0.05"#)
        try http.store(ns, "invalidated", "1", #""tags":["t"]"#)
        try http.store(ns, "kept")
        expect(try http.delete("\(ns)/entries/deleted"), 204)
        expect(try http.post("\(ns)/invalidate", #"{"tags":["t"]}"#), 200)
        try eventually("only what lives is listed") {
            try http.get("\(ns)/entries").json["entries"].array.map { $0["key"].string } == ["kept"]
        }
        expect(try http.post("\(ns)/invalidate", #"{"all":true}"#), 200)
        #expect(try http.get("\(ns)/entries").text == #"{"entries":[],"cursor":null}"#)
    }

    @Test(
        "while others write, no key comes twice and none is left out that was there all along",
        arguments: ["memory", "behind"]
    )
    func whileWriting(durability: String) throws {
        let ns = try http.namespace(#"{"durability":"\#(durability)"}"#)
        let stable = (0..<1200).map { "s\($0)" }
        try Self.fill(http, ns, stable)
        let server = try ServerTrait.server
        let over = Shared(false)
        let writers = BackgroundThreads(3) { thread in
            let http = server.client
            var generator = SeededGenerator(seed: UInt64(thread))
            var writes = 0
            while !over.value {
                let number = Int(generator.next() % 1200)
                switch generator.next() % 3 {
                case 0: try http.store(ns, "s\(number)", "2")
                case 1: try http.store(ns, "s\(number)-\(thread)")
                default: _ = try http.delete("\(ns)/entries/s\(number)-\(thread)")
                }
                writes += 1
            }
            return writes
        }
        defer { over.value = true }
        for _ in 0..<4 {
            let keys = try Self.pages(http, ns, "limit=97&prefix=s").joined().compactMap { $0["key"].string }
            #expect(Set(keys).count == keys.count)
            #expect(Set(stable).subtracting(keys).isEmpty)
        }
        over.value = true
        #expect(try writers.join().allSatisfy { $0 > 0 })
    }

    @Test(
        "listings that cannot be are refused",
        arguments: [
            ("cursor=nonsense", "cursor_invalid"), ("cursor=", "cursor_invalid"), ("cursor=%FF", nil),
            ("limit=0", "limit_invalid"),
            ("limit=1001", "limit_invalid"), ("limit=-1", "limit_invalid"), ("limit=ten", "limit_invalid"),
            ("limit=", "limit_invalid"),
        ] as [(String, String?)]
    )
    func refused(query: String, code: String?) throws {
        let ns = try http.namespace("{}")
        expect(try http.get("\(ns)/entries?\(query)"), 400, code)
    }

    @Test("a cursor of another namespace or prefix is no way in")
    func foreignCursor() throws {
        let first = try http.namespace()
        let second = try http.namespace()
        try Self.fill(http, first, ["a1", "a2", "b1"])
        try Self.fill(http, second, ["a1", "c1"])
        let cursor = try #require(try http.get("\(first)/entries?limit=1").json["cursor"].string)
        let response = try http.get("\(second)/entries?cursor=\(cursor)")
        #expect(
            response.status == 400
                || response.json["entries"].array.allSatisfy { ["a1", "c1"].contains($0["key"].string) }
        )
    }
}
