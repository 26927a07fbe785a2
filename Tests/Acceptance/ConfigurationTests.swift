import Glibc
import Support
import Testing

@Suite("Configuration of the service")
struct ConfigurationTests {
    /// Runs `pantler serve` with what keeps it from starting.
    private func refuse(
        _ configuration: String = "",
        _ arguments: String...,
        environment: [String: String] = [:]
    ) throws -> CommandResult {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        var all = ["serve", "--port", "0", "--data-dir", folder.file("data")] + arguments
        if !configuration.isEmpty { all += ["--config", try folder.write(configuration, to: "pantler.yaml")] }
        let result = try Command.run(all, environment: environment)
        #expect(names(in: folder.file("data")).isEmpty, "nothing was made")
        return result
    }

    @Test(
        "an unknown key or a bad value is an error at start, with its line and what is allowed",
        arguments: [
            (
                "memory:\n  max_memroy: 1GiB\n",
                "pantler.yaml:2: there is no key 'memory.max_memroy'; allowed here are max_memory, shards."
            ),
            (
                "memory:\n  max_memory: lots\n",
                "pantler.yaml:2: 'memory.max_memory' is 'lots'; allowed is a size of at least 1MiB"
            ),
            (
                "server:\n  host: 0.0.0.0\n",
                "server.host (0.0.0.0:0) can be reached by others than this machine, which takes TLS and tokens. TLS is missing"
            ),
            ("server: [\n", "this is not YAML"),
        ]
    )
    func badFile(configuration: String, message: String) throws {
        let result = try refuse(configuration)
        #expect(result.status == 2, "\(result)")
        #expect(result.errors.contains(message), "\(result)")
    }

    @Test("so it is in the environment and in flags")
    func badEnvironment() throws {
        let variable = try refuse(environment: ["PANTLER_MEMORY_MAX_MEMROY": "1GiB"])
        #expect(variable.status == 2)
        #expect(variable.errors.contains("PANTLER_MEMORY_MAX_MEMROY in the environment: there is no such setting"))
        let value = try refuse(environment: ["PANTLER_SERVER_THREADS": "many"])
        #expect(value.status == 2)
        #expect(value.errors.contains("PANTLER_SERVER_THREADS in the environment: 'server.threads' is 'many'"))
        let flag = try refuse("", "--max-memory", "1XB")
        #expect(flag.status == 2)
        #expect(flag.errors.contains("--max-memory: 'memory.max_memory' is '1XB'"))
        let file = try refuse("", "--config", "/nowhere/pantler.yaml")
        #expect(file.status == 2)
        #expect(file.errors.contains("/nowhere/pantler.yaml cannot be read: No such file or directory."))
        let host = try refuse("", "--host", "0.0.0.0")
        #expect(host.status == 2)
        #expect(host.errors.contains("TLS is missing"))
    }

    @Test("a port that is taken is a failure, not wrong usage")
    func portTaken() throws {
        let server = try ServerProcess()
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let result = try Command.run(["serve", "--port", "\(server.port)", "--data-dir", folder.file("data")])
        #expect(result.status == 1, "\(result)")
        #expect(result.errors.contains("\(server.port)"), "\(result)")
        #expect(try server.terminate() == .exited(0))
    }

    @Test("flags go before the environment, and that before the file")
    func precedence() throws {
        // The port and the folder come by flags: the harness sees to that.
        let server = try ServerProcess(
            .init(
                configuration:
                    "server:\n  port: 1\nmemory:\n  max_memory: 64MiB\nnamespaces:\n  defaults:\n    default_ttl: 5m\n    max_ttl: 1h\n",
                environment: ["PANTLER_MEMORY_MAX_MEMORY": "32MiB", "PANTLER_NAMESPACES_DEFAULTS_DEFAULT_TTL": "7m"]
            )
        )
        let http = server.client
        #expect(try http.get("/v1/stats").json["memory"]["limit"].int == 32 << 20)
        expect(try http.put("/v1/namespaces/a", "{}"), 201)
        let policy = try http.get("/v1/namespaces/a").json
        #expect(policy["default_ttl"].int == 420)
        #expect(policy["max_ttl"].int == 3600)
        #expect(try server.terminate() == .exited(0))
    }

    @Test("SIGHUP takes what is live, logs what needs a restart, and keeps what it has when the file is broken")
    func reload() throws {
        let server = try ServerProcess(.init(configuration: "log:\n  format: json\n"))
        let http = server.client
        expect(try http.put("/v1/namespaces/a/entries/k", #"{"value":1}"#), 201)
        let (isCurrent, readAt) = (
            "pantler_config_last_reload_successful", "pantler_config_last_reload_success_timestamp_seconds"
        )
        let began = try server.metrics()
        #expect(began.sum(isCurrent) == 1)
        #expect(began.sum(readAt) > 1_700_000_000)
        #expect(began.sum("pantler_disk_limit_bytes") > 0)
        try server.folder.write(
            "log:\n  format: json\ndisk:\n  max_disk: 123MiB\nmemory:\n  shards: 4\nnamespaces:\n  auto_create: false\n  defaults:\n    default_ttl: 5m\n",
            to: "pantler.yaml"
        )
        server.send(signal: SIGHUP)
        try eventually("the reload is logged\n\(server.log)") {
            ["namespaces.auto_create: true -> false", "memory.shards: 16 -> 4"].allSatisfy(server.log.contains)
        }
        expect(try http.put("/v1/namespaces/b/entries/k", #"{"value":1}"#), 404, "namespace_not_found")
        expect(try http.put("/v1/namespaces/b", "{}"), 201)
        #expect(try http.get("/v1/namespaces/b").json["default_ttl"].int == 300)
        let reloaded = try server.metrics()
        #expect(reloaded.sum(isCurrent) == 1)
        #expect(reloaded.sum(readAt) > began.sum(readAt))
        #expect(reloaded.sum("pantler_disk_limit_bytes") == 123 * 1024 * 1024)
        try server.folder.write("namespaces:\n  auto_create: maybe\n", to: "pantler.yaml")
        server.send(signal: SIGHUP)
        try eventually("the broken file is logged\n\(server.log)") { server.log.contains("pantler.yaml:2") }
        let refused = try server.metrics()
        #expect(refused.sum(isCurrent) == 0)
        #expect(refused.sum(readAt) == reloaded.sum(readAt))
        expect(try http.put("/v1/namespaces/c/entries/k", #"{"value":1}"#), 404, "namespace_not_found")
        for line in server.logLines { #expect(!JSON(Array(line.utf8))["message"].isMissing, "\(line)") }
        #expect(try server.terminate() == .exited(0))
    }

    @Test(
        "a body or an answer that is allowed to be larger than all bytes in flight is warned of, at the start and after a reload"
    )
    func bytesInFlight() throws {
        let server = try ServerProcess(
            .init(configuration: "limits:\n  bytes_in_flight: 32MiB\n  answer_size: 16MiB\n")
        )
        func warnings() -> [String] {
            server.logLines.filter { $0.contains("warning") && $0.contains("limits.bytes_in_flight") }
        }
        #expect(warnings().count == 1)
        #expect(warnings().allSatisfy { $0.contains("limits.body_size is 64MiB") && $0.contains("32MiB") })
        try server.folder.write("limits:\n  bytes_in_flight: 32MiB\n  body_size: 32MiB\n", to: "pantler.yaml")
        server.send(signal: SIGHUP)
        try eventually("it is warned of the other one\n\(server.log)") {
            warnings().contains { $0.contains("limits.answer_size is 64MiB") }
        }
        #expect(warnings().count == 2)
        #expect(try server.terminate() == .exited(0))
        let quiet = try ServerProcess(.init())
        #expect(!quiet.log.contains("warning"), "\(quiet.log)")
        #expect(try quiet.terminate() == .exited(0))
    }

    @Test("the log's level changes while it runs")
    func logLevel() throws {
        let server = try ServerProcess(.init(configuration: "log:\n  level: error\n"))
        // A notice.
        server.send(signal: SIGUSR1)
        try server.folder.write("log:\n  level: notice\n", to: "pantler.yaml")
        server.send(signal: SIGHUP)
        try eventually("the new level is logged") { server.log.contains("log.level") }
        #expect(!server.log.contains("SIGUSR1"))
        server.send(signal: SIGUSR1)
        try eventually("the notice is logged\n\(server.log)") { server.log.contains("SIGUSR1") }
        #expect(try server.terminate() == .exited(0))
    }

    @Test(
        "SIGTERM and SIGINT end in 0, and what was written is there after the next start",
        arguments: [SIGTERM, SIGINT]
    )
    func stop(signal: Int32) throws {
        let server = try ServerProcess()
        try server.client.store("/v1/namespaces/a", "k", "17")
        server.send(signal: signal)
        try eventually("it ends") { !server.isRunning }
        #expect(try server.terminate() == .exited(0), "\(server.log)")
        let next = try server.restarted()
        #expect(try next.client.get("/v1/namespaces/a/values/k").text == "17")
        #expect(try next.terminate() == .exited(0))
    }
}
