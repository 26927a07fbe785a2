internal import ArgumentParser

struct BenchGetCommand: LoadCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Get keys at random, one a request, as fast as the service answers.",
        discussion: LoadOptions.discussion
    )

    @OptionGroup var load: LoadOptions
    @OptionGroup var client: ClientOptions

    var operation: LoadOperation { .get }
}
