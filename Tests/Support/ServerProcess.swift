internal import Foundation
internal import Glibc
internal import PantlerModel

/// The real `pantler serve`, on a port and in a folder of its own. Killed with the object.
package final class ServerProcess: Sendable {
    package struct Options: Sendable {
        /// YAML of the configuration file; empty = no file.
        package var configuration: String
        /// Where configuration, logs and data lie; `nil` = a new folder.
        package var folder: TemporaryDirectory?
        /// The data folder; `nil` = `data` in the folder.
        package var data: String?
        package var environment: [String: String]
        /// Further flags of `pantler serve`.
        package var flags: [String]
        /// Whose certificate it shows; `nil` = it speaks no TLS. Whoever connects to its port by `RawConnection` then speaks TLS too.
        package var authority: CertificateAuthority?
        package var serverKey: CertificateAuthority.Key

        package init(
            configuration: String = "",
            folder: TemporaryDirectory? = nil,
            data: String? = nil,
            environment: [String: String] = [:],
            flags: [String] = [],
            authority: CertificateAuthority? = nil,
            serverKey: CertificateAuthority.Key = .p256
        ) {
            self.configuration = configuration
            self.folder = folder
            self.data = data
            self.environment = environment
            self.flags = flags
            self.authority = authority ?? ServerProcess.usualAuthority
            self.serverKey = serverKey
        }
    }

    /// With PANTLER_TESTS_OVER=tls all servers of tests speak TLS.
    fileprivate static let usualAuthority =
        ProcessInfo.processInfo.environment["PANTLER_TESTS_OVER"] == "tls" ? try? CertificateAuthority() : nil

    package let port: UInt16
    package let dataFolder: String
    package let folder: TemporaryDirectory
    /// The configuration file's path, whether or not there is one.
    package let configurationFile: String
    private let options: Options
    /// The certificate that it shows; `nil` where it speaks no TLS.
    package let identity: CertificateAuthority.Identity?
    private let logFile: String
    private let process: ChildProcess

    /// Starts it and waits until it answers.
    ///
    /// - Throws: `Failure` with its log where it ends instead.
    package init(_ options: Options = Options()) throws {
        let folder = try options.folder ?? TemporaryDirectory()
        self.folder = folder
        self.options = options
        port = try freePort()
        dataFolder = options.data ?? folder.file("data")
        logFile = folder.file("log-\(port)-\(monotonicNanoseconds())")
        configurationFile = folder.file("pantler.yaml")
        var arguments = ["serve", "--host", "127.0.0.1", "--port", "\(port)", "--data-dir", dataFolder]
        arguments += options.flags
        if !options.configuration.isEmpty {
            try folder.write(options.configuration, to: "pantler.yaml")
            arguments += ["--config", configurationFile]
        }
        var environment = options.environment
        identity = try options.authority?.sign("server-\(port)", options.serverKey)
        if let identity, let authority = options.authority {
            environment["PANTLER_SERVER_TLS"] = "true"
            environment["PANTLER_TLS_CERTIFICATE"] = identity.certificate
            environment["PANTLER_TLS_KEY"] = identity.key
            TLSPorts.set(try TLSClient.context(trusting: authority), for: port)
        }
        process = try ChildProcess(
            [Command.executable()] + arguments,
            environment: Command.environment(environment),
            folder: folder.path,
            output: logFile,
            errors: logFile
        )
        try eventually(within: 30, "the service answers\n\(log)") {
            if let ending = process.poll() { throw Failure("the service ended at its start: \(ending)\n\(log)") }
            return (try? HTTPClient(port: port, within: 5).get("/livez"))?.status == 200
        }
    }

    /// Another one, once this one has ended, on the same data and with the same configuration.
    package func restarted(configuration: String? = nil) throws -> ServerProcess {
        var next = options
        next.folder = folder
        next.data = dataFolder
        if let configuration { next.configuration = configuration }
        return try ServerProcess(next)
    }

    package var url: String { "\(options.authority == nil ? "http" : "https")://127.0.0.1:\(port)" }
    /// The name by which its certificate was signed.
    package var identityName: String { "server-\(port)" }
    package var client: HTTPClient { HTTPClient(port: port) }
    /// What it wrote to both streams so far.
    package var log: String { text(of: logFile) }
    package var logLines: [String] { log.split(separator: "\n").map(String.init) }
    package var pid: Int32 { process.pid }
    package var isRunning: Bool { process.poll() == nil }
    /// Resident bytes now, and the most that there ever were.
    package var residentBytes: Int { process.memory("VmRSS") }
    package var peakResidentBytes: Int { process.memory("VmHWM") }

    package func send(signal: Int32) {
        process.send(signal)
    }

    /// Asks it to stop, and waits for its end.
    @discardableResult
    package func terminate(within seconds: Double = 20) throws -> Ending {
        process.send(SIGTERM)
        return try process.wait(within: seconds)
    }

    /// Ends it as a power cut would.
    package func kill9() throws {
        process.send(SIGKILL)
        _ = try process.wait(within: 20)
    }

    package func metrics() throws -> Metrics {
        try Metrics(client.get("/metrics").text)
    }

    /// The SQLite file in the data folder, told by its first bytes.
    package func databaseFile() throws -> String {
        guard let found = Self.databaseFile(in: dataFolder) else {
            throw Failure("no SQLite file in \(dataFolder): \(names(in: dataFolder))")
        }
        return found
    }

    package static func databaseFile(in folder: String) -> String? {
        names(in: folder).map { "\(folder)/\($0)" }.first {
            contents(of: $0).starts(with: Array("SQLite format 3\0".utf8))
        }
    }
}
