import Support
import Testing

@Suite("The command and entries", .server())
struct CommandTests {
    let server: ServerProcess
    let http: HTTPClient
    /// The path of this test's namespace, and its name.
    let ns: String
    let name: String

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace()
        name = String(ns.split(separator: "/").last ?? "")
    }

    /// Runs a command in this test's namespace.
    private func pantler(
        _ arguments: String...,
        input: String? = nil,
        in namespace: String? = nil
    ) throws -> CommandResult {
        try Command.run(arguments + ["-n", namespace ?? name], url: server.url, input: input)
    }

    @Test(
        "a value set is the value got, byte for byte",
        arguments: [
            #"{"a":[1,2.50,18446744073709551615]}"#, "42", "plain text", "\"quoted\"", "", "ünïcode\nlines\n", "-",
            "{broken",
        ]
    )
    func roundTrip(value: String) throws {
        let set = try pantler("set", "k", "-", input: value)
        #expect(set.status == 0, "\(set)")
        let got = try pantler("get", "k")
        #expect(got.status == 0, "\(got)")
        #expect(got.output == value)
        #expect(got.errors.isEmpty)
    }

    @Test("values come from the argument, a file and standard input; valid JSON is JSON, text is text, the rest bytes")
    func sources() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        #expect(try pantler("set", "argument", #"{"a": 1}"#).status == 0)
        #expect(try http.get("\(ns)/entries/argument").json["value"]["a"].int == 1)
        let path = try folder.write("from a file", to: "value")
        #expect(try pantler("set", "file", "--file", path).status == 0)
        let file = try http.get("\(ns)/values/file")
        #expect(file.text == "from a file")
        #expect(file["Content-Type"] == "text/plain; charset=utf-8")
        #expect(try pantler("set", "input", input: "[1,2]").status == 0)
        #expect(try http.get("\(ns)/values/input")["Content-Type"] == "application/json")
        #expect(try pantler("set", "typed", "42", "--type", "text").status == 0)
        #expect(try http.get("\(ns)/values/typed")["Content-Type"] == "text/plain; charset=utf-8")
        #expect(try pantler("set", "picture", "--file", path, "--content-type", "image/png").status == 0)
        #expect(try http.get("\(ns)/values/picture")["Content-Type"] == "image/png")
        let binary = folder.file("binary")
        #expect(try Command.run(program: ["sh", "-c", "printf '\\377\\000\\376' > '\(binary)'"]).status == 0)
        #expect(try pantler("set", "binary", "-f", binary).status == 0)
        let bytes = try http.get("\(ns)/values/binary")
        #expect(bytes.body == [255, 0, 254])
        #expect(bytes["Content-Type"] == "application/octet-stream")
    }

    @Test("keys that URLs fold are keys like others", arguments: ["..", ".", "a//b", "/a", "a b+c?d#e%41", "ключ"])
    func keys(key: String) throws {
        #expect(try pantler("set", key, "1").status == 0)
        #expect(try pantler("get", key).output == "1")
        #expect(try pantler("incr", key).output == "2\n")
        #expect(try pantler("touch", key, "--ttl", "1h").status == 0)
        #expect(try pantler("keys", "-o", "json").json["entries"].array.map { $0["key"].string } == [key])
        #expect(try pantler("delete", key).status == 0)
        #expect(try pantler("get", key).status == 3)
    }

    @Test("get with --output json is the entry as the service sends it; --peek counts nowhere")
    func envelope() throws {
        #expect(try pantler("set", "k", "1", "--ttl", "1h", "--tag", "a, b", "--tag", "ü").status == 0)
        let got = try pantler("get", "k", "--output", "json", "--peek")
        #expect(got.status == 0)
        #expect(got.output == (try http.get("\(ns)/entries/k?peek").text) + "\n")
        #expect(Set(got.json["tags"].strings) == ["a, b", "ü"])
        #expect(try http.get("\(ns)/stats").json["gets"].int == 0)
    }

    @Test("TTLs are given in units, and none is never")
    func ttls() throws {
        #expect(try pantler("set", "k", "1", "--ttl", "2h").output.hasPrefix("version "))
        #expect(try http.get("\(ns)/entries/k").json["expires_at"].string != nil)
        let touched = try pantler("touch", "k", "--ttl", "none")
        #expect(touched.status == 0)
        #expect(touched.output.hasSuffix("never expires\n"))
        #expect(try http.get("\(ns)/entries/k").json["expires_at"].isNull)
        #expect(try pantler("touch", "none", "--ttl", "1m").status == 3)
        #expect(try pantler("touch", "k", "--ttl", "0").status == 2)
    }

    @Test("conditions that do not hold are conflicts, and say what to do")
    func conditions() throws {
        #expect(try pantler("set", "k", "1", "--if-present").status == 5)
        let made = try pantler("set", "k", "1", "--if-absent", "-o", "json")
        let version = try #require(made.json["version"].int)
        let refused = try pantler("set", "k", "2", "--if-absent")
        #expect(refused.status == 5)
        #expect(refused.errors.contains("Read the entry again"))
        #expect(try pantler("set", "k", "2", "--if-version", "\(version)").status == 0)
        let late = try pantler("set", "k", "3", "--if-version", "\(version)", "-o", "json")
        #expect(late.status == 5)
        #expect(late.output.isEmpty)
        let problem = JSON(Array(late.errors.utf8))
        #expect(problem["code"].string == "version_mismatch")
        #expect(problem["status"].int == 412)
        #expect(try pantler("delete", "k", "--if-version", "\(version)").status == 5)
        #expect(try pantler("get", "k").output == "2")
    }

    @Test("what is not there is not found")
    func notFound() throws {
        for arguments in [["get", "none"], ["delete", "none"], ["incr", "none"], ["touch", "none", "--ttl", "1m"]] {
            let result = try Command.run(arguments + ["-n", name], url: server.url)
            #expect(result.status == 3, "\(arguments) \(result)")
            #expect(result.output.isEmpty)
            #expect(result.errors.hasPrefix("pantler: "))
        }
        #expect(try Command.run(["stats", "\(name)-none"], url: server.url).status == 3)
        #expect(try Command.run(["namespace", "show", "\(name)-none"], url: server.url).status == 3)
        #expect(try Command.run(["keys", "-n", "\(name)-none"], url: server.url).status == 3)
    }

    @Test("of several keys deleted, one that was not there does not keep the others")
    func deleteMany() throws {
        for key in ["a", "b"] { try http.store(ns, key) }
        let result = try pantler("delete", "a", "none", "b")
        #expect(result.status == 3 && result.output == "2 entries deleted\n")
        #expect(result.errors.contains("'none'"))
        #expect(try http.get("\(ns)/entries").json["entries"].array.isEmpty)
    }

    @Test("counters count from where they are told")
    func counters() throws {
        #expect(try pantler("incr", "n", "--initial", "10", "--by", "5", "--ttl", "1h").output == "15\n")
        #expect(try pantler("incr", "n").output == "16\n")
        #expect(try pantler("incr", "n", "--by", "-20").output == "-4\n")
        #expect(try pantler("incr", "n", "-o", "json").json["value"].int == -3)
        #expect(try pantler("set", "text", "five").status == 0)
        #expect(try pantler("incr", "text").status == 5)
    }

    @Test("keys are listed by page, by prefix, and all")
    func listing() throws {
        for number in 100..<130 { try http.store(ns, "k\(number)") }
        try http.store(ns, "other")
        let page = try pantler("keys", "--limit", "10", "-o", "json")
        #expect(page.json["entries"].array.count == 10)
        let cursor = try #require(page.json["cursor"].string)
        let rest = try pantler("keys", "--all", "--cursor", cursor, "-o", "json")
        #expect(rest.json["entries"].array.count == 21)
        #expect(rest.json["cursor"].isNull)
        let some = try pantler("keys", "--prefix", "k12", "--limit", "5")
        #expect(some.output == (120..<125).map { "k\($0)\n" }.joined())
        #expect(some.errors.contains("--all"))
        #expect(try pantler("keys", "--prefix", "k12").errors.isEmpty)
        #expect(try pantler("keys", "--cursor", "nonsense").status == 1)
    }

    @Test("a pipe gets every key on a line of its own, however many pages they take; a terminal gets one table")
    func listingOfPages() throws {
        let keys = (1000..<3200).map { "key-\($0)" }
        let entries = keys.map { #"{"key":"\#($0)","value":1}"# }
        for start in stride(from: 0, to: entries.count, by: 1000) {
            let page = entries[start..<min(start + 1000, entries.count)].joined(separator: ",")
            expect(try http.post("\(ns)/batch/set", #"{"entries":[\#(page)]}"#), 200)
        }
        #expect(try pantler("ls", "--null").output == keys.map { $0 + "\0" }.joined())
        #expect(try pantler("ls").output == keys.map { $0 + "\n" }.joined())
        let table = try terminal(["keys", "--all", "-n", name])
        let lines = table.output.split(whereSeparator: \.isNewline)
        #expect(lines.count == keys.count + 1)
        #expect(lines.filter { $0.contains("VERSION") }.count == 1 && lines.first?.contains("KEY") == true)
        #expect(try terminal(["keys", "-n", name]).output.split(whereSeparator: \.isNewline).count == 102)
    }

    /// Runs a command with its output on a terminal.
    private func terminal(_ arguments: [String]) throws -> CommandResult {
        let line = (["\(try Command.executable())"] + arguments).map { "'\($0)'" }.joined(separator: " ")
        return try Command.run(
            program: ["script", "-qec", line, "/dev/null"],
            environment: ["PANTLER_URL": server.url, "TERM": "xterm"]
        )
    }

    @Test("several entries are printed with their keys, each on one line, and a missing one is named")
    func mget() throws {
        expect(try http.put("\(ns)/entries/a", "{\"value\":{\"x\": [1, \"b \\\"c\"],\n \"y\":2.50}}"), 201)
        expect(try http.put("\(ns)/entries/b", #"{"value_base64":"AP8=","content_type":"image/png"}"#), 201)
        let both = try pantler("mget", "b", "a", "b")
        #expect(both.status == 0, "\(both)")
        #expect(both.output == "b\t\"AP8=\"\na\t{\"x\":[1,\"b \\\"c\"],\"y\":2.50}\n")
        let some = try pantler("mget", "a", "none", "other")
        #expect(some.status == 3 && some.output.hasPrefix("a\t") && some.errors.contains("'none'"))
        #expect(try pantler("mget", "a", "none", "-o", "json").json["missing"].array.map(\.string) == ["none"])
    }

    @Test("whether entries are there is the exit status, and is not counted")
    func exists() throws {
        try http.store(ns, "a")
        #expect(try pantler("exists", "a").status == 0)
        #expect(try pantler("exists", "a").output.isEmpty)
        let none = try pantler("exists", "a", "none")
        #expect(none.status == 3 && none.errors.contains("'none'") && none.output.isEmpty)
        let json = try pantler("exists", "a", "none", "-o", "json")
        #expect(json.status == 3 && json.json["exist"].array.map(\.string) == ["a"])
        #expect(json.json["missing"].array.map(\.string) == ["none"])
        #expect(try http.get("\(ns)/stats").json["gets"].int == 0)
    }

    @Test("a TTL is told in seconds, none for never, and of what is not there the exit status tells")
    func ttl() throws {
        expect(try http.put("\(ns)/entries/short", #"{"value":1,"ttl":100}"#), 201)
        expect(try http.put("\(ns)/entries/ever", #"{"value":1,"ttl":null}"#), 201)
        let left = try #require(Int(try pantler("ttl", "short").output.dropLast()))
        #expect((60...100).contains(left))
        #expect(try pantler("ttl", "ever").output == "none\n")
        #expect(try pantler("ttl", "ever", "-o", "json").json["ttl"].isNull)
        #expect(try pantler("ttl", "short", "-o", "json").json["expires_at"].string?.isEmpty == false)
        #expect(try pantler("ttl", "none").status == 3)
    }

    @Test("options stand before the verb too, and the environment names the namespace")
    func order() throws {
        #expect(try Command.run(["-n", name, "--url", server.url, "set", "k", "1"]).status == 0)
        #expect(try Command.run(["--namespace=\(name)", "get", "k"], url: server.url).output == "1")
        #expect(
            try Command.run(["get", "k"], url: server.url, environment: ["PANTLER_NAMESPACE": name]).output == "1"
        )
        #expect(try Command.run(["-o", "json", "ns", "ls"], url: server.url).json["namespaces"].array.isEmpty == false)
        #expect(try Command.run(["ns", "-o", "json", "show", name], url: server.url).json["name"].string == name)
        #expect(try pantler("del", "k").output == "1 entry deleted\n")
    }

    @Test("a wrong address is no miss, and a value that is too large is told as that")
    func addressAndSize() throws {
        let wrong = try Command.run(["get", "k"], url: server.url + "/elsewhere")
        #expect(wrong.status == 1, "\(wrong)")
        for arguments in [["exists", "k"], ["delete", "a", "b"], ["mget", "k"], ["ttl", "k"]] {
            #expect(try Command.run(arguments, url: server.url + "/elsewhere").status == 1, "\(arguments)")
        }
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let file = try folder.write(String(repeating: "x", count: 4 << 20), to: "large")
        let small = try ServerProcess(ServerProcess.Options(configuration: "limits:\n  body_size: 1MiB\n"))
        let large = try Command.run(["set", "large", "--type", "text", "--file", file], url: small.url)
        #expect(large.status == 1 && !large.errors.contains("No Pantler answers"), "\(large.errors)")
        #expect(large.errors.contains("at most 1048576 bytes"), "\(large.errors)")
    }

    @Test("a value that is no JSON is refused where it is said to be JSON")
    func invalidJSON() throws {
        let result = try pantler("set", "k", "{broken", "--type", "json")
        #expect(result.status == 2)
        #expect(result.errors.contains("--type text"))
        #expect(try pantler("get", "k").status == 3)
    }

    /// Runs a command line of the shell's, in which `$odd` and `$other` are texts in Latin-1, which no string of a test can hold.
    private func shell(_ line: String) throws -> CommandResult {
        let script =
            #"pantler() { "$PANTLER" "$@" -n "$NS"; }; odd="$(printf 'caf\351')" other="$(printf 'caf\350')"; "# + line
        return try Command.run(
            program: ["sh", "-c", script],
            environment: ["PANTLER": Command.executable(), "NS": name, "PANTLER_URL": server.url]
        )
    }

    @Test("a value is any bytes, from the argument and from a file of any name")
    func byteValues() throws {
        #expect(try shell(#"pantler set argument "$odd""#).status == 0)
        #expect(try http.get("\(ns)/values/argument").body == [0x63, 0x61, 0x66, 0xe9])
        #expect(try http.get("\(ns)/values/argument")["Content-Type"] == "application/octet-stream")
        #expect(try shell(#"printf 1 > "$odd"; printf 2 > "$other"; pantler set file --file="$other""#).status == 0)
        #expect(try http.get("\(ns)/values/file").text == "2")
        #expect(try shell(#""$PANTLER" set dashes -n "$NS" -- "-$odd""#).status == 0)
        #expect(try http.get("\(ns)/values/dashes").body == [0x2d, 0x63, 0x61, 0x66, 0xe9])
    }

    @Test(
        "keys, tags, prefixes and names that are no UTF-8 are wrong usage, and nothing is changed",
        arguments: [
            #"set "$odd" 1"#, #"set "$odd" "$odd""#, #"get "$odd""#, #"delete k "$odd""#, #"touch "$odd" --ttl 1m"#,
            #"incr "$odd""#, #"set k 2 --tag "$odd""#, #"set k "$odd" --tag="$odd""#, #"keys --prefix "$odd""#,
            #"set k 2 --content-type "$odd""#,
        ]
    )
    func oddText(line: String) throws {
        #expect(try pantler("set", "k", "1").status == 0)
        let result = try shell("pantler \(line)")
        #expect(result.status == 2, "\(result)")
        #expect(result.errors.contains("caf\\xe9"))
        #expect(result.errors.contains("UTF-8"))
        #expect(try pantler("keys", "-o", "json").json["entries"].array.map { $0["key"].string } == ["k"])
        #expect(try pantler("get", "k").output == "1")
        let flush = try shell(
            #""$PANTLER" namespace flush "$NS" --prefix "$odd"; [ $? = 2 ] && exec "$PANTLER" check --data-dir "$odd""#
        )
        #expect(flush.status == 2, "\(flush)")
    }

    @Test("output has no colours unless it goes to a terminal")
    func colours() throws {
        for arguments in [["stats"], ["namespace", "list"], ["get", "none"]] {
            let result = try Command.run(arguments, url: server.url)
            #expect(!(result.output + result.errors).contains("\u{1b}"))
        }
    }
}

@Suite("The command without a service")
struct CommandUsageTests {
    @Test(
        "a service that is not there is told with what to do next",
        arguments: [
            ["get", "k"], ["set", "k", "1"], ["delete", "k"], ["touch", "k", "--ttl", "1m"], ["incr", "k"], ["keys"],
            ["stats"], ["mget", "k"], ["exists", "k"], ["ttl", "k"],
            ["leases"], ["check"], ["namespace", "list"], ["namespace", "flush", "a", "--yes"],
            ["bench", "replay", "none.csv"],
        ]
    )
    func unreachable(arguments: [String]) throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let trace = try folder.write("1,2\n", to: "trace.csv")
        let arguments = arguments.map { $0 == "none.csv" ? trace : $0 }
        let url = "http://127.0.0.1:\(try freePort())"
        let result = try Command.run(arguments, url: url)
        #expect(result.status == 6, "\(result)")
        #expect(
            result.errors
                == "pantler: No Pantler answers at \(url): start one with `pantler serve`, or name another with --url or PANTLER_URL.\n"
        )
        let json = try Command.run(arguments + ["-o", "json"], url: url)
        #expect(json.status == 6)
        #expect(JSON(Array(json.errors.utf8))["code"].string == "unreachable")
    }

    @Test(
        "wrong usage says what was wrong",
        arguments: [
            ["bogus"], ["get"], ["get", "k", "--bogus"], ["touch", "k"], ["incr", "k", "--by", "x"],
            ["set", "k", "v", "--ttl", "soon"],
            ["keys", "--limit", "none"], ["namespace", "create"], ["stats", "--output", "xml"],
            ["get", "k", "--url", "nowhere"],
        ]
    )
    func usage(arguments: [String]) throws {
        let result = try Command.run(arguments)
        #expect(result.status == 2, "\(result)")
        #expect(result.output.isEmpty)
        #expect(!result.errors.isEmpty)
    }

    @Test(
        "a verb that there is not is told with the nearest that there is",
        arguments: [
            (["gte", "k"], "pantler get"), (["-n", "a", "delet", "k"], "pantler delete"),
            (["fech", "k", "--", "date"], "pantler fetch"), (["lease"], "pantler leases"),
            (["namespace", "lst"], "pantler namespace list"), (["ns", "-o", "json", "creat"], "pantler ns create"),
        ]
    )
    func typos(arguments: [String], nearest: String) throws {
        let result = try Command.run(arguments)
        #expect(result.status == 2)
        #expect(result.errors.contains("Did you mean '\(nearest)'?"), "\(result.errors)")
        let far = try Command.run(["frobnicate"])
        #expect(far.status == 2 && !far.errors.contains("Did you mean") && far.errors.contains("--help"))
    }

    @Test(
        "what cannot be undone wants a yes where nobody can be asked",
        arguments: [["namespace", "delete", "a"], ["namespace", "flush", "a"]]
    )
    func unconfirmed(arguments: [String]) throws {
        // Nobody answers there: the call would fail with another status.
        let result = try Command.run(arguments, url: "http://127.0.0.1:\(try freePort())")
        #expect(result.status == 2 && result.errors.contains("--yes"), "\(result)")
    }

    @Test(
        "help and version are output",
        arguments: [["--help"], ["help", "set"], ["serve", "--help"], ["--version"]]
    )
    func help(arguments: [String]) throws {
        let result = try Command.run(arguments)
        #expect(result.status == 0)
        #expect(!result.output.isEmpty)
        #expect(result.errors.isEmpty)
    }

    @Test("completions are a script of their shell", arguments: ["bash", "zsh", "fish"])
    func completions(shell: String) throws {
        let result = try Command.run(["completions", shell])
        #expect(result.status == 0)
        #expect(result.output.contains("flush"))
        #expect(result.output == (try Command.run(["--generate-completion-script", shell]).output))
        if shell == "bash" {
            #expect(try Command.run(program: ["bash", "-n"], input: result.output).status == 0)
        }
    }
}
