import Foundation
import PantlerModel
import Support
import Testing

@testable import PantlerHTTP

/// Holds the fast lane and SwiftNIO's decoder against each other over requests that were mutated at random.
///
/// `PANTLER_FUZZ_REQUESTS` says how many; 10 million take eleven minutes in a debug build.
@Suite("The fast lane and the decoder")
struct WireDifferentialTests {
    private static let count =
        ProcessInfo.processInfo.environment["PANTLER_FUZZ_REQUESTS"].flatMap { Int($0) } ?? 200_000

    @Test("never disagree on where a request ends or what it asks")
    func agree() throws {
        var mutator = RequestMutator()
        let agreement = try LaneAgreement()
        var counts: [Method: Int] = [:]
        for _ in 0..<Self.count {
            let bytes = mutator.next()
            do {
                guard let method = try agreement.check(bytes) else { continue }
                counts[method, default: 0] += 1
            } catch {
                Issue.record(
                    "\(error): \(String(decoding: bytes, as: UTF8.self).debugDescription), \(mutator.generator)"
                )
                return
            }
        }
        for method in [Method.get, .put] {
            let count = counts[method] ?? 0
            #expect(count > Self.count / 40, "the lane took \(count) of \(Self.count): the mutations leave too little")
        }
    }
}

/// Requests that are nearly in form.
struct RequestMutator {
    private(set) var generator = SeededGenerator()

    private static let seeds: [[UInt8]] =
        [
            "GET /v1/namespaces/shop/entries/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /v1/namespaces/a/values/x/y HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
            "GET /v1/namespaces/shop-1/entries/k HTTP/1.1\r\nHost: [::1]\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n",
            "GET /v1/namespaces/s/entries/k HTTP/1.1\r\nhost:localhost\r\nAccept: application/json\r\nTraceparent: 00-1-2-01\r\n\r\n",
            "GET /v1/namespaces/s/values/k HTTP/1.1\r\nX-Request-ID: 1\r\nHOST: localhost \r\nAccept-Language: en\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            put("shop", "user:1", "{\"value\":1}"), put("a", "x/y", "{}", "Accept: */*\r\nUser-Agent: curl/8\r\n"),
            put("s", "k", "{\"value\":[1],\"ttl\":60}", "Connection: keep-alive\r\n") + "GET / HTTP/1.1\r\n\r\n",
            "GET /v1/namespaces/s/entries/k HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer pt_abcdefgh_x\r\n\r\n",
            put("s", "k", "{}", "authorization:Bearer  pt_abcdefgh_x \r\nAccept: */*\r\n"),
            put("shop-1", "k", "", "Traceparent: 00-1-2-01\r\n"), put("s", "k", "0123456789\r\n\r\n0123456789"),
        ].map { Array($0.utf8) } + ClientHeads.all.map { Array($0.request.utf8) }

    private static func put(_ namespace: String, _ key: String, _ body: String, _ fields: String = "") -> String {
        "PUT /v1/namespaces/\(namespace)/entries/\(key) HTTP/1.1\r\nHost: localhost\r\n\(fields)"
            + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private static let words: [[UInt8]] = [
        "\r\n", "\n", "\r", "\r\n\r\n", "\n\n", " ", "\t", ":", ": ", "\0", "%41", "%", "?peek", "/", "//", "..", "#",
        "\u{7f}", "é",
        "Content-Length: 3\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
        "Upgrade: h2c\r\n", "Upgrade: websocket\r\n", "Connection: upgrade\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\n", "Connection: close\r\n", "Host: localhost\r\n", "Host: evil\r\n",
        "Accept: */*\r\n", "User-Agent: x\r\n", " HTTP/1.1", " HTTP/1.0", "HTTP/1.1\r\n", "GET ", "HEAD ", "0", "~",
        "_", "-", "PUT ", "+", ",", "; ", "{}", "00", "1", "Content-Type: application/json\r\n",
        "Content-Length: 13\r\n", "Content-Length: 2\r\n", "Content-Length: 11\r\n", "If-Match: *\r\n",
        "Trailer: x\r\n",
        "Proxy-Connection: close\r\n", "Connection: keep-alive\r\n", "Content-Encoding: gzip\r\n", "Lease: x\r\n",
        "TE: trailers\r\n", "Authorization: Bearer x\r\n", "Authorization:\r\n", "AUTHORIZATION: Basic eA==\r\n",
        "Bearer ",
        "Origin: http://localhost\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n",
        "X-Unknown: \tx\r\n", "Content-Type: multipart/form-data\r\n", "%C3%A9", "%00", "%2e", "%ff", "%2F",
        "HTTP/1.0\r\n", "\u{c3}", "X-Request-ID: a\r\n", "x-request-id:\t7f3a-9 \r\n", "X-Request-ID:\r\n",
        "X-Request-ID: \"\r\n",
        "X-Request-ID: \(String(repeating: "x", count: 64))\r\n",
        "X-Request-ID: \(String(repeating: "x", count: 65))\r\n",
    ].map { Array($0.utf8) }

    mutating func next() -> [UInt8] {
        var bytes = Self.seeds[below(Self.seeds.count)]
        for _ in 0..<below(4) { mutate(&bytes) }
        return bytes.isEmpty ? [0] : bytes
    }

    private mutating func below(_ bound: Int) -> Int { Int(generator.next() % UInt64(max(1, bound))) }

    private mutating func mutate(_ bytes: inout [UInt8]) {
        let place = below(bytes.count + 1)
        switch below(8) {
        case 0: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: generator.next()) }
        case 1: if place < bytes.count { bytes[place] ^= 0x20 }
        case 2: bytes.insert(UInt8(truncatingIfNeeded: generator.next()), at: place)
        case 3: if place < bytes.count { bytes.remove(at: place) }
        case 4: bytes.insert(contentsOf: Self.words[below(Self.words.count)], at: place)
        case 5:
            // At the beginning of a line, where fields can stand.
            let feeds = bytes.indices.filter { bytes[$0] == 10 }
            if !feeds.isEmpty {
                bytes.insert(contentsOf: Self.words[below(Self.words.count)], at: feeds[below(feeds.count)] + 1)
            }
        case 6:
            let end = min(bytes.count, place + below(12))
            bytes.replaceSubrange(place..<end, with: bytes[place..<end] + bytes[place..<end])
        default: if below(4) == 0 { bytes.removeLast(bytes.count - place) }
        }
    }
}
