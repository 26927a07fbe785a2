internal import ArgumentParser
internal import Foundation
internal import Logging

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve until SIGTERM or SIGINT.",
        discussion: """
            Needs nothing: without a word it serves http://127.0.0.1:8080 and keeps its data in ./pantler-data. Flags go \
            before the environment (PANTLER_SERVER_PORT is server.port), that before the file of --config, that before the \
            defaults. config/pantler.yaml explains every setting. SIGHUP reads them again.
            """
    )

    @Option(help: "A configuration file. (also: PANTLER_CONFIG)", completion: .file(extensions: ["yaml", "yml"]))
    var config: String?

    @Option(help: "The address to listen at. (default: 127.0.0.1)")
    var host: String?

    @Option(help: "The port to listen at; 0 is any free one, null none. (default: 8080)")
    var port: String?

    @Option(help: "The path of a Unix socket to listen at, beside the port.", completion: .file())
    var socket: String?

    @Flag(help: "Others may reach the port without TLS: a proxy or a private network stands before it.")
    var plaintext = false

    @Option(help: "The certificate, in PEM, with which the port speaks TLS.", completion: .file())
    var tlsCertificate: String?

    @Option(help: "The certificate's private key, in PEM.", completion: .file())
    var tlsKey: String?

    @Option(help: "A file with tokens, or the first one.", completion: .file())
    var tokensFile: String?

    @Option(help: "Where to keep the data. (default: ./pantler-data)", completion: .directory)
    var dataDir: String?

    @Option(help: "The size of the memory tier. (default: 256MiB)")
    var maxMemory: String?

    @Option(help: "The size of the disk tier. (default: 10GiB)")
    var maxDisk: String?

    @Option(help: "Event loops; 0 is one for every two cores. (default: 0)")
    var threads: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical. (default: info)")
    var logLevel: String?

    @Option(help: "text for people, json for programs. (default: text)")
    var logFormat: String?

    @Flag(
        help:
            "After a start with the machine's clock far ahead: go back to where the time line was, once it is right again."
    )
    var resetClock = false

    func run() async throws {
        let source = ConfigurationSource(file: config, environment: try variables(), flags: flags)
        let configuration: ServeConfiguration
        do {
            configuration = try source.load()
        } catch {
            for fault in error.faults { Terminal.write(line: "pantler: \(fault)", to: .error) }
            throw ExitStatus.usage
        }
        ProcessLog.bootstrap(configuration.log)
        let logger = Logger(label: "pantler")
        do {
            try await Service(configuration: configuration, source: source, resetsClock: resetClock, logger: logger)
                .run()
        } catch let error as ConfigurationError {
            for fault in error.faults { logger.critical("\(fault)") }
            throw ExitStatus.usage
        } catch {
            logger.critical("\(error)")
            throw ExitStatus.failed
        }
    }

    /// The environment. Where Swift had to repair a variable of ours, another folder would be served than the one that was named.
    private func variables() throws(CommandFailure) -> [String: String] {
        let variables = ProcessInfo.processInfo.environment
        for name in variables.keys.sorted() where name.hasPrefix("PANTLER_") {
            guard let value = getenv(name), String(validatingCString: value) == nil else { continue }
            throw .usage("\(name) in the environment is no UTF-8: settings are text.")
        }
        return variables
    }

    private var flags: [ConfigurationSource.FlagValue] {
        let given: [(String, String, String?)] = [
            ("--host", "server.host", host), ("--port", "server.port", port), ("--socket", "server.socket", socket),
            ("--plaintext", "server.plaintext", plaintext ? "true" : nil),
            ("--tls-certificate", "tls.certificate", tlsCertificate), ("--tls-key", "tls.key", tlsKey),
            // Whoever names them there wants the port to speak TLS.
            ("--tls-certificate", "server.tls", tlsCertificate.map { _ in "true" }),
            ("--tokens-file", "tokens.file", tokensFile), ("--data-dir", "data_dir", dataDir),
            ("--max-memory", "memory.max_memory", maxMemory), ("--max-disk", "disk.max_disk", maxDisk),
            ("--threads", "server.threads", threads), ("--log-level", "log.level", logLevel),
            ("--log-format", "log.format", logFormat),
        ]
        return given.compactMap { flag, key, text in
            text.map { ConfigurationSource.FlagValue(flag: flag, key: key, text: $0) }
        }
    }
}
