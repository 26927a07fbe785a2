import Support
import Testing

@Suite("The command, namespaces and figures", .server())
struct CommandNamespaceTests {
    let server: ServerProcess
    let http: HTTPClient
    let ns: String
    let name: String

    init() throws {
        server = try ServerTrait.server
        http = server.client
        ns = try http.namespace()
        name = String(ns.split(separator: "/").last ?? "")
    }

    private func pantler(_ arguments: String...) throws -> CommandResult {
        try Command.run(arguments, url: server.url)
    }

    @Test("a namespace is created, shown, changed, listed and deleted")
    func life() throws {
        let created = try pantler(
            "namespace",
            "create",
            name,
            "--default-ttl",
            "5m",
            "--max-ttl",
            "1d",
            "--stale-ttl",
            "30s",
            "--negative-ttl",
            "10s",
            "--ttl-jitter",
            "0.1",
            "--early-refresh",
            "1.5",
            "--max-memory",
            "64MiB",
            "--max-entries",
            "1000",
            "--max-disk",
            "1GiB",
            "--max-value-size",
            "1MiB",
            "--eviction",
            "lru",
            "--durability",
            "through",
            "--compression-threshold",
            "2KiB",
            "--compression-level",
            "9"
        )
        #expect(created.status == 0, "\(created)")
        let made = try http.get(ns).json
        #expect(made["default_ttl"].int == 300)
        #expect(made["max_ttl"].int == 86_400)
        #expect(made["stale_ttl"].int == 30)
        #expect(made["negative_ttl"].int == 10)
        #expect(made["ttl_jitter"].double == 0.1)
        #expect(made["early_refresh"].double == 1.5)
        #expect(made["max_memory"].int == 64 << 20)
        #expect(made["max_entries"].int == 1000)
        #expect(made["max_disk"].int == 1 << 30)
        #expect(made["max_value_size"].int == 1 << 20)
        #expect(made["durability"].string == "through")
        #expect(made["compression"]["threshold"].int == 2048)
        #expect(made["compression"]["level"].int == 9)
        let again = try pantler("namespace", "create", name)
        #expect(again.status == 5)
        #expect(again.errors.contains("namespace update"))
        #expect(
            try pantler(
                "namespace",
                "update",
                name,
                "--max-ttl",
                "none",
                "--max-entries",
                "7",
                "--compression-level",
                "1"
            ).status == 0
        )
        let changed = try http.get(ns).json
        #expect(changed["max_ttl"].isNull)
        #expect(changed["max_entries"].int == 7)
        #expect(changed["default_ttl"].int == 300)
        #expect(changed["compression"]["threshold"].int == 2048)
        let shown = try pantler("namespace", "show", name)
        #expect(shown.output.contains("default_ttl     5m\n"))
        #expect(shown.output.contains("max_memory      64MiB\n"))
        #expect(try pantler("namespace", "show", name, "-o", "json").output == (try http.get(ns).text) + "\n")
        #expect(try pantler("namespace", "list").output.contains("\n\(name) "))
        #expect(
            try pantler("namespace", "list", "-o", "json").json["namespaces"].array.contains {
                $0["name"].string == name
            }
        )
        #expect(try pantler("namespace", "delete", name, "--yes").output == "namespace '\(name)' deleted\n")
        #expect(try pantler("namespace", "delete", name, "--yes").status == 3)
        #expect(try pantler("namespace", "update", name, "--max-ttl", "1d").status == 3)
        #expect(try pantler("namespace", "create", "No Name").status == 1)
    }

    @Test("a flush drops all, a prefix, or a tag")
    func flush() throws {
        for key in ["a1", "a2", "b1", "b2"] { try http.store(ns, key, "1", #""tags":["\#(key.suffix(1))"]"#) }
        let prefix = try pantler("namespace", "flush", name, "--prefix", "a")
        #expect(prefix.status == 0, "\(prefix)")
        #expect(prefix.output == "entries invalidated: 2\n")
        expect(try http.get("\(ns)/entries/a1"), 404)
        #expect(try pantler("namespace", "flush", name, "--tag", "1").output == "tags invalidated: 1\n")
        expect(try http.get("\(ns)/entries/b1"), 404)
        expect(try http.get("\(ns)/entries/b2"), 200)
        #expect(try pantler("namespace", "flush", name, "--yes", "-o", "json").json["generation"].int == 1)
        expect(try http.get("\(ns)/entries/b2"), 404)
        #expect(try pantler("namespace", "flush", "\(name)-none", "--yes").status == 3)
    }

    @Test("statistics show hits, misses and sizes, of a namespace and of all")
    func stats() throws {
        try http.store(ns, "a")
        for key in ["a", "a", "a", "none"] { _ = try http.get("\(ns)/entries/\(key)") }
        let one = try pantler("stats", name)
        #expect(one.status == 0)
        #expect(one.output.contains("since start     4     3       1    75.00 %"), "\(one)")
        #expect(one.output.contains("hit in memory"))
        #expect(one.output.contains("miss, absent"))
        #expect(try pantler("stats", name, "-o", "json").json["gets"].int == 4)
        let all = try pantler("stats")
        #expect(all.status == 0)
        #expect(all.output.contains("\n\(name) "))
        #expect(all.output.contains("\nmemory "))
        #expect(all.output.contains("\ndisk "))
        #expect(try pantler("stats", "-o", "json").json["memory"]["limit"].int == 256 << 20)
    }

    @Test("a check tells how each tier is")
    func check() throws {
        let result = try pantler("check")
        #expect(result.status == 0, "\(result)")
        for part in ["service", "memory", "disk"] { #expect(result.output.contains("\n\(part)")) }
        let json = try pantler("check", "--output", "json").json
        #expect(json["ok"].bool == true)
        #expect(json["parts"].array.map { $0["part"].string } == ["service", "memory", "disk", "listener"])
    }

    @Test("a check of a data folder reads every entry, also while it is served, and finds what is damaged")
    func checkFolder() throws {
        let server = try ServerProcess()
        try server.client.store("/v1/namespaces/a", "k", "17")
        let served = try Command.run(["check", "--data-dir", server.dataFolder, "-o", "json"])
        #expect(served.status == 0, "\(served)")
        #expect(try server.terminate() == .exited(0))
        let stopped = try Command.run(["check", "--data-dir", server.dataFolder])
        #expect(stopped.status == 0, "\(stopped)")
        #expect(stopped.output.contains("1 in 1 namespaces"), "\(stopped)")
        // Into what it holds: room that is kept for the log lies behind.
        #expect(try Command.run(program: ["truncate", "-s", "40960", server.databaseFile()]).status == 0)
        let damaged = try Command.run(["check", "--data-dir", server.dataFolder, "-o", "json"])
        #expect(damaged.status == 1, "\(damaged)")
        let none = try Command.run(["check", "--data-dir", server.folder.file("none")])
        #expect(none.status == 1)
        #expect(none.errors.contains("none"))
    }
}
