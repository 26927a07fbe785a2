import Foundation
import PantlerModel
import Support

/// A `pantler serve` that listens where its test wants it to; `ServerProcess` always has a port of its own. Killed with the object.
final class StartedService: Sendable {
    let process: ChildProcess
    private let folder: TemporaryDirectory
    private let logFile: String

    /// Starts it and waits until it serves.
    ///
    /// - Parameters:
    ///   - configuration: YAML; the data lie in the folder.
    ///   - flags: further ones.
    init(
        _ configuration: String,
        in folder: TemporaryDirectory,
        flags: [String] = [],
        environment: [String: String] = [:],
        before: [String] = []
    ) throws {
        self.folder = folder
        logFile = folder.file("log-\(monotonicNanoseconds())")
        let arguments = try Self.arguments(configuration, in: folder, flags)
        process = try ChildProcess(
            before + arguments,
            environment: Command.environment(environment),
            folder: folder.path,
            output: logFile,
            errors: logFile
        )
        try eventually(within: 30, "it serves\n\(log)") {
            if let ending = process.poll() { throw Failure("the service ended at its start: \(ending)\n\(log)") }
            return log.contains("Serving")
        }
    }

    static func arguments(
        _ configuration: String,
        in folder: TemporaryDirectory,
        _ flags: [String] = []
    ) throws -> [String] {
        let file = try folder.write(configuration, to: "pantler.yaml")
        return [try Command.executable(), "serve", "--config", file, "--data-dir", folder.file("data")] + flags
    }

    /// Runs one that is not to start, to its end.
    static func refused(
        _ configuration: String,
        in folder: TemporaryDirectory,
        flags: [String] = [],
        environment: [String: String] = [:]
    ) throws -> CommandResult {
        try Command.run(program: arguments(configuration, in: folder, flags), environment: environment)
    }

    var log: String { text(of: logFile) }

    /// The places that it says it serves, in their order.
    var places: [String] {
        guard let line = log.split(separator: "\n").first(where: { $0.contains("Serving") }) else { return [] }
        // The log's text form: url="http://…, unix:…".
        let all = line.split(separator: " ").map { $0.filter { !"\",".contains($0) } }
        return all.compactMap { word in
            let text = word.hasPrefix("url=") ? String(word.dropFirst(4)) : word
            return text.hasPrefix("http://") || text.hasPrefix("https://") || text.hasPrefix("unix:") ? text : nil
        }
    }

    /// The port of one of those places.
    func port(_ index: Int) throws -> UInt16 {
        guard index < places.count, let port = places[index].split(separator: ":").last.flatMap({ UInt16($0) }) else {
            throw Failure("no port \(index) in \(places)")
        }
        return port
    }

    @discardableResult
    func terminate(within seconds: Double = 20) throws -> Ending {
        process.send(SIGTERM)
        return try process.wait(within: seconds)
    }

    func kill9() throws {
        process.send(SIGKILL)
        _ = try process.wait(within: 20)
    }
}

/// One request over a connection of its own, which ends with it.
func request(_ connection: RawConnection, _ target: String = "/livez", host: String = "localhost") throws -> Response {
    try connection.send("GET \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
    return try connection.receive()
}
