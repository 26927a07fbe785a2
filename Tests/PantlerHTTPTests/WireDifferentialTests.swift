import Foundation
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

/// Holds the fast lane and SwiftNIO's decoder against each other over requests that were mutated at random.
///
/// `PANTLER_FUZZ_REQUESTS` says how many; 10 million are a matter of minutes in a release build.
@Suite("The fast lane and the decoder")
struct WireDifferentialTests {
    private static let count =
        ProcessInfo.processInfo.environment["PANTLER_FUZZ_REQUESTS"].flatMap { Int($0) } ?? 200_000

    @Test("never disagree on where a request ends or what it asks")
    func agree() throws {
        var mutator = RequestMutator()
        let bench = try DecoderBench()
        let hosts = ServedHosts([], address: "127.0.0.1")
        var taken = 0
        for _ in 0..<Self.count {
            let bytes = mutator.next()
            let end = bytes.withUnsafeBytes { MessageBoundary.endOfFields($0) }
            switch verdict(bytes, hosts) {
            case .other: break
            case .incomplete:
                // Else the connection would wait for a head that is there.
                guard end == nil else { return fail("awaits a whole head", bytes, mutator) }
            case .request(let length, let target):
                taken += 1
                guard length == end else { return fail("ends elsewhere", bytes, mutator) }
                do {
                    let head = try bench.head(bytes[..<length], hosts, HTTPLimits())
                    guard bench.hasEnded, !bench.seesHead(bytes[..<(length - 1)]) else {
                        return fail("ends elsewhere for the decoder", bytes, mutator)
                    }
                    guard
                        head.method == .get, head.target == Array(target.utf8), head.length == 0, head.isKeptAlive,
                        !head.isHTTP10, !head.expectsContinue, !head.isUpgrade
                    else { return fail("is another request: \(head)", bytes, mutator) }
                    let call = try judge(.get, target, head.headers)
                    guard call.resource == .entry || call.resource == .value, call.condition == .none else {
                        return fail("is another call: \(call)", bytes, mutator)
                    }
                } catch {
                    return fail("is refused by the decoder: \(error)", bytes, mutator)
                }
            }
        }
        #expect(taken > Self.count / 20, "the lane took \(taken) of \(Self.count): the mutations leave too little")
    }

    private enum Verdict {
        case request(length: Int, target: String)
        case incomplete, other
    }

    private func verdict(_ bytes: [UInt8], _ hosts: ServedHosts) -> Verdict {
        bytes.withUnsafeBytes { bytes in
            switch FastLane.parse(bytes, hosts, headLimit: 16 << 10) {
            case .incomplete: return .incomplete
            case .other: return .other
            case .request(let request):
                let view = request.aspect == .entry ? "entries" : "values"
                let namespace = String(decoding: request.namespace, as: UTF8.self)
                let key = String(decoding: request.key, as: UTF8.self)
                return .request(length: request.length, target: "/v1/namespaces/\(namespace)/\(view)/\(key)")
            }
        }
    }

    private func fail(_ what: String, _ bytes: [UInt8], _ mutator: RequestMutator) {
        Issue.record("\(what): \(String(decoding: bytes, as: UTF8.self).debugDescription), \(mutator.generator)")
    }
}

/// Requests that are nearly in form.
struct RequestMutator {
    private(set) var generator = SeededGenerator()

    private static let seeds: [[UInt8]] = [
        "GET /v1/namespaces/shop/entries/user:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /v1/namespaces/a/values/x/y HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        "GET /v1/namespaces/shop-1/entries/k HTTP/1.1\r\nHost: [::1]\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /v1/namespaces/s/entries/k HTTP/1.1\r\nhost:localhost\r\nAccept: application/json\r\nTraceparent: 00-1-2-01\r\n\r\n",
        "GET /v1/namespaces/s/values/k HTTP/1.1\r\nX-Request-ID: 1\r\nHOST: localhost \r\nAccept-Language: en\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ].map { Array($0.utf8) }

    private static let words: [[UInt8]] = [
        "\r\n", "\n", "\r", "\r\n\r\n", "\n\n", " ", "\t", ":", ": ", "\0", "%41", "%", "?peek", "/", "//", "..", "#",
        "\u{7f}", "é",
        "Content-Length: 3\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
        "Upgrade: h2c\r\n", "Connection: upgrade\r\n", "Connection: close\r\n", "Host: localhost\r\n", "Host: evil\r\n",
        "Accept: */*\r\n", "User-Agent: x\r\n", " HTTP/1.1", " HTTP/1.0", "HTTP/1.1\r\n", "GET ", "HEAD ", "0", "~",
        "_", "-",
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
