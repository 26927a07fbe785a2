import Support
import Testing

@testable import pantler

@Suite("A command that is run")
struct CommandProcessTests {
    /// Runs one to its end.
    private func run(
        _ words: [String],
        keeping limit: Int = 1 << 20,
        passOn: @escaping @Sendable ([UInt8]) throws -> Void = { _ in }
    ) async throws -> (output: [UInt8], end: CommandEnd, hasOutgrown: Bool) {
        let (events, inbox) = AsyncStream<CommandProcess.Event>.makeStream()
        let process = try CommandProcess(words.map { Array($0.utf8) }, keeping: limit, passOn: passOn) {
            inbox.yield($0)
        }
        var end: CommandEnd?
        var outputHasEnded = false
        var hasOutgrown = false
        for await event in events {
            switch event {
            case .outgrew: hasOutgrown = true
            case .outputEnded: outputHasEnded = true
            case .ended(let ended): end = ended
            }
            if outputHasEnded, end != nil { break }
        }
        return (process.output, try #require(end), hasOutgrown)
    }

    @Test("its output is kept to the byte, and its end is told as it was")
    func ends() async throws {
        let printed = try await run(["printf", #"\377\000\n"#])
        #expect(printed.output == [255, 0, 10] && printed.end == .exited(0) && !printed.hasOutgrown)
        #expect(try await run(["sh", "-c", "echo a; exit 7"]).end == .exited(7))
        #expect(try await run(["sh", "-c", "kill -9 $$"]).end == .signalled(9))
    }

    @Test("one that is not there, or cannot be run, is told apart")
    func starts() async {
        for (words, status) in [(["pantler-none"], 127), ([""], 127), (["/etc/passwd"], 126), (["/"], 126)] {
            let error = await #expect(throws: CommandEnd.self) { try await run(words) }
            #expect(error?.status == Int32(status), "\(words)")
            #expect(error?.reason?.hasPrefix(words[0]) == true)
        }
    }

    @Test("it has neither the signals blocked that the threads here block, nor SIGPIPE ignored")
    func inheritance() async throws {
        let masks = try await run(["grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status"]).output
        let pipe: UInt64 = 1 << 12
        for line in String(decoding: masks, as: UTF8.self).split(separator: "\n") {
            let mask = try #require(line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) })
            #expect(line.hasPrefix("SigBlk") ? mask == 0 : mask & pipe == 0, "\(line)")
        }
    }

    @Test("what it prints beyond what is kept is passed on, with what was kept before")
    func outgrows() async throws {
        let passed = Shared<[UInt8]>([])
        let large = try await run(["sh", "-c", "printf abcdef; printf ghi"], keeping: 5) { bytes in
            passed.update { $0 += bytes }
        }
        #expect(large.hasOutgrown && large.output.isEmpty && large.end == .exited(0))
        #expect(passed.value == Array("abcdefghi".utf8))
        let exact = try await run(["printf", "abcde"], keeping: 5)
        #expect(!exact.hasOutgrown && exact.output == Array("abcde".utf8))
    }

    @Test("one whose output nobody takes is told so as by a pipe")
    func brokenPipe() async throws {
        let end = try await run(["yes"], keeping: 5) { _ in throw Failure("nobody") }.end
        #expect(end == .signalled(13))
    }

    @Test("it gets the signals that it is sent")
    func signals() async throws {
        let (events, inbox) = AsyncStream<CommandProcess.Event>.makeStream()
        let process = try CommandProcess(["sleep", "1000"].map { Array($0.utf8) }) { inbox.yield($0) }
        process.send(15)
        for await event in events {
            guard case .ended(let end) = event else { continue }
            #expect(end == .signalled(15))
            break
        }
        process.send(9)
    }
}
