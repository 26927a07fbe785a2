internal import ArgumentParser
internal import CPantler
internal import Glibc
internal import PantlerModel
internal import PantlerSockets

/// The executable: `pantler serve` and the commands that call a running service.
@main
struct Pantler: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pantler",
        abstract: "A cache-aside service over HTTP and JSON, and the command to work with it.",
        discussion: """
            `pantler serve` serves http://127.0.0.1:8080 and keeps its data in ./pantler-data. Every other command calls a \
            running service: the one at --url, or at PANTLER_URL. PANTLER_NAMESPACE is the namespace where -n names none, and PANTLER_TOKEN, or \
            the file that PANTLER_TOKEN_FILE names, has the token where one is asked for. Options that all commands have may stand before the command.

            Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed, 5 conflict, 6 unreachable.
            """,
        version: Build.version,
        groupedSubcommands: [
            CommandGroup(name: "Service", subcommands: [ServeCommand.self, CheckCommand.self, StatsCommand.self]),
            CommandGroup(
                name: "Entries",
                subcommands: [
                    GetCommand.self, MgetCommand.self, SetCommand.self, DeleteCommand.self, ExistsCommand.self,
                    TTLCommand.self, TouchCommand.self, IncrCommand.self, KeysCommand.self, FetchCommand.self,
                    LeasesCommand.self,
                ]
            ),
            CommandGroup(name: "Namespaces", subcommands: [NamespaceCommand.self]),
            CommandGroup(name: "Access", subcommands: [TokenCommand.self]),
            CommandGroup(name: "Tools", subcommands: [BenchCommand.self, CompletionsCommand.self]),
        ]
    )

    static func main() async {
        pantler_open_standard_streams()
        // Before anything else may have their numbers.
        _ = InheritedSocket.ofProcess
        _ = OpenFiles.inherited
        pantler_keep_heap_small()
        Glibc.exit(await run(.process).rawValue)
    }

    /// Runs a command line to its end and says how it ended.
    static func run(_ arguments: RawArguments) async -> ExitStatus {
        do {
            let line = CommandWords(arguments.texts, of: Pantler.self)
            try line.checkVerb()
            var command = try parseAsRoot(line.arguments)
            try arguments.checkText(besides: (command as? any TakesBytes)?.byteArguments ?? [])
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return .done
        } catch {
            return report(error)
        }
    }

    /// Says what went wrong, unless that has been done already. ArgumentParser's own exit status for wrong usage is 64.
    private static func report(_ error: any Error) -> ExitStatus {
        if let status = error as? ExitStatus { return status }
        if let failure = error as? CommandFailure {
            Terminal.write(line: "pantler: \(PresentedToken.hidingSecrets(failure.message))", to: .error)
            return failure.status
        }
        let code = exitCode(for: error)
        let text = fullMessage(for: error)
        if code.isSuccess {
            Terminal.write(line: text, to: .output)
            return .done
        }
        // It shows what it could not take, which may be a token in the wrong place.
        if !text.isEmpty { Terminal.write(line: PresentedToken.hidingSecrets(text), to: .error) }
        return code == .validationFailure ? .usage : .failed
    }
}

/// What this build is.
enum Build {
    static let version = "0.1.0"
    /// Of the source, as the environment of the build had it in `PANTLER_COMMIT`; empty without that.
    static let commit = String(cString: pantler_commit())
}
