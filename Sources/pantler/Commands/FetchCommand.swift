internal import ArgumentParser

struct FetchCommand: ClientCommand, TakesBytes {
    static let configuration = CommandConfiguration(
        commandName: "fetch",
        abstract: "Print an entry; where there is none, have a command load it.",
        usage: "pantler fetch <key> [<options>] -- <command> ...",
        discussion: """
            Prints the entry's value. Where there is none, COMMAND runs, and what it prints is stored and printed, to the byte. Everyone else \
            who fetches the key meanwhile waits for that, so it is loaded once. A stale entry is printed while somebody else refreshes it. \
            COMMAND is a program with its arguments, which has this command's standard input, standard error and terminal; for a line of a \
            shell's it is sh -c 'LINE'.

            What is stored is what `pantler set` would make of it: valid JSON is JSON, text is text/plain, the rest \
            application/octet-stream, unless --type or --content-type says otherwise.

            Where COMMAND fails, nothing is stored, the next in line gets the lease, what COMMAND has printed is printed, and its exit \
            status is this command's: 128 and the number for a signal, 127 where there is no such command, 126 where it cannot be run. On \
            Ctrl-C, SIGTERM and SIGHUP COMMAND gets the signal too, the lease is released, and nothing is printed.

            A cache that is away, that takes longer than --wait, or that does not take the value keeps nobody from it: COMMAND runs, its \
            output is printed, standard error says what was not stored, and the exit status is 0. So it is, without a word, where the \
            key was written or invalidated while COMMAND ran. With --strict all of that fails: 1 refused, 5 conflict, 6 unreachable.

            A source that has failed is left alone (--fail-retry): COMMAND does not run, and the exit status is 5. Where the source is known \
            to have nothing (--absent-on), it is 3.
            """
    )

    @Argument(help: "The entry's key.")
    var key: String

    @Argument(parsing: .postTerminator, help: "The command that loads the value, and its arguments.")
    var command: [String] = []

    @OptionGroup(title: "Lifetime") var lifetime: LifetimeOptions

    @OptionGroup(title: "Kind of value") var kind: ValueKindOptions

    @Option(
        help: ArgumentHelp(
            "How long to wait for somebody else's load; then COMMAND runs all the same, and nothing is stored. (default: 30s)",
            valueName: "duration"
        ),
        transform: ArgumentText.wait
    )
    var wait: Int64?

    @Option(
        help: ArgumentHelp(
            "How long others wait for this process, should it be killed; prolonged while COMMAND runs. (default: 10s)",
            valueName: "duration"
        ),
        transform: ArgumentText.leaseTTL
    )
    var leaseTTL: Int64?

    @Flag(help: "Fail where the cache is away, or does not store what COMMAND prints.")
    var strict = false

    @Option(
        help: ArgumentHelp(
            "Where COMMAND fails, nobody else is to try for so long; twice as long each further time, up to 60s.",
            valueName: "duration"
        ),
        transform: ArgumentText.failRetry
    )
    var failRetry: Int64?

    @Flag(help: "Where COMMAND fails and a stale entry is there, print that, and exit with 0.")
    var staleIfError = false

    @Option(
        help: ArgumentHelp(
            "With this exit status COMMAND says that the source has nothing; that is stored, and the exit status is 3.",
            valueName: "status"
        ),
        transform: ArgumentText.exitStatus
    )
    var absentOn: Int32?

    @Flag(name: [.short, .long], help: "Tell on standard error what is done.")
    var verbose = false

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    var byteArguments: [String?] { command }

    func validate() throws {
        if command.isEmpty {
            throw ValidationError("There is no command that loads the value; it follows two dashes.")
        }
    }

    private var plan: Fetch.Plan {
        var plan = Fetch.Plan(key: key)
        if let wait { plan.waitMilliseconds = wait }
        if let leaseTTL { plan.leaseMilliseconds = leaseTTL }
        plan.isStrict = strict
        plan.retryMilliseconds = failRetry
        plan.absentStatus = absentOn
        plan.printsStaleOnFailure = staleIfError
        return plan
    }

    func run(_ session: Session) async throws {
        let run = FetchRun(
            calls: LeaseCalls(client: session.client, namespace: namespace, key: key),
            plan: plan,
            command: command.map { RawArguments.process.bytes(of: $0) },
            kind: kind,
            lifetime: lifetime,
            isVerbose: verbose
        )
        let result = try await run.run()
        switch result.ending.output {
        case .nothing: break
        case .command: if !result.output.isEmpty { try session.write(value: result.output) }
        case .entry(let value): try session.write(value: value.bytes)
        }
        switch result.ending.outcome {
        case .status(.done): break
        case .status(let status): throw status
        case .failure(let failure): throw failure
        case .signal(let number):
            EndingSignal.die(of: number)
            throw ExitStatus(rawValue: 128 + number)
        }
    }
}
