internal import ArgumentParser
internal import Glibc

/// How a command's results are written.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    /// For people.
    case table
    /// For programs.
    case json
}

/// The options of every command that calls a service.
struct ClientOptions: ParsableArguments {
    @Option(
        help: "The service's address, also unix:/path of its socket. (default: PANTLER_URL, else http://127.0.0.1:8080)"
    )
    var url: String?

    @Option(
        help: "A PEM file with the CA to trust for https, in the place of the system's. (also: PANTLER_CA_FILE)",
        completion: .file()
    )
    var caFile: String?

    @Option(help: "The token to send; PANTLER_TOKEN and --token-file keep it out of the list of processes.")
    var token: String?

    @Option(help: "A file that holds the token to send. (also: PANTLER_TOKEN_FILE)", completion: .file())
    var tokenFile: String?

    @Option(name: [.short, .long], help: "table for people, json for programs; errors too.")
    var output = OutputFormat.table

    @Flag(name: .customLong("no-color"), help: "No colours, also on a terminal. (also: NO_COLOR)")
    var noColor = false

    @Option(help: "How long to wait for an answer: 300ms, 30s, 5m.", transform: ArgumentText.timeout)
    var timeout: Int64 = 30_000

    var resolvedURL: String { url ?? environment("PANTLER_URL") ?? "http://127.0.0.1:8080" }

    func resolvedToken() throws(CommandFailure) -> String? {
        try CallerToken.resolve(flag: token, file: tokenFile) { message in
            // Whoever reads JSON from the errors is not to find a sentence among them.
            if output == .table { CallerToken.warn(message) }
        }
    }
}

/// The namespace that a command works in.
struct NamespaceOption: ParsableArguments {
    @Option(
        name: [.short, .customLong("namespace")],
        help: "The namespace. (default: PANTLER_NAMESPACE, else default)",
        completion: .namespaces
    )
    var name: String?

    var path: String {
        "/v1/namespaces/\((name ?? environment("PANTLER_NAMESPACE") ?? "default").percentEncoded)"
    }

    /// The path that has the key in its query, where no library changes it on the way.
    func entry(_ key: String) -> String { "\(path)/entry?key=\(key.percentEncoded)" }
    func value(_ key: String) -> String { "\(path)/value?key=\(key.percentEncoded)" }
    func counter(_ key: String) -> String { "\(path)/counter?key=\(key.percentEncoded)" }
    func lease(_ key: String) -> String { "\(path)/lease?key=\(key.percentEncoded)" }
}

extension CompletionKind {
    /// The names of the namespaces of the service that the shell's environment names.
    static let namespaces = shellCommand("pantler namespace list 2>/dev/null | sed 1d | cut -d ' ' -f 1")
}

/// A command that calls a running service.
protocol ClientCommand: AsyncParsableCommand {
    var client: ClientOptions { get }

    func run(_ session: Session) async throws
}

/// What a command that calls a service works with.
struct Session: Sendable {
    let client: Client
    let output: OutputFormat
    let style: Style

    /// Writes a JSON answer as it came.
    func write(json: [UInt8]) throws {
        try Terminal.write(json + [UInt8(ascii: "\n")])
    }

    func write(line: String) throws {
        try Terminal.write(Array((line + "\n").utf8))
    }

    /// Writes a value. A prompt does not begin behind it; a file and a program get it as it is.
    func write(value: [UInt8]) throws {
        let endsLine = value.last == UInt8(ascii: "\n")
        try Terminal.write(value + (Terminal.Stream.output.isTerminal && !endsLine ? [UInt8(ascii: "\n")] : []))
    }

    /// Asks before what cannot be undone. Where nobody sits at a terminal to be asked, the flag has to say yes.
    func confirm(_ question: String, yes: Bool) throws {
        if yes { return }
        guard Terminal.isInteractive else {
            throw CommandFailure(
                .usage,
                code: "confirmation_required",
                "\(question) Nobody is at a terminal to be asked: --yes goes ahead."
            )
        }
        Terminal.write("\(question) [y/N] ", to: .error)
        let answer = readLine()?.lowercased()
        guard answer == "y" || answer == "yes" else {
            throw CommandFailure(.failed, code: "not_confirmed", "Nothing was changed.")
        }
    }
}

extension ClientCommand {
    func run() async throws {
        do {
            let client = try Client(
                url: client.resolvedURL,
                caFile: client.caFile ?? environment("PANTLER_CA_FILE"),
                token: client.resolvedToken(),
                timeoutMilliseconds: client.timeout
            )
            let session = Session(
                client: client,
                output: self.client.output,
                style: Style(noColor: self.client.noColor, on: .output)
            )
            let result: Result<Void, any Error>
            do {
                result = .success(try await run(session))
            } catch {
                result = .failure(error)
            }
            await client.close()
            try result.get()
        } catch let failure as CommandFailure {
            report(failure)
            throw failure.status
        }
    }

    private func report(_ failure: CommandFailure) {
        switch client.output {
        case .json:
            Terminal.write(line: String(decoding: failure.problem, as: UTF8.self), to: .error)
        case .table:
            let style = Style(noColor: client.noColor, on: .error)
            Terminal.write(line: "\(style.red("pantler:")) \(failure.message)", to: .error)
        }
    }
}

/// A variable of the environment; an empty one counts as missing.
func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}
