internal import ArgumentParser

/// The words of a command line: the verb, which may be two words, and what goes with it.
///
/// ArgumentParser takes options behind the verb alone. Those that all commands have may stand before it as well, as people are used to from
/// kubectl, redis-cli and etcdctl: `pantler -n shop get k` is `pantler get -n shop k`.
struct CommandWords {
    /// The arguments with the verb first.
    let arguments: [String]
    /// A word that stands where a verb should, and the verbs that there are.
    private let unknown: (word: String, verbs: [String], after: [String])?

    private static let optionsWithValue: Set = [
        "--url", "--ca-file", "--token", "--token-file", "--output", "-o", "--timeout", "-n", "--namespace",
    ]
    private static let flags: Set = ["--no-color"]

    init(_ arguments: [String], of root: any ParsableCommand.Type) {
        var level = root
        var verb: [String] = []
        var moved: [String] = []
        var rest = arguments[...]
        while let word = rest.first, !level.children.isEmpty {
            if let child = level.children.first(where: { $0.names.contains(word) }) {
                level = child
                verb.append(word)
                rest.removeFirst()
            } else if let joined = Self.split(word) {
                moved += joined
                rest.removeFirst()
            } else if let count = Self.optionLength(word), count <= rest.count {
                moved += rest.prefix(count)
                rest.removeFirst(count)
            } else {
                break
            }
        }
        if let word = rest.first, !level.children.isEmpty, !word.hasPrefix("-"), word != "help" {
            unknown = (word, level.children.flatMap { $0.names }, verb)
        } else {
            unknown = nil
        }
        // Without a verb there is nothing to move before.
        self.arguments = verb.isEmpty ? arguments : verb + moved + rest
    }

    /// An option of one letter with its value behind it, as in `-nshop`, as two arguments.
    private static func split(_ word: String) -> [String]? {
        let option = String(word.prefix(2))
        return word.count > 2 && optionsWithValue.contains(option) && !word.hasPrefix("--")
            ? [option, String(word.dropFirst(2))] : nil
    }

    /// How many arguments an option takes that may stand before the verb; `nil` for any other word.
    private static func optionLength(_ word: String) -> Int? {
        if flags.contains(word) { return 1 }
        if optionsWithValue.contains(word) { return 2 }
        guard let end = word.firstIndex(of: "="), optionsWithValue.contains(String(word[..<end])) else { return nil }
        return 1
    }

    /// - Throws: a usage failure that names the nearest verb, where a word stands in the place of one and is none.
    func checkVerb() throws(CommandFailure) {
        guard let (word, verbs, after) = unknown else { return }
        let nearest = verbs.map { (verb: $0, distance: Self.distance(word, $0)) }.min { $0.distance < $1.distance }
        let command = (["pantler"] + after).joined(separator: " ")
        var message = "There is no command '\(command) \(word)'."
        if let nearest, nearest.distance <= max(1, min(word.count, nearest.verb.count) / 2) {
            message += " Did you mean '\(command) \(nearest.verb)'?"
        }
        throw .usage(message + " `\(command) --help` lists what there is.")
    }

    /// Characters to insert, delete, replace or swap with their neighbour to make one word of another (Damerau 1964, in the form that edits no
    /// part twice). Complexity: O(a × b).
    private static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a), Array(b))
        var rows = [Array(0...b.count)]
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
                row.append(least)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}

extension ParsableCommand {
    fileprivate static var children: [any ParsableCommand.Type] {
        configuration.ungroupedSubcommands + configuration.groupedSubcommands.flatMap { $0.subcommands }
    }

    /// The command's name and its aliases.
    fileprivate static var names: [String] { [configuration.commandName ?? ""] + configuration.aliases }
}
