import Testing

@testable import pantler

@Suite("Calling a service")
struct ClientTests {
    @Test(
        "an address is taken apart",
        arguments: [
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "", "http://127.0.0.1:8080"),
            ("http://[::1]:9/", "::1", 9, "", "http://[::1]:9"), ("http://cache", "cache", 80, "", "http://cache"),
            ("https://cache.example.org/a/b/", "cache.example.org", 443, "/a/b", "https://cache.example.org/a/b"),
        ]
    )
    func address(text: String, host: String, port: Int, path: String, url: String) throws {
        let address = try ServiceAddress(text)
        #expect(address.host == host)
        #expect(address.port == port)
        #expect(address.path == path)
        #expect(address.url == url)
    }

    @Test("a Unix socket's address is unix: and its path", arguments: ["unix:/run/a b.sock", "unix:///run/a b.sock"])
    func unixAddress(text: String) throws {
        let address = try ServiceAddress(text)
        #expect(address.socket == "/run/a b.sock")
        #expect(address.url == "unix:/run/a b.sock")
        #expect(address.requestURL == "http+unix://%2Frun%2Fa%20b%2Esock")
        #expect(address.authority == "localhost" && address.path == "" && !address.isSecure)
    }

    @Test(
        "what is no address is wrong usage",
        arguments: [
            "", "127.0.0.1:8080", "ftp://a", "http://", "http://:80", "http://a:0", "http://a:65536", "http://a:x",
            "http://[::1",
            "http://[::1]x", "http://a?b", "unix:", "unix://", "unix:/" + String(repeating: "s", count: 107),
            "http://a#b", "http://u@a", "http://a b", "http://é",
        ]
    )
    func badAddress(text: String) {
        #expect(throws: CommandFailure.self) { try ServiceAddress(text) }
    }

    @Test(
        "keys are encoded so that nothing folds or misreads them",
        arguments: [
            ("abc-_~", "abc-_~"), ("..", "%2E%2E"), ("a//b", "a%2F%2Fb"), ("a b+c", "a%20b%2Bc"), ("é", "%C3%A9"),
            ("%41", "%2541"),
        ]
    )
    func encoding(key: String, encoded: String) {
        #expect(key.percentEncoded == encoded)
    }

    @Test(
        "statuses become exit statuses",
        arguments: [
            (404, 3), (401, 4), (403, 4), (409, 5), (412, 5), (400, 1), (422, 1), (500, 1), (503, 1),
        ] as [(Int, Int32)]
    )
    func statuses(http: Int, exit: Int32) {
        #expect(ExitStatus(httpStatus: http).rawValue == exit)
    }

    @Test("an answer in no form of Pantler's is told as that")
    func strangeAnswer() {
        let failure = CommandFailure(Reply(status: 404, contentType: "text/html", body: Array("<html>".utf8)))
        #expect(failure.status == .failed)
        #expect(failure.message.contains("is it Pantler"))
        #expect((try? JSONTree(failure.problem))?["code"]?.text == "answer_invalid")
    }

    @Test("a problem is told in its own words, and kept for programs")
    func problem() {
        let body = Array(
            #"{"type":"about:blank","title":"Not Found","status":404,"code":"entry_not_found","detail":"It is not here."}"#
                .utf8
        )
        let failure = CommandFailure(Reply(status: 404, contentType: nil, body: body))
        #expect(failure.status == .notFound)
        #expect(failure.message == "It is not here.")
        #expect(failure.problem == body)
    }

    @Test("tables align, and no key moves the cursor")
    func table() {
        var table = Table("KEY", "SIZE>")
        table.add(["a", "1,000"])
        table.add(["b\u{1b}[2J\n", "7"])
        #expect(
            table.lines(Style(noColor: true, on: .output)) == [
                "KEY            SIZE", "a             1,000", #"b\u{1B}[2J\n      7"#,
            ]
        )
    }

    @Test(
        "wrong usage ends in 2, help and version in 0",
        arguments: [
            (["bogus"], 2), (["get"], 2), (["get", "k", "--bogus"], 2), (["touch", "k", "--ttl", "x"], 2),
            (["set", "k", "v", "--file", "f"], 2),
            (["get", "k", "--url", "nowhere"], 2), (["keys", "--limit", "0"], 2), (["namespace", "update", "n"], 2),
            (["namespace", "flush", "n", "--prefix", "a", "--tag", "b"], 2),
            (["bench", "replay", "t", "--connections", "0"], 2),
            (["bench", "replay", "t", "--max-entries", "101%"], 2), (["incr", "k", "--by", "x"], 2), (["delete"], 2),
            (["serve", "--port", "x"], 2), (["serve", "--host", "0.0.0.0"], 2), (["serve", "--config", "/nowhere"], 2),
            (["completions", "csh"], 2), (["get", "k", "--url", "http://127.0.0.1:1"], 6),
            (["check", "--url", "http://127.0.0.1:1"], 6), (["fetch"], 2), (["fetch", "k"], 2),
            (["fetch", "k", "date"], 2),
            (["fetch", "k", "x", "--", "date"], 2), (["fetch", "--", "date"], 2), (["fetch", "k", "--"], 2),
            (["fetch", "k", "--wait", "-1s", "--", "date"], 2), (["fetch", "k", "--lease-ttl", "6m", "--", "date"], 2),
            (["fetch", "k", "--fail-retry", "0", "--", "date"], 2),
            (["fetch", "k", "--absent-on", "0", "--", "date"], 2),
            (["fetch", "k", "--absent-on", "256", "--", "date"], 2), (["leases", "--limit", "1001"], 2),
            (["fetch", "k", "--type", "json", "--content-type", "image/png", "--", "date"], 2),
            (["set", "k", "v", "--type", "json", "--content-type", "image/png"], 2),
            (["leases", "--url", "http://127.0.0.1:1"], 6),
        ] as [([String], Int32)]
    )
    func exitStatuses(arguments: [String], status: Int32) async {
        #expect(await Pantler.run(RawArguments(arguments.map { Array($0.utf8) })).rawValue == status)
    }
}
