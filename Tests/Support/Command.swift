internal import Foundation

/// What a command that ran to its end left behind.
package struct CommandResult: Sendable, CustomStringConvertible {
    package let ending: Ending
    package let output: String
    package let errors: String

    package var status: Int32? {
        if case .exited(let status) = ending { status } else { nil }
    }

    package var description: String { "\(ending)\nstdout: \(output)\nstderr: \(errors)" }
    package var json: JSON { JSON([UInt8](output.utf8)) }
}

package enum Command {
    /// The built `pantler`: `PANTLER_EXECUTABLE`, or what lies beside the tests' own executable.
    package static func executable() throws -> String {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["PANTLER_EXECUTABLE"] { return path }
        let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../..")
        let candidates = [
            tests.appendingPathComponent("pantler"), package.appendingPathComponent(".build/debug/pantler"),
        ]
        guard let found = candidates.first(where: { FileManager.default.isExecutableFile(atPath: $0.path) }) else {
            throw Failure("No pantler at \(candidates.map(\.path)): run `swift build`, or set PANTLER_EXECUTABLE.")
        }
        return found.standardizedFileURL.path
    }

    /// The tests' own environment without anything that configures Pantler, and then `additions`.
    package static func environment(_ additions: [String: String] = [:]) -> [String: String] {
        ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("PANTLER_") }
            .merging(additions) { $1 }
    }

    /// Runs `pantler` with these arguments to its end.
    package static func run(
        _ arguments: [String],
        url: String? = nil,
        environment: [String: String] = [:],
        input: String? = nil,
        within seconds: Double = 30
    ) throws -> CommandResult {
        var additions = environment
        if let url { additions["PANTLER_URL"] = url }
        return try run(program: [executable()] + arguments, environment: additions, input: input, within: seconds)
    }

    /// Runs any program to its end.
    package static func run(
        program: [String],
        environment additions: [String: String] = [:],
        input: String? = nil,
        within seconds: Double = 30
    ) throws -> CommandResult {
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let inputPath = try input.map { try folder.write($0, to: "stdin") }
        let process = try ChildProcess(
            program,
            environment: environment(additions),
            folder: folder.path,
            input: inputPath ?? "/dev/null",
            output: folder.file("stdout"),
            errors: folder.file("stderr")
        )
        do {
            let ending = try process.wait(within: seconds)
            return CommandResult(
                ending: ending,
                output: text(of: folder.file("stdout")),
                errors: text(of: folder.file("stderr"))
            )
        } catch {
            throw Failure("\(program): \(error)\n\(text(of: folder.file("stderr")))")
        }
    }
}
