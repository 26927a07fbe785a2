internal import ArgumentParser

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure a running service.",
        subcommands: [BenchGetCommand.self, BenchSetCommand.self, BenchMgetCommand.self, ReplayCommand.self]
    )
}
