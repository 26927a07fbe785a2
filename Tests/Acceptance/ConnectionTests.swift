import Support
import Testing

@Suite("HTTP on the wire", .server())
struct ConnectionTests {
    let server: ServerProcess
    let http: HTTPClient
    let ns: String

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace("{}")
    }

    /// Bytes of many requests in a row, and what is to come back for each: status, and a text that the body holds.
    private func pipeline(_ count: Int) -> (requests: [UInt8], answers: [(status: Int, holds: String, toHead: Bool)]) {
        var requests = ""
        var answers: [(Int, String, Bool)] = []
        func add(_ method: String, _ target: String, body: String? = nil, _ status: Int, _ holds: String) {
            let headers = body == nil ? [:] : ["Content-Type": "application/json"]
            requests += http.head(method, target, headers, bodyCount: body?.utf8.count) + (body ?? "")
            answers.append((status, holds, method == "HEAD"))
        }
        for number in 0..<count {
            let key = "\(ns)/entries/k\(number / 8)"
            switch number % 8 {
            case 0: add("PUT", key, body: #"{"value":"v\#(number)"}"#, 201, "\"key\":\"k\(number / 8)\"")
            case 1: add("GET", key, 200, "\"value\":\"v\(number - 1)\"")
            case 2: add("GET", "\(ns)/entries/miss\(number)", 404, "entry_not_found")
            case 3: add("PUT", key, body: #"{"value":"#, 400, "invalid_json")
            case 4: add("HEAD", key, 200, "")
            case 5:
                add(
                    "POST",
                    "\(ns)/batch/get",
                    body: #"{"keys":["k\#(number / 8)"]}"#,
                    200,
                    "\"value\":\"v\(number - 5)\""
                )
            case 6: add("DELETE", key, 204, "")
            default: add("POST", key, body: "{}", 405, "method_not_allowed")
            }
        }
        return (Array(requests.utf8), answers)
    }

    private func check(_ connection: RawConnection, _ answers: [(status: Int, holds: String, toHead: Bool)]) throws {
        for (number, answer) in answers.enumerated() {
            let response = try connection.receive(toHead: answer.toHead)
            #expect(response.status == answer.status, "answer \(number): \(response)")
            #expect(answer.holds.isEmpty || response.text.contains(answer.holds), "answer \(number): \(response)")
        }
    }

    @Test("each of many requests in one write has its own X-Request-ID in its answer, and those without have none")
    func requestIDs() throws {
        try http.store(ns, "k")
        var requests = ""
        for number in 0..<200 {
            let named = number % 5 == 4 ? [:] : ["X-Request-ID": "request-\(number)"]
            switch number % 4 {
            case 0: requests += http.head("GET", "\(ns)/entries/k", named, bodyCount: nil)
            case 1: requests += http.head("GET", "\(ns)/values/none\(number)", named, bodyCount: nil)
            case 2: requests += http.head("GET", "\(ns)/entries?limit=1", named, bodyCount: nil)
            default:
                let headers = named.merging(["Content-Type": "application/json"]) { $1 }
                requests += http.head("PUT", "\(ns)/entries/new\(number)", headers, bodyCount: 11) + #"{"value":1}"#
            }
        }
        let connection = try RawConnection(port: server.port)
        try connection.send(requests)
        for number in 0..<200 {
            let answer = try connection.receive()
            #expect(answer.status == [200, 404, 200, 201][number % 4])
            #expect(answer["X-Request-ID"] == (number % 5 == 4 ? nil : "request-\(number)"))
        }
    }

    @Test("200 requests in one write are answered in their order")
    func pipelining() throws {
        let (requests, answers) = pipeline(200)
        let connection = try RawConnection(port: server.port)
        try connection.send(requests)
        try check(connection, answers)
    }

    @Test("bytes that come one by one, or in odd pieces, are the same requests", arguments: [1, 2, 7, 61, 1000])
    func pieces(size: Int) throws {
        let (requests, answers) = pipeline(48)
        let connection = try RawConnection(port: server.port)
        for begin in stride(from: 0, to: requests.count, by: size) {
            try connection.send(requests[begin..<min(begin + size, requests.count)])
        }
        try check(connection, answers)
    }

    @Test("a request behind a large answer from disk is answered without another one coming")
    func behindLarge() throws {
        let ns = try http.namespace(#"{"max_memory":1}"#)
        #expect(try http.put("\(ns)/values/large", bytes: Array(repeating: 120, count: 200_000)).status == 201)
        let connection = try RawConnection(port: server.port)
        for target in ["values/large", "values/none?peek"] {
            try connection.send(http.head("GET", "\(ns)/\(target)", [:], bodyCount: nil))
        }
        #expect(try connection.receive().body.count == 200_000)
        #expect(try connection.receive().status == 404)
    }

    @Test("pipelined reads of durable writes keep their order")
    func pipelinedThrough() throws {
        let ns = try http.namespace(#"{"durability":"through"}"#)
        let connection = try RawConnection(port: server.port)
        var requests = ""
        for number in 0..<50 {
            let body = #"{"value":\#(number)}"#
            requests +=
                http.head("PUT", "\(ns)/entries/k", ["Content-Type": "application/json"], bodyCount: body.utf8.count)
                + body
            requests += http.head("GET", "\(ns)/values/k", [:], bodyCount: nil)
        }
        try connection.send(requests)
        for number in 0..<50 {
            expect(try connection.receive(), number == 0 ? 201 : 200)
            #expect(try connection.receive().text == "\(number)")
        }
    }

    @Test("a connection is kept, until one side says close")
    func keepAlive() throws {
        let connection = try RawConnection(port: server.port)
        for _ in 0..<3 {
            try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            expect(try connection.receive(), 200)
        }
        try connection.send("GET \(ns)/entries/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        let last = expect(try connection.receive(), 404)
        #expect(last.closes)
        #expect(connection.ends())
    }

    @Test("HTTP/1.0 needs no Host, and the connection ends after the answer")
    func http10() throws {
        try http.store(ns, "a", "1")
        let connection = try RawConnection(port: server.port)
        try connection.send("GET \(ns)/values/a HTTP/1.0\r\n\r\n")
        let response = expect(try connection.receive(), 200)
        #expect(response.text == "1")
        #expect(connection.ends())
    }

    @Test("a client that has said all it will say still gets its answer")
    func halfClose() throws {
        let connection = try RawConnection(port: server.port)
        try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.finishSending()
        expect(try connection.receive(), 200)
        #expect(connection.ends())
    }

    @Test("Expect: 100-continue is answered before the body is sent")
    func expectContinue() throws {
        let connection = try RawConnection(port: server.port)
        let headers = ["Content-Type": "application/json", "Expect": "100-continue"]
        try connection.send(http.head("PUT", "\(ns)/entries/a", headers, bodyCount: 11))
        expect(try connection.receive(), 100)
        try connection.send(#"{"value":1}"#)
        expect(try connection.receive(), 201)
        try connection.send(http.head("GET", "/livez", ["Expect": "the-unexpected"], bodyCount: nil))
        expect(try connection.receive(), 417, "expectation_failed")
    }

    @Test("a body that is too large is refused before it is sent")
    func expectTooLarge() throws {
        let connection = try RawConnection(port: server.port)
        try connection.send(http.head("PUT", "\(ns)/values/a", ["Expect": "100-continue"], bodyCount: 1 << 33))
        #expect(expect(try connection.receive(), 413).code?.hasSuffix("_too_large") == true)
    }

    @Test("chunked bodies are read, with extensions and trailers")
    func chunked() throws {
        let connection = try RawConnection(port: server.port)
        let head =
            "PUT \(ns)/entries/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        let body = "5\r\n{\"val\r\n6;name=\"x\"\r\nue\":42\r\n1\r\n}\r\n0\r\nTrailer: 1\r\n\r\n"
        try connection.send(head + body)
        expect(try connection.receive(), 201)
        #expect(try http.get("\(ns)/values/a").text == "42")
        for piece in Array((head + body).utf8) { try connection.send([piece]) }
        expect(try connection.receive(), 200)
        try connection.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(try connection.receive(), 200)
    }

    @Test("header names have no case, and space around values no meaning")
    func headerForms() throws {
        let connection = try RawConnection(port: server.port)
        try connection.send(
            "PUT \(ns)/entries/a HTTP/1.1\r\nhOST:localhost\r\nCONTENT-type:  application/json ; charset=utf-8 \t\r\ncontent-LENGTH: 11\r\n\r\n{\"value\":1}"
        )
        expect(try connection.receive(), 201)
        try connection.send("GET \(ns)/entries/a HTTP/1.1\r\nHost: LOCALHOST:1\r\nIF-NONE-MATCH:*\r\n\r\n")
        expect(try connection.receive(), 304)
    }

    @Test("OPTIONS tells what a path takes")
    func options() throws {
        for (target, methods) in BadInputTests.methods(ns) {
            let response = expect(try http.request("OPTIONS", target), 204)
            let allowed = Set((response["Allow"] ?? "").split(separator: ", ").map(String.init))
            #expect(allowed == methods.union(["OPTIONS"]), "\(target)")
        }
    }

    @Test("many connections at once are all answered")
    func manyConnections() throws {
        try http.store(ns, "a", "1")
        let connections = try (0..<300).map { _ in try RawConnection(port: server.port) }
        for connection in connections { try connection.send("GET \(ns)/values/a HTTP/1.1\r\nHost: localhost\r\n\r\n") }
        for connection in connections { #expect(try connection.receive().text == "1") }
    }

    @Test("the fast lane takes what real clients send, and the metrics say so")
    func lanes() throws {
        // Of other tests that run meanwhile.
        let own = try ServerProcess()
        let ns = try own.client.namespace()
        let fields =
            "Host: localhost\r\nAuthorization: Bearer pt_1_x\r\nX-Forwarded-For: 10.0.0.1\r\nAccept: text/html\r\nCookie: a=b\r\n"
        for (number, end) in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"].enumerated() {
            let connection = try RawConnection(port: own.port)
            try connection.send("GET \(ns)/entries/caf%C3%A9%20a HTTP/1.1\r\n\(fields)Content-Length: 0\r\n\r\n")
            expect(try connection.receive(), number == 0 ? 404 : 200)
            // The head, and then the body.
            let put = "PUT \(ns)/entries/caf%C3%A9%20a HTTP/1.1\r\n\(fields)\(end)Content-Length: 11\r\n\r\n"
            try connection.send(put)
            try connection.send(#"{"value":1}"#)
            let response = expect(try connection.receive(), number == 0 ? 201 : 200)
            #expect(response.json["key"].string == "café a")
            #expect(response.closes == end.contains("close"))
            if response.closes { #expect(connection.ends()) }
        }
        let metrics = try own.metrics()
        func sum(_ operation: String, _ lane: String) -> Double {
            metrics.sum("pantler_requests_total", ["operation": operation, "lane": lane])
        }
        #expect([sum("get", "fast"), sum("put", "fast"), sum("get", "full"), sum("put", "full")] == [3, 3, 0, 0])
        expect(try own.client.get("\(ns)/entries/a?peek"), 404)
        #expect(try own.metrics().sum("pantler_requests_total", ["operation": "get", "lane": "full"]) == 1)
        #expect(try own.terminate() == .exited(0))
    }
}
