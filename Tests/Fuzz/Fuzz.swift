internal import CFuzzer
internal import Glibc

/// Fuzzing by coverage: `Fuzz TARGET` runs libFuzzer over one of the targets; what follows are libFuzzer's own arguments. See README.md.
@main
enum Fuzz {
    static let targets: [String: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32] = [
        "lane": { LaneTarget.run(UnsafeRawBufferPointer(start: $0, count: $1)) },
        "body": { BodyTarget.run(UnsafeRawBufferPointer(start: $0, count: $1)) },
        "json": { JSONTarget.run(UnsafeRawBufferPointer(start: $0, count: $1)) },
        "merge": { MergeTarget.run(UnsafeRawBufferPointer(start: $0, count: $1)) },
        "journal": { JournalTarget.run(UnsafeRawBufferPointer(start: $0, count: $1)) },
    ]

    static func main() {
        guard CommandLine.argc > 1, let name = CommandLine.arguments.dropFirst().first, let target = targets[name]
        else {
            print("Name one of \(targets.keys.sorted().joined(separator: ", ")), and then libFuzzer's arguments.")
            exit(2)
        }
        // The target's name takes the place of the program's.
        var count = CommandLine.argc - 1
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv + 1
        exit(LLVMFuzzerRunDriver(&count, &arguments, target))
    }
}

/// Ends the process where something does not hold: libFuzzer keeps the input then.
func must(_ holds: Bool, _ what: @autoclosure () -> String) {
    if holds { return }
    let line = Array("\(what())\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    abort()
}
