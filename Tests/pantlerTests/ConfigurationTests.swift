import Foundation
import Logging
import PantlerHTTP
import PantlerModel
import Support
import Testing

@testable import pantler

@Suite("The configuration")
struct ConfigurationTests {
    /// Loads what these sources say.
    ///
    /// - Parameter alone: whether what the values mean together does not matter.
    private func load(
        _ yaml: String = "",
        environment: [String: String] = [:],
        flags: [ConfigurationSource.FlagValue] = [],
        alone: Bool = false
    ) throws -> ServeConfiguration {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = yaml.isEmpty ? nil : try folder.write(yaml, to: "pantler.yaml")
        let source = ConfigurationSource(file: path, environment: environment, flags: flags)
        return try alone ? source.read() : source.load()
    }

    /// The faults of what these sources say, without the folder before the file's name.
    private func faults(_ yaml: String = "", environment: [String: String] = [:]) throws -> [String] {
        do {
            _ = try load(yaml, environment: environment)
            return []
        } catch let error as ConfigurationError {
            return error.faults.map { String($0[($0.range(of: "pantler.yaml")?.lowerBound ?? $0.startIndex)...]) }
        }
    }

    private static let documented = #filePath.components(separatedBy: "/Tests/")[0] + "/config/pantler.yaml"

    @Test("nothing said is the defaults")
    func defaults() throws {
        #expect(try load() == ServeConfiguration())
        #expect(try load("# nothing\n") == ServeConfiguration())
        #expect(try load("memory:\n  # nothing here either\n") == ServeConfiguration())
    }

    @Test("config/pantler.yaml has every key, with its default")
    func documentedDefaults() throws {
        let file = try ConfigurationFile(path: Self.documented)
        #expect(file.faults.isEmpty)
        #expect(Set(file.values.keys) == Set(Setting.all.map(\.key)))
        let configuration = try ConfigurationSource(file: Self.documented).load()
        for setting in Setting.all {
            #expect(setting.text(in: configuration) == setting.text(in: ServeConfiguration()), "\(setting.key)")
        }
        #expect(configuration == ServeConfiguration())
    }

    @Test("config/pantler.yaml explains every key, and says which are live", arguments: Setting.all.map(\.key))
    func explained(key: String) throws {
        let setting = try #require(Setting.named(key))
        let lines = text(of: Self.documented).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        // The comments above the key, above those that stand right before it, and above its sections.
        var path: [Substring] = key.split(separator: ".")
        var line = lines.count
        var comments: [String] = []
        var isNearest = true
        while let name = path.popLast() {
            let indent = String(repeating: "  ", count: path.count)
            line = try #require(lines[..<line].lastIndex { $0.hasPrefix(indent + name + ":") }, "\(name)")
            var above = line - 1
            while isNearest, above >= 0, !lines[above].contains("#"), !lines[above].isEmpty,
                lines[above].hasPrefix(indent)
            { above -= 1 }
            isNearest = false
            while above >= 0, lines[above].drop(while: { $0 == " " }).hasPrefix("#") {
                comments.append(lines[above])
                above -= 1
            }
        }
        #expect(!comments.isEmpty)
        #expect(comments.contains { $0.contains("[live]") } == setting.isLive)
    }

    @Test("each key's variable is its own")
    func variables() {
        #expect(Set(Setting.all.map(\.variable)).count == Setting.all.count)
        #expect(Setting.named("memory.max_memory")?.variable == "PANTLER_MEMORY_MAX_MEMORY")
    }

    @Test("every key can be set by the file and by the environment", arguments: Setting.all.map(\.key))
    func everyKey(key: String) throws {
        let setting = try #require(Setting.named(key))
        let text = try #require(Self.others[key], "\(key) has no other value in this test")
        let names = key.split(separator: ".")
        let yaml = names.enumerated().map { String(repeating: "  ", count: $0) + $1 + ":" }.joined(separator: "\n")
        let byFile = try load("\(yaml) \(text)\n", alone: true)
        let listed = text.filter { !"[]".contains($0) }
        let byEnvironment = try load(environment: [setting.variable: listed], alone: true)
        #expect(byFile == byEnvironment)
        #expect(setting.text(in: byFile) == text)
        #expect(byFile != ServeConfiguration() || setting.allowed == text, "\(key) changes nothing")
        var copy = ServeConfiguration()
        setting.copy(from: byFile, to: &copy)
        #expect(copy == byFile, "nothing else was set")
    }

    /// Of each key a value that is not its default.
    private static let others = [
        "server.host": "::1", "server.port": "0", "server.socket": "/run/pantler/pantler.sock",
        "server.socket_mode": "0600",
        "server.socket_group": "www-data", "server.tls": "true", "server.tokens": "true", "server.plaintext": "true",
        "server.listen": "[port=8443 tls=true, socket=/run/pantler.sock mode=0640]", "server.shutdown_delay": "5s",
        "server.open_metrics": "true", "tls.certificate": "/etc/pantler/cert.pem", "tls.key": "/etc/pantler/key.pem",
        "tls.client_ca": "/etc/pantler/ca.pem", "tls.client_role": "write",
        "tls.client_namespaces": "[sessions, team-*]",
        "tokens.file": "/etc/pantler/tokens.yaml", "limits.connections_per_peer": "10",
        "limits.requests_per_token": "100",
        "limits.failed_tokens": "3", "limits.body_rate": "2KiB", "limits.answer_rate": "3KiB", "limits.handshakes": "7",
        "limits.handshake_timeout": "3s", "log.audit": "false", "server.threads": "3", "server.pin_threads": "true",
        "server.allowed_hosts": "[cache, cache.example.org]",
        "server.shutdown_timeout": "3s", "data_dir": "/var/lib/pantler", "memory.max_memory": "1GiB",
        "memory.shards": "4",
        "disk.max_disk": "1TiB", "disk.readers": "4", "disk.queue_entries": "10", "disk.queue_size": "1MiB",
        "disk.flush_interval": "7ms", "disk.wal_size": "32MiB", "disk.writer_cache": "1MiB",
        "disk.reader_cache": "1MiB",
        "namespaces.auto_create": "false", "namespaces.max_namespaces": "7", "namespaces.defaults.default_ttl": "5m",
        "namespaces.defaults.max_ttl": "1d", "namespaces.defaults.stale_ttl": "30s",
        "namespaces.defaults.negative_ttl": "5s",
        "namespaces.defaults.ttl_jitter": "0.25", "namespaces.defaults.early_refresh": "1.5",
        "namespaces.defaults.max_memory": "64MiB", "namespaces.defaults.max_entries": "100",
        "namespaces.defaults.max_disk": "1GiB", "namespaces.defaults.max_value_size": "1MiB",
        "namespaces.defaults.eviction": "lru", "namespaces.defaults.durability": "through",
        "namespaces.defaults.compression.threshold": "10KiB", "namespaces.defaults.compression.level": "9",
        "limits.head_size": "32KiB", "limits.target_size": "4KiB", "limits.body_size": "1MiB",
        "limits.answer_size": "2MiB", "limits.bytes_in_flight": "128MiB",
        "limits.connections": "100", "limits.leases": "7", "limits.waiters": "8",
        "limits.pipelined_requests": "10", "limits.head_timeout": "300ms", "limits.body_timeout": "300ms",
        "limits.idle_timeout": "400ms", "log.level": "debug", "log.format": "json",
        "log.access": "slow", "log.slow": "20ms",
    ]

    @Test("flags go before the environment, that before the file, that before the defaults")
    func precedence() throws {
        let yaml = "server:\n  port: 1\n  threads: 1\nlog:\n  level: debug\n"
        let environment = ["PANTLER_SERVER_PORT": "2", "PANTLER_SERVER_THREADS": "2"]
        let flags = [ConfigurationSource.FlagValue(flag: "--port", key: "server.port", text: "3")]
        let configuration = try load(yaml, environment: environment, flags: flags)
        #expect(configuration.server.port == 3)
        #expect(configuration.server.threads == 2)
        #expect(configuration.log.level == .debug)
        #expect(configuration.log.format == .text)
    }

    @Test("PANTLER_CONFIG names the file where no flag does")
    func fileByEnvironment() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let one = try folder.write("server:\n  port: 1\n", to: "1.yaml")
        let two = try folder.write("server:\n  port: 2\n", to: "2.yaml")
        #expect(try ConfigurationSource(environment: ["PANTLER_CONFIG": one]).load().server.port == 1)
        #expect(try ConfigurationSource(file: two, environment: ["PANTLER_CONFIG": one]).load().server.port == 2)
    }

    @Test(
        "a file that says what is no setting is refused with line, key and what is allowed",
        arguments: [
            (
                "memroy:\n  x: 1\n",
                "pantler.yaml:1: there is no key 'memroy'; allowed here are server, data_dir, memory, disk, namespaces, tls, tokens, limits, log."
            ),
            (
                "server:\n  port: 1\n  prot: 2\n",
                "pantler.yaml:3: there is no key 'server.prot'; allowed here are host, port, socket,"
            ),
            (
                "namespaces:\n  defaults:\n    compression:\n      speed: 1\n",
                "pantler.yaml:4: there is no key 'namespaces.defaults.compression.speed'; allowed here are threshold, level."
            ),
            ("server: 8080\n", "pantler.yaml:1: 'server' is a section"),
            ("server: [1]\n", "pantler.yaml:1: 'server' is a section"),
            ("- server\n", "pantler.yaml: the file is no mapping"),
            ("8080\n", "pantler.yaml: the file is no mapping"),
            ("server:\n\tport: 1\n", "pantler.yaml:2: this is not YAML"),
            ("server: {port: 1\n", "pantler.yaml:2: this is not YAML"),
            ("server:\n  port: 1\n  port: 2\n", "pantler.yaml:2: the key 'port' stands there twice."),
            ("server:\n  port: 1\n---\nserver:\n  port: 2\n", "pantler.yaml:3: this is not YAML"),
        ]
    )
    func unknown(yaml: String, fault: String) throws {
        let found = try faults(yaml)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(fault) == true, "\(found)")
    }

    @Test(
        "a value that is not allowed is refused, wherever it stands",
        arguments: [
            ("server.host", "127.0.0.256"), ("server.host", "a b"), ("server.host", "null"), ("server.host", "10.1"),
            ("server.host", "http://a"), ("server.host", "1::2::3"), ("server.socket_mode", "0999"),
            ("server.socket_mode", "66"),
            ("server.socket_mode", "rw"), ("server.socket_mode", "1777"), ("server.socket_group", "a b"),
            ("server.tokens", "maybe"),
            ("server.listen", "port=x"), ("server.listen", "port"), ("server.listen", "port=1 port=2"),
            ("server.listen", "tls=true"),
            ("server.listen", "socket=/s port=1"), ("server.listen", "port=1 mode=0660"), ("server.listen", "prot=1"),
            ("tls.client_role", "root"), ("tls.client_namespaces", "a*b"), ("server.port", "65536"),
            ("server.port", "-1"),
            ("server.port", "http"), ("server.port", "80.5"),
            ("server.threads", "many"), ("server.shutdown_timeout", "2 hours"), ("server.allowed_hosts", "a b"),
            ("memory.max_memory", "lots"), ("memory.max_memory", "0"), ("memory.max_memory", "null"),
            ("memory.max_memory", "1kB"),
            ("memory.shards", "0"), ("disk.max_disk", "-1GiB"), ("disk.flush_interval", "51ms"), ("disk.readers", "0"),
            ("namespaces.auto_create", "yes"), ("namespaces.auto_create", "1"), ("namespaces.max_namespaces", "0"),
            ("namespaces.defaults.default_ttl", "0"), ("namespaces.defaults.default_ttl", "101y"),
            ("namespaces.defaults.max_ttl", "36501d"), ("namespaces.defaults.ttl_jitter", "1.5"),
            ("namespaces.defaults.negative_ttl", "0"), ("namespaces.defaults.negative_ttl", "null"),
            ("namespaces.defaults.early_refresh", "10.1"), ("namespaces.defaults.early_refresh", "-1"),
            ("namespaces.defaults.ttl_jitter", "nan"), ("namespaces.defaults.max_entries", "1.5"),
            ("namespaces.max_namespaces", "16385"), ("namespaces.defaults.max_value_size", "1GiB"),
            ("namespaces.defaults.max_value_size", "9007199254740991"), ("limits.body_size", "1025MiB"),
            ("limits.body_size", "4GiB"),
            ("namespaces.defaults.max_value_size", "0"), ("namespaces.defaults.max_value_size", "null"),
            ("namespaces.defaults.eviction", "fifo"), ("namespaces.defaults.durability", "sometimes"),
            ("namespaces.defaults.compression.level", "10"), ("limits.head_size", "1"), ("limits.connections", "0"),
            ("limits.head_timeout", "0"), ("log.level", "loud"), ("log.format", "xml"), ("data_dir", "null"),
        ]
    )
    func badValue(key: String, text: String) throws {
        let setting = try #require(Setting.named(key))
        let names = key.split(separator: ".")
        let yaml = names.enumerated().map { String(repeating: "  ", count: $0) + $1 + ":" }.joined(separator: "\n")
        let shown = setting.isList ? "[\(text)]" : text
        let rest = "'\(key)' is '\(shown)'; allowed is \(setting.allowed)."
        #expect(
            try faults("\(yaml) \(setting.isList ? "[\(text)]" : text)\n") == ["pantler.yaml:\(names.count): \(rest)"]
        )
        #expect(
            try faults(environment: [setting.variable: text]) == ["\(setting.variable) in the environment: \(rest)"]
        )
        let flag = ConfigurationSource.FlagValue(flag: "--flag", key: key, text: text)
        if !setting.isList {
            #expect(throws: ConfigurationError(faults: ["--flag: \(rest)"])) { try load(flags: [flag]) }
        }
    }

    @Test("a scalar where a list belongs, and the other way round, is refused")
    func shapes() throws {
        #expect(
            try faults("server:\n  port: [1]\n").first?.hasPrefix("pantler.yaml:2: 'server.port' is 'a list'") == true
        )
        #expect(
            try faults("server:\n  port: {a: 1}\n").first?.hasPrefix("pantler.yaml:2: 'server.port' is 'a mapping'")
                == true
        )
        #expect(
            try faults("server:\n  allowed_hosts: cache\n").first?.hasPrefix("pantler.yaml:2: 'server.allowed_hosts'")
                == true
        )
    }

    private static let twoListeners = """
        server:
          listen:
            - {address: "*", port: 8443, tls: true, plaintext: true}
            - socket: /run/pan tler.sock
              mode: "0600"
              group: www-data
              tokens: true
        """

    @Test("listeners are a list of mappings in the file, and lines of text elsewhere")
    func listeners() throws {
        let configuration = try load(Self.twoListeners, alone: true)
        #expect(configuration.server.listen.count == 2)
        #expect(
            Setting.named("server.listen")?.text(in: configuration)
                == #"[address=* port=8443 tls=true plaintext=true, socket="/run/pan tler.sock" mode=0600 group=www-data tokens=true]"#
        )
        let lines = configuration.server.listen.map(\.text).joined(separator: ",")
        #expect(try load(environment: ["PANTLER_SERVER_LISTEN": lines], alone: true) == configuration)
        let listeners = configuration.listeners
        #expect(
            listeners.map(\.place) == [
                .port(host: "*", port: 8443), .socket(path: "/run/pan tler.sock", mode: 0o600, group: "www-data"),
            ]
        )
        #expect(listeners.map(\.speaksTLS) == [true, false])
        #expect(listeners.map(\.needsToken) == [true, true])
    }

    @Test("each fault of a listener in the file has its line")
    func listenerFaults() throws {
        let yaml = """
            server:
              listen:
                - {address: "*", prot: 8443}
                - socket: /run/pantler.sock
                  mode: 0999
                - address: ::1
                - {socket: /s, port: 1}
                - {port: 1, group: a}
                - [8080]
            """
        let found = try faults(yaml)
        #expect(found.count == 6, "\(found)")
        for (line, part) in [
            (3, "has no 'prot'; allowed are address, port, socket"),
            (5, "'mode' of a listener of 'server.listen' is '0999'"),
            (6, "has neither a port nor a socket"), (7, "these are two listeners"), (8, "which are a socket's"),
            (9, "an item of 'server.listen' is a listener"),
        ] { #expect(found.contains { $0.hasPrefix("pantler.yaml:\(line): ") && $0.contains(part) }, "\(line)") }
    }

    @Test("where it listens without a word, with a socket beside it, and at the socket alone; who needs a token")
    func places() throws {
        #expect(try load().listeners.map(\.place) == [.port(host: "127.0.0.1", port: 8080)])
        let beside = try load("server:\n  socket: /s\n").listeners
        #expect(
            beside.map(\.place) == [.port(host: "127.0.0.1", port: 8080), .socket(path: "/s", mode: 0o660, group: nil)]
        )
        #expect(beside.map(\.needsToken) == [false, false])
        #expect(try load("server:\n  socket: /s\n  port: null\n").listeners.count == 1)
        #expect(try load("server:\n  socket: /s\n  tokens: true\n").listeners.map(\.needsToken) == [true, true])
        for (host, isLocal) in [
            ("localhost", true), ("LOCALHOST", true), ("127.1.2.3", true), ("::1", true), ("0.0.0.0", false),
            ("::", false),
            ("*", false), ("cache", false), ("localhost.example.org", false), ("::ffff:127.0.0.1", false),
            ("10.0.0.1", false),
        ] {
            let configuration = try load("server:\n  host: '\(host)'\n", alone: true)
            #expect(configuration.listeners.map(\.needsToken) == [!isLocal], "\(host)")
            #expect(configuration.refusals.isEmpty == isLocal, "\(host)")
        }
    }

    @Test("what nobody may be let in by is refused, and says what is missing")
    func refusals() throws {
        func refusals(_ yaml: String) throws -> [String] {
            let configuration = try load(yaml, alone: true)
            return configuration.refusals + configuration.refusals(tokens: 0)
        }
        let files = "tls: {certificate: c, key: k}\n"
        #expect(try refusals("server: {host: 0.0.0.0, plaintext: true}").isEmpty)
        #expect(try refusals("server: {host: 0.0.0.0, plaintext: true, tokens: false}").isEmpty)
        #expect(try refusals("server: {host: 0.0.0.0}").contains { $0.contains("TLS is missing") })
        #expect(
            try refusals(files + "server: {host: 0.0.0.0, tls: true}").map { $0.contains("tokens are missing") } == [
                true
            ]
        )
        #expect(try refusals("tls: {certificate: c, key: k, client_ca: a}\nserver: {host: 0.0.0.0, tls: true}").isEmpty)
        #expect(
            try refusals(files + "server: {host: 0.0.0.0, tls: true, tokens: false}").contains {
                $0.contains("`tokens: false`")
            }
        )
        #expect(try refusals("server: {tls: true}").first?.contains("tls.certificate and tls.key are missing") == true)
        #expect(
            try refusals("tls: {certificate: c}\nserver: {tls: true}").first?.contains("and tls.key is missing") == true
        )
        #expect(
            try refusals("server: {listen: [{port: 1}, {port: 1}]}").first?.contains("is the same place as") == true
        )
        #expect(try refusals("server: {listen: [{port: 0}, {port: 0}]}").isEmpty)
        #expect(
            try refusals("server: {listen: [{socket: /s}, {socket: /s, mode: \"0600\"}]}").first?.contains("same place")
                == true
        )
        #expect(try refusals("server: {port: null}").first?.contains("Nothing says where to listen") == true)
        let tokens = try load("server: {host: 0.0.0.0, tls: true}\n" + files, alone: true)
        #expect(tokens.refusals(tokens: 1).isEmpty && tokens.doubts(tokens: 1).isEmpty)
    }

    @Test("what has no effect, or opens everything, is said")
    func listenerDoubts() throws {
        func doubts(_ yaml: String) throws -> [String] { try load(yaml, alone: true).listenerDoubts }
        #expect(try doubts("").isEmpty)
        #expect(try doubts("server: {listen: [{port: 1}]}").isEmpty)
        #expect(
            try doubts("server: {socket: /s, host: \"::1\", listen: [{port: 1}]}").first?.contains(
                "server.host, server.socket beside it have no effect"
            ) == true
        )
        #expect(try doubts("tls: {key: k}").first?.contains("no listener has tls: true") == true)
        #expect(
            try doubts("server: {port: null, socket: /s, tls: true}").contains { $0.contains("server.port is null") }
        )
        #expect(
            try doubts("server: {host: 0.0.0.0, plaintext: true, tokens: false}").first?.contains(
                "everybody who reaches it"
            ) == true
        )
    }

    @Test("all faults are told at once, also of what another value overrides")
    func allFaults() throws {
        let yaml = "server:\n  port: x\nlog:\n  level: y\n  colour: red\n"
        let found = try faults(yaml, environment: ["PANTLER_SERVER_PORT": "1", "PANTLER_MEMROY_MAX_MEMORY": "1GiB"])
        #expect(found.count == 4)
        #expect(
            found.contains { $0.hasPrefix("PANTLER_MEMROY_MAX_MEMORY in the environment: there is no such setting") }
        )
    }

    @Test("what else a shell may have about Pantler is no setting")
    func otherVariables() throws {
        let environment = [
            "PANTLER_URL": "x", "PANTLER_TOKEN": "y", "PANTLER_EXECUTABLE": "z", "PATH": "/bin", "PANTLERX": "1",
        ]
        #expect(try load(environment: environment) == ServeConfiguration())
    }

    @Test("what Kubernetes says of a service called pantler is passed over, and so is what is empty")
    func kubernetes() throws {
        let environment = [
            "PANTLER_SERVICE_HOST": "10.3.0.7", "PANTLER_SERVICE_PORT": "8080", "PANTLER_SERVICE_PORT_HTTP": "8080",
            "PANTLER_PORT": "tcp://10.3.0.7:8080", "PANTLER_PORT_8080_TCP": "tcp://10.3.0.7:8080",
            "PANTLER_PORT_8080_TCP_PROTO": "tcp", "PANTLER_PORT_8080_TCP_PORT": "8080",
            "PANTLER_PORT_8080_TCP_ADDR": "10.3.0.7",
            "PANTLER_SERVER_PORT": "tcp://10.3.0.8:80", "PANTLER_SERVER_SERVICE_HOST": "10.3.0.8",
            "PANTLER_SERVER_PORT_80_UDP_ADDR": "10.3.0.8", "PANTLER_LOG_LEVEL": "", "PANTLER_CONFIG": "",
            "PANTLER_MISSPELT": "",
        ]
        let source = ConfigurationSource(environment: environment)
        #expect(try source.load() == ServeConfiguration())
        #expect(source.passedOver.count == environment.count)
        #expect(source.passedOver.contains("PANTLER_LOG_LEVEL in the environment is empty, and passed over"))
        #expect(source.passedOver.allSatisfy { !$0.contains("10.3.0") })
        // Settings stay settings, and misspelt ones faults.
        var expected = ServeConfiguration()
        expected.server.port = 81
        #expect(try load(environment: ["PANTLER_SERVER_PORT": "81"]) == expected)
        for (name, value) in [
            ("PANTLER_SERVER_PROT", "81"), ("PANTLER_LOG_LEVLE", "tcp://x"), ("PANTLER_DISK_SERVICE_HOST_MAX", "1"),
        ] { #expect(try !faults("", environment: [name: value]).isEmpty, "\(name)") }
    }

    @Test("a file that is not there is named")
    func noFile() throws {
        let source = ConfigurationSource(file: "/nowhere/pantler.yaml")
        #expect(
            throws: ConfigurationError(faults: ["/nowhere/pantler.yaml cannot be read: No such file or directory."])
        ) {
            try source.load()
        }
    }

    @Test("a reload takes what is live, and tells what needs a restart")
    func reload() throws {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let path = try folder.write("server:\n  port: 1\nlog:\n  level: info\n", to: "pantler.yaml")
        let source = ConfigurationSource(file: path, environment: ["PANTLER_LIMITS_CONNECTIONS": "5"])
        let old = try source.load()
        #expect(try source.reload(old).applied.isEmpty)
        try folder.write(
            "server:\n  port: 2\n  allowed_hosts: [cache]\nlog:\n  level: debug\nlimits:\n  connections: 7\nnamespaces:\n  defaults:\n    default_ttl: 5m\n",
            to: "pantler.yaml"
        )
        let reload = try source.reload(old)
        #expect(
            reload.applied.map(\.description) == [
                "server.allowed_hosts: [] -> [cache]", "namespaces.defaults.default_ttl: null -> 5m",
                "log.level: info -> debug",
            ]
        )
        #expect(reload.needsRestart.map(\.description) == ["server.port: 1 -> 2"])
        #expect(reload.configuration.server.port == 1)
        #expect(reload.configuration.server.allowedHosts == ["cache"])
        #expect(reload.configuration.namespaces.defaults.defaultTTL == 300_000)
        #expect(reload.configuration.limits.connections == 5, "the environment goes before the file, still")
        try folder.write("log:\n  level: loud\n", to: "pantler.yaml")
        #expect(throws: ConfigurationError.self) { try source.reload(old) }
    }
}
