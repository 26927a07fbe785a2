import Testing

@testable import pantler

@Suite("The words of a command line")
struct CommandWordsTests {
    @Test(
        "options before the verb come behind it, and everything else stays in its order",
        arguments: [
            ("-n shop get k", "get -n shop k"),
            ("--url=http://h -o json namespace list", "namespace list --url=http://h -o json"),
            ("ns --no-color ls --timeout 1s", "ns ls --no-color --timeout 1s"), ("get -n shop k", "get -n shop k"),
            ("set -n a -- -n b", "set -n a -- -n b"), ("-n", "-n"), ("--help", "--help"), ("help get", "help get"),
            ("-x get k", "-x get k"), ("-nshop -ojson get k", "get -n shop -o json k"),
            ("-n a fetch k -- fetch -n b -- x", "fetch -n a k -- fetch -n b -- x"),
            ("bench -n b get", "bench get -n b"), ("get get", "get get"), ("", ""),
        ]
    )
    func order(given: String, taken: String) throws {
        let words = CommandWords(given.split(separator: " ").map(String.init), of: Pantler.self)
        #expect(words.arguments.joined(separator: " ") == taken)
        try words.checkVerb()
    }

    @Test(
        "a word in a verb's place that is none is refused",
        arguments: ["gett", "-n shop xyz", "namespace nope", "bench -n a st"]
    )
    func unknown(given: String) {
        let words = CommandWords(given.split(separator: " ").map(String.init), of: Pantler.self)
        #expect(throws: CommandFailure.self) { try words.checkVerb() }
    }
}
