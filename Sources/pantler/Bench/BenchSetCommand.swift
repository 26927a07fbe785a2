internal import ArgumentParser

struct BenchSetCommand: LoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Put keys at random, one a request, as fast as the service answers.",
        discussion: LoadOptions.discussion
    )

    @OptionGroup var load: LoadOptions
    @OptionGroup var client: ClientOptions

    var operation: LoadOperation { .set }
}
