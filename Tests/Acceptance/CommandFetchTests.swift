import Support
import Testing

@Suite("The command and loads", .server())
struct CommandFetchTests {
    let server: ServerProcess
    let http: HTTPClient
    /// The path of this test's namespace, and its name.
    let ns: String
    let name: String
    let folder: TemporaryDirectory

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace()
        name = String(ns.split(separator: "/").last ?? "")
        folder = try TemporaryDirectory()
    }

    /// Runs a fetch in this test's namespace to its end.
    private func fetch(
        _ key: String,
        _ options: [String] = [],
        _ command: [String],
        input: String? = nil,
        url: String? = nil
    ) throws -> CommandResult {
        let arguments = ["fetch", key, "-n", name] + options + ["--"] + command
        return try Command.run(arguments, url: url ?? server.url, input: input)
    }

    /// A fetch whose command goes on until it is told to end.
    private struct Load {
        let process: ChildProcess
        let folder: TemporaryDirectory
        let number: Int

        var output: String { text(of: folder.file("out-\(number)")) }
        var errors: String { text(of: folder.file("err-\(number)")) }
        /// How often commands have begun in this folder.
        var runs: Int { text(of: folder.file("runs")).count(where: { $0 == "\n" }) }

        /// Has the command end, which every other one in the folder does then, too.
        func goOn() throws { try folder.write("", to: "gate") }

        func hasBegun(_ runs: Int = 1) throws {
            try eventually("a command runs \(errors)") { self.runs == runs }
        }
    }

    /// Begins a fetch whose command says that it runs, waits at a gate, and prints `loaded-NUMBER`.
    private func begin(
        _ number: Int,
        _ key: String = "k",
        _ options: [String] = [],
        script: String = "",
        in folder: TemporaryDirectory,
        url: String? = nil
    ) throws -> Load {
        let script =
            script.isEmpty
            ? "echo \(number) >> runs; while [ ! -e gate ]; do sleep 0.02; done; echo loaded-\(number)" : script
        let process = try ChildProcess(
            [Command.executable(), "fetch", key, "-n", name] + options + ["--", "sh", "-c", script],
            environment: Command.environment(["PANTLER_URL": url ?? server.url]),
            folder: folder.path,
            output: folder.file("out-\(number)"),
            errors: folder.file("err-\(number)")
        )
        return Load(process: process, folder: folder, number: number)
    }

    private var leases: [JSON] { get throws { try http.get("\(ns)/leases").json["leases"].array } }

    @Test(
        "what the command prints is stored and printed, and from then on the entry is printed, byte for byte",
        arguments: [
            ("42\n", "application/json"), (#"{"a":1.50}"#, "application/json"), ("\n [1,\n2]\n\n", "application/json"),
            ("plain text\n", "text/plain; charset=utf-8"), ("", "text/plain; charset=utf-8"),
            ("{broken", "text/plain; charset=utf-8"),
        ]
    )
    func roundTrip(value: String, type: String) throws {
        defer { folder.remove() }
        for command in [["printf", "%s", value], ["false"]] {
            let result = try fetch("k", ["--ttl", "1h", "--tag", "t"], command)
            #expect(result.status == 0 && result.output == value && result.errors.isEmpty, "\(result)")
        }
        let stored = try http.get("\(ns)/values/k")
        #expect(stored.text == value && stored["Content-Type"] == type, "\(stored)")
        let entry = try http.get("\(ns)/entries/k").json
        #expect(entry["tags"].strings == ["t"] && entry["expires_at"].string != nil)
        #expect(try Command.run(["get", "k", "-n", name], url: server.url).output == value)
    }

    @Test("bytes that are no text stay as they are, and may be given a media type")
    func bytes() throws {
        defer { folder.remove() }
        for command in [#"printf '\377\000\n'"#, "false"] {
            let line =
                #""$PANTLER" fetch k -n "$NS" --content-type image/png -- sh -c '\#(command.replacingQuotes)' > out"#
            let result = try shell(line)
            #expect(result.status == 0, "\(result)")
            #expect(contents(of: folder.file("out")) == [255, 0, 10])
        }
        #expect(try http.get("\(ns)/values/k")["Content-Type"] == "image/png")
    }

    /// Runs a line of the shell's in this test's folder.
    private func shell(_ line: String) throws -> CommandResult {
        try Command.run(
            program: ["sh", "-c", "cd '\(folder.path)'; " + line],
            environment: ["PANTLER": Command.executable(), "NS": name, "PANTLER_URL": server.url]
        )
    }

    @Test("the command has this one's input, errors and files, and any bytes as its arguments")
    func streams() throws {
        defer { folder.remove() }
        #expect(try fetch("in", [], ["cat"], input: "from input\n").output == "from input\n")
        let errors = try fetch("err", [], ["sh", "-c", "echo told >&2"])
        #expect(errors.errors == "told\n" && errors.output.isEmpty && errors.status == 0)
        // Both from one shell: what other tests have open while a process begins may come along into it.
        let listing = "ls /proc/self/fd"
        let files = try shell(#"\#(listing) > direct; "$PANTLER" fetch files -n "$NS" -- \#(listing) > fetched"#)
        #expect(files.status == 0, "\(files)")
        #expect(contents(of: folder.file("fetched")) == contents(of: folder.file("direct")))
        #expect(try shell(#""$PANTLER" fetch odd -n "$NS" -- printf %s "$(printf 'caf\351')" > out"#).status == 0)
        #expect(contents(of: folder.file("out")) == [0x63, 0x61, 0x66, 0xe9])
        #expect(try fetch("dashes", ["--ttl=1m"], ["echo", "--", "-n", "--ttl"]).output == "-- -n --ttl\n")
    }

    @Test("of several fetches at once one runs its command, and all print what it has printed")
    func once() throws {
        defer { folder.remove() }
        let first = try begin(1, in: folder)
        try first.hasBegun()
        let second = try begin(2, in: folder)
        let third = try begin(3, in: folder)
        try eventually("both wait \(second.errors)") { try leases.first?["waiters"].int == 2 }
        let table = try Command.run(["leases", "-n", name], url: server.url)
        #expect(table.output.contains("WAITERS") && table.output.contains("k "), "\(table)")
        #expect(try Command.run(["leases", "-n", name, "-o", "json"], url: server.url).json["count"].int == 1)
        try first.goOn()
        for load in [first, second, third] {
            #expect(try load.process.wait(within: 30) == .exited(0), "\(load.errors)")
            #expect(load.output == "loaded-1\n" && load.errors.isEmpty)
        }
        #expect(first.runs == 1)
        #expect(try leases.isEmpty)
        #expect(try Command.run(["leases", "-n", name], url: server.url).output.isEmpty)
        let stats = try Command.run(["stats", name], url: server.url)
        for row in ["leases, given ", "leases, filled ", "loads avoided "] {
            #expect(stats.output.contains(row), "\(stats)")
        }
    }

    @Test(
        "a command that fails ends it with its status, stores nothing, and the next in line gets the lease",
        arguments: [("exit 7", 7), ("kill -9 $$", 137), ("exec pantler-none", 127)] as [(String, Int32)]
    )
    func failure(script: String, status: Int32) throws {
        defer { folder.remove() }
        let failing = try begin(
            1,
            script: "echo 1 >> runs; while [ ! -e gate ]; do sleep 0.02; done; echo partial; \(script)",
            in: folder
        )
        try failing.hasBegun()
        let next = try begin(2, in: folder)
        try eventually("the other one waits") { try leases.first?["waiters"].int == 1 }
        try failing.goOn()
        #expect(try failing.process.wait(within: 30) == .exited(status))
        #expect(failing.output == "partial\n")
        #expect(try next.process.wait(within: 30) == .exited(0), "\(next.errors)")
        #expect(next.output == "loaded-2\n")
        #expect(try http.get("\(ns)/values/k").text == "loaded-2\n")
    }

    @Test("a command that is not there ends it with 127, one that cannot be run with 126, and both say so")
    func notRun() throws {
        defer { folder.remove() }
        for (command, status) in [("pantler-none", 127), ("/etc/passwd", 126)] {
            let result = try fetch("k", [], [command])
            #expect(result.status == Int32(status), "\(result)")
            #expect(result.errors.contains(command) && result.output.isEmpty)
            #expect(try leases.isEmpty)
        }
    }

    @Test("a source that has failed is left alone for as long as was asked for")
    func failRetry() throws {
        defer { folder.remove() }
        #expect(try fetch("k", ["--fail-retry", "60s"], ["false"]).status == 1)
        let next = try fetch("k", [], ["touch", folder.file("ran")])
        #expect(next.status == 5 && next.output.isEmpty && !next.errors.isEmpty, "\(next)")
        #expect(names(in: folder.path).isEmpty)
    }

    @Test("a stale entry stands in for a command that fails where that is asked for")
    func staleIfError() throws {
        defer { folder.remove() }
        try http.store(ns, "k", "\"old\"", #""ttl":0.05,"stale_ttl":3600"#)
        try eventually("the entry is stale") {
            try http.get("\(ns)/entries/k?peek")["Cache-Status"]?.contains("detail=stale") == true
        }
        #expect(try fetch("k", [], ["false"]).status == 1)
        let stale = try fetch("k", ["--stale-if-error"], ["false"])
        #expect(stale.status == 0 && stale.output == "\"old\"" && stale.errors.contains("stale"), "\(stale)")
        // While one refreshes it, all others get it as it is.
        let refresher = try begin(1, in: folder)
        try refresher.hasBegun()
        #expect(try fetch("k", [], ["false"]).output == "\"old\"")
        try refresher.goOn()
        #expect(try refresher.process.wait(within: 30) == .exited(0))
        #expect(try fetch("k", [], ["false"]).output == "loaded-1\n")
    }

    @Test("that the source has nothing is stored where the command says so by its status")
    func absent() throws {
        defer { folder.remove() }
        let first = try fetch("k", ["--absent-on", "44"], ["sh", "-c", "echo nothing; exit 44"])
        #expect(first.status == 3 && first.output.isEmpty && first.errors.contains("'k'"), "\(first)")
        let second = try fetch("k", [], ["touch", folder.file("ran")])
        #expect(second.status == 3 && second.output.isEmpty && names(in: folder.path).isEmpty, "\(second)")
        #expect(try fetch("other", ["--absent-on", "44"], ["sh", "-c", "exit 43"]).status == 43)
    }

    // MARK: Signals

    @Test("a signal ends the command too, and the lease is released", arguments: [1, 2, 15] as [Int32])
    func signal(number: Int32) throws {
        defer { folder.remove() }
        let script =
            "trap 'echo got >> runs; exit 0' \(number); echo ready >> runs; while :; do sleep 0.02; done"
        let load = try begin(1, script: script, in: folder)
        try load.hasBegun()
        load.process.send(number)
        #expect(try load.process.wait(within: 30) == .signalled(number))
        #expect(text(of: folder.file("runs")) == "ready\ngot\n")
        #expect(load.output.isEmpty && load.errors.isEmpty)
        #expect(try leases.isEmpty)
        #expect(try fetch("k", [], ["echo", "next"]).output == "next\n")
    }

    @Test("what the command has left behind with its output open does not keep a signal waiting")
    func leftBehind() throws {
        defer { folder.remove() }
        let load = try begin(1, script: "sleep 1000 & echo $! > pid; echo 1 >> runs; wait", in: folder)
        try load.hasBegun()
        load.process.send(15)
        #expect(try load.process.wait(within: 30) == .signalled(15))
        let pid = text(of: folder.file("pid"))
        #expect(try Command.run(program: ["sh", "-c", "kill \(pid)"]).status == 0)
    }

    @Test("Ctrl-C reaches the command once, by the terminal")
    func controlC() throws {
        defer { folder.remove() }
        // The command counts; the terminal's driver sends it the signal.
        let command =
            "trap 'echo got >> \(folder.path)/runs' INT; echo ready >> \(folder.path)/runs; "
            + "while [ ! -e \(folder.path)/gate ]; do sleep 0.02; done"
        let line = "'\(try Command.executable())' fetch k -n \(name) -- sh -c \"\(command)\""
        let feeder =
            "while [ ! -s \(folder.path)/runs ]; do sleep 0.02; done; printf '\\003'; "
            + "while [ $(wc -l < \(folder.path)/runs) -lt 2 ]; do sleep 0.02; done; touch \(folder.path)/gate; sleep 0.3"
        let result = try Command.run(
            program: ["sh", "-c", "(\(feeder)) | script -qec '\(line.replacingQuotes)' /dev/null"],
            environment: ["PANTLER_URL": server.url]
        )
        #expect(result.status == 130, "\(result)")
        #expect(text(of: folder.file("runs")) == "ready\ngot\n")
        #expect(try leases.isEmpty)
    }

    @Test("a fetch that waits for another ends at a signal, and that other does not hear of it")
    func signalWhileWaiting() throws {
        defer { folder.remove() }
        let first = try begin(1, in: folder)
        try first.hasBegun()
        let second = try begin(2, in: folder)
        try eventually("it waits") { try leases.first?["waiters"].int == 1 }
        second.process.send(2)
        #expect(try second.process.wait(within: 30) == .signalled(2))
        try eventually("nobody waits") { try leases.first?["waiters"].int == 0 }
        try first.goOn()
        #expect(try first.process.wait(within: 30) == .exited(0))
    }

    // MARK: Leases

    @Test("the lease is prolonged while the command runs")
    func prolonged() throws {
        defer { folder.remove() }
        let load = try begin(1, "k", ["--lease-ttl", "3s"], in: folder)
        try load.hasBegun()
        let end = try #require(try leases.first?["expires_at"].string)
        try eventually("the lease is prolonged") {
            let later = try leases.first?["expires_at"].string
            return later != nil && later != end
        }
        try load.goOn()
        #expect(try load.process.wait(within: 30) == .exited(0))
        #expect(try http.get("\(ns)/values/k").text == "loaded-1\n")
    }

    @Test("the lease of a fetch that is killed runs out, and the next one loads")
    func killed() throws {
        defer { folder.remove() }
        let first = try begin(1, "k", ["--lease-ttl", "500ms"], in: folder)
        try first.hasBegun()
        first.process.send(9)
        #expect(try first.process.wait(within: 30) == .signalled(9))
        let second = try begin(2, in: folder)
        try second.hasBegun(2)
        try second.goOn()
        #expect(try second.process.wait(within: 30) == .exited(0), "\(second.errors)")
        #expect(second.output == "loaded-2\n")
    }

    @Test("what was loaded before a change is printed, and not stored", arguments: [false, true])
    func changed(isStrict: Bool) throws {
        defer { folder.remove() }
        let load = try begin(1, "k", isStrict ? ["--strict"] : ["-v"], in: folder)
        try load.hasBegun()
        #expect(try http.delete("\(ns)/entries/k").status == 404)
        try load.goOn()
        #expect(try load.process.wait(within: 30) == .exited(isStrict ? 5 : 0))
        #expect(load.output == "loaded-1\n" && !load.errors.isEmpty)
        #expect(try http.get("\(ns)/entries/k").status == 404)
    }

    @Test("where others take longer than is waited for, the command runs all the same, and nothing is stored")
    func waitedInVain() throws {
        defer { folder.remove() }
        let first = try begin(1, in: folder)
        try first.hasBegun()
        let impatient = try fetch("k", ["--wait", "0"], ["echo", "mine"])
        #expect(impatient.status == 0 && impatient.output == "mine\n" && !impatient.errors.isEmpty, "\(impatient)")
        let strict = try fetch("k", ["--wait", "200ms", "--strict"], ["echo", "mine"])
        #expect(strict.status == 5 && strict.output.isEmpty, "\(strict)")
        #expect(try http.get("\(ns)/entries/k").status == 404)
        try first.goOn()
        #expect(try first.process.wait(within: 30) == .exited(0))
        #expect(try http.get("\(ns)/values/k").text == "loaded-1\n")
    }

    @Test("what the service refuses to store is printed all the same; --strict fails")
    func refused() throws {
        defer { folder.remove() }
        expect(try http.put(ns, #"{"max_value_size":1024}"#), 201)
        let large = ["sh", "-c", "printf '%2000d' 1"]
        let result = try fetch("k", [], large)
        #expect(result.status == 0 && result.output.count == 2000 && !result.errors.isEmpty, "\(result)")
        let strict = try fetch("k", ["--strict"], large)
        #expect(strict.status == 1 && strict.output.count == 2000 && !strict.errors.isEmpty, "\(strict)")
        let noJSON = try fetch("k", ["--type", "json"], ["echo", "<html>"])
        #expect(noJSON.status == 0 && noJSON.output == "<html>\n" && !noJSON.errors.isEmpty, "\(noJSON)")
        #expect(try leases.isEmpty)
        #expect(try http.get("\(ns)/entries/k").status == 404)
        // A wrong question is the caller's mistake: it is not hidden behind what the command prints.
        let wrong = try fetch(String(repeating: "k", count: 2000), [], ["touch", folder.file("ran")])
        #expect(wrong.status == 1 && wrong.output.isEmpty && names(in: folder.path).isEmpty, "\(wrong)")
    }

    // MARK: Without the service

    @Test("a service that is away costs nothing but the cache; --strict fails, and does not run the command")
    func away() throws {
        defer { folder.remove() }
        let url = "http://127.0.0.1:\(try freePort())"
        let result = try fetch("k", [], ["echo", "loaded"], url: url)
        #expect(result.status == 0 && result.output == "loaded\n" && result.errors.contains(url), "\(result)")
        #expect(try fetch("k", [], ["sh", "-c", "exit 7"], url: url).status == 7)
        let strict = try fetch("k", ["--strict"], ["touch", folder.file("ran")], url: url)
        #expect(strict.status == 6 && names(in: folder.path).isEmpty, "\(strict)")
    }

    @Test(
        "a proxy's page in the service's place, and a caller who has asked too often, keep nobody from it; --strict fails",
        arguments: [
            (502, "<html>"), (404, "<html>"), (200, "<html>"),
            (429, #"{"code":"rate_limited","detail":"Too many requests.","retry_after":60}"#),
        ] as [(Int, String)]
    )
    func inItsPlace(status: Int, body: String) throws {
        defer { folder.remove() }
        let stub = try StubService(["POST \(ns)/lease?key=k": (status, body)])
        let result = try fetch("k", [], ["echo", "loaded"], url: stub.url)
        #expect(result.status == 0 && result.output == "loaded\n" && !result.errors.isEmpty, "\(result)")
        let strict = try fetch("k", ["--strict"], ["touch", folder.file("ran")], url: stub.url)
        #expect(strict.status != 0 && strict.output.isEmpty && names(in: folder.path).isEmpty, "\(strict)")
        #expect(stub.asked.count == 2)
    }

    @Test("a service that goes away while the command runs loses no output", arguments: [false, true])
    func goesAway(isStrict: Bool) throws {
        defer { folder.remove() }
        let own = try ServerProcess()
        let load = try begin(1, "k", isStrict ? ["--strict"] : [], in: folder, url: own.url)
        try load.hasBegun()
        try own.kill9()
        try load.goOn()
        #expect(try load.process.wait(within: 30) == .exited(isStrict ? 6 : 0))
        #expect(load.output == "loaded-1\n" && load.errors.contains(own.url), "\(load.errors)")
    }
}

extension String {
    /// As it has to stand between single quotes in a shell's line.
    fileprivate var replacingQuotes: String {
        split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#)
    }
}
