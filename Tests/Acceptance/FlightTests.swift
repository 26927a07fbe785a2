import Support
import Testing

/// What requests may cost in memory, against a service that has little of it for them: see also `Heavy/FlightBoundTests`.
@Suite(
    "Bytes in flight",
    .server("limits:\n  bytes_in_flight: 4MiB\n  answer_size: 1MiB\n  body_timeout: 60s\n"),
    .serialized
)
struct FlightTests {
    let server: ServerProcess
    let http: HTTPClient
    let ns: String

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace()
    }

    private func inFlight() throws -> Int { Int(try server.metrics().sum("pantler_bytes_in_flight")) }

    private func refusals() throws -> Int { Int(try server.metrics().sum("pantler_room_refusals_total")) }

    /// A connection that has sent the head of a put and a part of its body.
    private func begin(_ key: String, body: Int, sent: Int) throws -> RawConnection {
        let connection = try RawConnection(port: server.port)
        try connection.send(http.head("PUT", "\(ns)/values/\(key)", [:], bodyCount: body))
        try connection.send([UInt8](repeating: 1, count: sent))
        return connection
    }

    /// A text of bytes that do not compress.
    private func text(_ count: Int) -> [UInt8] {
        var generator = SeededGenerator()
        return generator.bytes(count).map { 0x61 + $0 % 26 }
    }

    private func put(_ key: String, _ value: [UInt8]) throws {
        let put = try http.put("\(ns)/values/\(key)", bytes: value, type: "text/plain")
        #expect(put.status == 201, "\(put)")
    }

    @Test("a key that a batch names 600 times is looked up, answered and counted once")
    func repeated() throws {
        try put("large", text(300 << 10))
        let keys = Array(repeating: #""large""#, count: 600) + [#""none""#, #""n\u006fne""#]
        let got = expect(try http.post("\(ns)/batch/get", #"{"keys":[\#(keys.joined(separator: ","))]}"#), 200)
        #expect(got.json["entries"].array.map { $0["key"].string } == ["large"])
        #expect(got.json["missing"].strings == ["none"])
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["hits"]["total"].int == 1 && stats["misses"]["total"].int == 1)
    }

    @Test(
        "what no longer fits into a batch's answer is told, is not counted, and can be asked for again",
        arguments: ["memory", "disk"]
    )
    func omitted(tier: String) throws {
        let server = try ServerProcess(.init(configuration: "limits:\n  answer_size: 1MiB\n"))
        var http = server.client
        let ns = "/v1/namespaces/batches"
        let value = text(200 << 10)
        for number in 0..<8 {
            expect(try http.put("\(ns)/values/k\(number)", bytes: value, type: "text/plain"), 201)
        }
        try http.store(ns, "small")
        var running = server
        if tier == "disk" {
            #expect(try server.terminate() == .exited(0))
            // Nothing of it is loaded before it is asked for.
            running = try server.restarted(configuration: "limits:\n  answer_size: 1MiB\nmemory:\n  max_memory: 1MiB\n")
            http = running.client
        }
        var wanted = (0..<8).map { "k\($0)" } + ["small", "none"]
        var found: Set<String> = []
        var rounds = 0
        while !wanted.isEmpty, rounds < 10 {
            rounds += 1
            let keys = wanted.map { "\"\($0)\"" }.joined(separator: ",")
            let got = expect(try http.post("\(ns)/batch/get", #"{"keys":[\#(keys)]}"#), 200)
            #expect(got.body.count <= 1 << 20)
            for entry in got.json["entries"].array {
                let key = try #require(entry["key"].string)
                #expect(found.insert(key).inserted)
                if key != "small" { #expect(entry["value_base64"].string?.utf8.count == (value.count + 2) / 3 * 4) }
            }
            if rounds == 1 { #expect(got.json["missing"].strings == ["none"]) }
            wanted = got.json["omitted"].array.compactMap(\.string)
        }
        #expect(found.count == 9)
        #expect(rounds >= 2 && rounds <= 4)
        let stats = try http.get("\(ns)/stats").json
        #expect(stats["hits"]["total"].int == 9 && stats["misses"]["total"].int == 1, "\(stats)")
        #expect(try running.terminate() == .exited(0))
    }

    @Test("values that another answer holds cost a batch nothing, and are not left out for want of room")
    func shared() throws {
        let server = try ServerProcess(
            .init(configuration: "limits: {bytes_in_flight: 64MiB, answer_size: 64MiB}\nmemory: {max_memory: 128MiB}\n")
        )
        let ns = "/v1/namespaces/shared"
        let value = text(8 << 20)
        for number in 0..<5 {
            expect(try server.client.put("\(ns)/values/k\(number)", bytes: value, type: "text/plain"), 201)
        }
        let body = #"{"keys":["k0","k1","k2","k3","k4"]}"#
        let holder = try RawConnection(port: server.port)
        try holder.send(
            server.client.head(
                "POST",
                "\(ns)/batch/get",
                ["Content-Type": "application/json"],
                bodyCount: body.utf8.count
            )
        )
        try holder.send(Array(body.utf8))
        // What the sockets take of it is less than half.
        try eventually("its answer is there") { try server.metrics().sum("pantler_bytes_in_flight") >= 40 * 1_048_576 }
        let got = expect(try server.client.post("\(ns)/batch/get", body), 200)
        #expect(got.json["omitted"].array.isEmpty)
        #expect(got.json["entries"].array.count == 5)
        withExtendedLifetime(holder) {}
    }

    /// Bodies that hold all there is: each has come but for its last byte, and what is left beside them is less than a body begins with.
    private func holdAll() throws -> [RawConnection] {
        // What those who wait may have is 15/16 of the whole.
        let body = ((4 << 20) / 16 * 15 - 4096) / 4
        let holders = try (0..<4).map { try begin("holder-\($0)", body: body, sent: body - 1) }
        try eventually("the bodies are received") { try inFlight() >= 4 * (body - 1) }
        return holders
    }

    @Test(
        "while bodies hold all there is, a new one waits and is then refused; small requests are answered all the same"
    )
    func bodies() throws {
        try http.store(ns, "small", #""x""#)
        let before = try refusals()
        var holders = try holdAll()
        #expect(try inFlight() <= 4 << 20)
        expect(try http.get("\(ns)/entries/small"), 200)
        try http.store(ns, "other")
        let late = try RawConnection(port: server.port)
        try late.send(http.head("PUT", "\(ns)/values/late", ["Expect": "100-continue"], bodyCount: 500_000))
        let answer = try late.receive()
        expect(answer, 503, "overloaded")
        #expect(answer["Retry-After"] == "1")
        #expect(try refusals() > before)
        // Those that had begun were not to blame.
        for holder in holders {
            try holder.send([1])
            #expect(try holder.receive().status == 201)
        }
        holders.removeAll()
        try eventually("all is given back") { try inFlight() == 0 }
        try put("late", text(500_000))
        expect(try http.get("\(ns)/entries/small"), 200)
    }

    @Test("a body that waits goes on as soon as there is room")
    func waiting() throws {
        // They leave nothing.
        var holders = try holdAll()
        let value = text(800_000)
        let late = try RawConnection(port: server.port)
        try late.send(http.head("PUT", "\(ns)/values/late", ["Expect": "100-continue"], bodyCount: value.count))
        try eventually("it waits") { try server.metrics().sum("pantler_waiting_for_room") == 1 }
        holders.removeAll()
        #expect(try late.receive().status == 100)
        try late.send(value)
        #expect(try late.receive().status == 201)
        #expect(try http.get("\(ns)/values/late").body == value)
        try eventually("all is given back") { try inFlight() == 0 }
    }

    @Test(
        "a body that is larger than all that may be in flight is refused; one as large goes through alone, chunked or not"
    )
    func largest() throws {
        let tooLong = try RawConnection(port: server.port)
        try tooLong.send(http.head("PUT", "\(ns)/values/long", [:], bodyCount: (4 << 20) + 1))
        expect(try tooLong.receive(), 413, "body_too_large")
        let value = text(4 << 20)
        try put("long", value)
        let chunked = try RawConnection(port: server.port)
        try chunked.send(http.head("PUT", "\(ns)/values/chunked", ["Transfer-Encoding": "chunked"], bodyCount: nil))
        for begin in stride(from: 0, to: value.count, by: 1 << 16) {
            try chunked.send("10000\r\n")
            try chunked.send(value[begin..<begin + 1 << 16])
            try chunked.send("\r\n")
        }
        try chunked.send("0\r\n\r\n")
        #expect(try chunked.receive().status == 201)
        #expect(try http.get("\(ns)/values/chunked").body == value)
        try eventually("all is given back") { try inFlight() == 0 }
    }

    @Test("a value that many do not read is counted once; others wait, are refused, and are answered when it is taken")
    func unread() throws {
        // More than the kernel takes of a connection that nobody reads from.
        let count = 24 << 20
        let server = try ServerProcess(.init(configuration: "limits:\n  bytes_in_flight: 32MiB\n"))
        let http = server.client
        let ns = try http.namespace(#"{"durability":"memory","max_value_size":33554432}"#)
        func inFlight() throws -> Int { Int(try server.metrics().sum("pantler_bytes_in_flight")) }
        for key in ["large", "other"] {
            let value = [UInt8](repeating: key == "large" ? 1 : 2, count: count)
            expect(try http.put("\(ns)/values/\(key)", bytes: value, type: "text/plain"), 201)
        }
        var readers = try (0..<20).map { _ in
            let connection = try RawConnection(port: server.port)
            try connection.send(http.head("GET", "\(ns)/values/large", [:], bodyCount: nil))
            return connection
        }
        try eventually("all are under way") { try http.get("\(ns)/stats").json["hits"]["total"].int == 20 }
        let held = try inFlight()
        #expect((count...count + (4 << 20)).contains(held), "\(held)")
        let other = try RawConnection(port: server.port)
        let ways: [(String, [String: String])] = [("values", [:]), ("entries", ["Trailer": "x"])]
        for (aspect, fields) in ways {
            try other.send(http.head("GET", "\(ns)/\(aspect)/other", fields, bodyCount: nil))
            expect(try other.receive(), 503, "overloaded")
        }
        #expect(try http.get("\(ns)/stats").json["hits"]["total"].int == 20, "what was refused is no hit")
        #expect(try readers[0].receive().body.count == count)
        readers.removeAll()
        try eventually("all is given back") { try inFlight() == 0 }
        try other.send(http.head("GET", "\(ns)/values/other", [:], bodyCount: nil))
        #expect(try other.receive().status == 200)
        #expect(try server.terminate() == .exited(0))
    }

    @Test("a large value is the same on every path", arguments: [16_385, 65_537, 1_000_001])
    func paths(count: Int) throws {
        let value = text(count)
        let json = Array("\"\(String(decoding: value, as: UTF8.self))\"".utf8)
        try put("bytes", value)
        expect(try http.put("\(ns)/values/json", bytes: json, type: "application/json"), 201)
        for fields in [[:], ["Trailer": "x"]] as [[String: String]] {
            #expect(try http.get("\(ns)/values/bytes", fields).body == value)
            #expect(try http.get("\(ns)/values/json", fields).body == json)
            let entry = expect(try http.get("\(ns)/entries/json", fields), 200)
            #expect(entry.json["value"].string == String(decoding: value, as: UTF8.self))
            let bytes = expect(try http.get("\(ns)/entries/bytes", fields), 200)
            #expect(bytes.json["value_base64"].string?.utf8.count == (count + 2) / 3 * 4)
            let head = try http.head("\(ns)/entries/bytes", fields)
            #expect(head["Content-Length"] == "\(bytes.body.count)")
            let known = try http.get("\(ns)/entries/bytes", fields.merging(["If-None-Match": "*"]) { $1 })
            #expect(known.status == 304)
        }
        // Sent ahead, small and large ones mixed.
        try http.store(ns, "small", "17")
        let ahead = try RawConnection(port: server.port)
        let keys = ["bytes", "small", "json", "none", "bytes", "small"]
        try ahead.send(keys.map { http.head("GET", "\(ns)/values/\($0)", [:], bodyCount: nil) }.joined())
        for key in keys {
            let answer = try ahead.receive()
            switch key {
            case "bytes": #expect(answer.body == value)
            case "json": #expect(answer.body == json)
            case "small": #expect(answer.text == "17")
            default: #expect(answer.status == 404)
            }
        }
        try eventually("all is given back") { try inFlight() == 0 }
    }
}
