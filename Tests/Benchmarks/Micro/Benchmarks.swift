internal import Foundation

/// Times the parts of the service by themselves, in this process: `README.md` beside this folder says how to run it.
@main
struct Benchmarks {
    static func main() {
        do {
            let options = try BenchmarkOptions(Array(CommandLine.arguments.dropFirst()))
            let folder = try ScratchFolder(in: options.folder)
            defer { folder.remove() }
            let results = try run(options, folder)
            print(
                options.isJSON ? BenchmarkReport.json(results) : BenchmarkReport.table(results, rounds: options.rounds)
            )
        } catch {
            FileHandle.standardError.write(Data("Benchmarks: \(error)\n".utf8))
            exit(error is BenchmarkOptions.Wrong ? 2 : 1)
        }
    }

    private static func run(_ options: BenchmarkOptions, _ folder: ScratchFolder) throws -> [BenchmarkResult] {
        // A group is made when its turn comes and is gone before the next: none is measured in another one's memory.
        let groups: [(name: String, make: () throws -> BenchmarkGroup)] = [
            ("memory", { try .memory() }),
            ("store", { try .store() }),
            ("lane", { try .lane() }),
            ("json", { try .json() }),
            ("codec", { try .codec() }),
            ("disk", { try .disk(in: folder.path) }),
        ]
        var results: [BenchmarkResult] = []
        for (name, make) in groups where options.groups.isEmpty || options.groups.contains(name) {
            let group = try make()
            defer { group.end() }
            results += try group.measure(rounds: options.rounds)
        }
        return results
    }
}

/// The command line.
struct BenchmarkOptions {
    var rounds = 7
    var isJSON = false
    /// Where the disk tier's folder is made.
    var folder = FileManager.default.temporaryDirectory.path
    /// Empty = all.
    var groups: Set<String> = []

    static let groupNames: Set<String> = ["memory", "store", "lane", "json", "codec", "disk"]

    struct Wrong: Error, CustomStringConvertible {
        let description: String
    }

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--json": isJSON = true
            case "--rounds":
                guard let text = rest.popFirst(), let number = Int(text), (1...1000).contains(number) else {
                    throw Wrong(description: "--rounds is an integer from 1 to 1000.")
                }
                rounds = number
            case "--folder":
                guard let path = rest.popFirst() else { throw Wrong(description: "--folder is a path.") }
                folder = path
            case let name where Self.groupNames.contains(name): groups.insert(name)
            default:
                let names = Self.groupNames.sorted().joined(separator: " ")
                throw Wrong(
                    description: "'\(argument)' is none of --rounds N, --json, --folder PATH and the groups \(names)."
                )
            }
        }
    }
}

/// A folder that is gone when the benchmarks are.
struct ScratchFolder {
    let path: String

    init(in parent: String) throws {
        path = parent + "/pantler-benchmarks-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}
