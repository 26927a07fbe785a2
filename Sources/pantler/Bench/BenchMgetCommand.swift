internal import ArgumentParser
internal import PantlerModel

struct BenchMgetCommand: LoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "mget",
        abstract: "Get keys at random, many a request, as fast as the service answers.",
        discussion: LoadOptions.discussion
    )

    @Option(help: "Keys of a request.")
    var batch = 100

    @OptionGroup var load: LoadOptions
    @OptionGroup var client: ClientOptions

    var operation: LoadOperation { .mget(batch: batch) }

    func validate() throws {
        guard (1...Limits.batchKeys).contains(batch) else {
            throw ValidationError("--batch is an integer from 1 to \(Limits.batchKeys).")
        }
        guard batch * load.pipeline <= Load.keysInFlight else {
            throw ValidationError("--batch times --pipeline is at most \(Load.keysInFlight).")
        }
    }
}
