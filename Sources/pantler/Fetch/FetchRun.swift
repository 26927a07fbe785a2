internal import PantlerJSON
internal import PantlerModel

/// Carries out what `Fetch` decides: the calls, the command, the signals.
struct FetchRun: Sendable {
    let calls: LeaseCalls
    let plan: Fetch.Plan
    let command: [[UInt8]]
    let kind: ValueKindOptions
    let lifetime: LifetimeOptions
    let isVerbose: Bool

    /// How the whole has ended, and what COMMAND has printed.
    struct Result: Sendable {
        let ending: Fetch.Ending
        let output: [UInt8]

        fileprivate static let cancelled = Result(
            ending: Fetch.Ending(output: .nothing, outcome: .status(.failed)),
            output: []
        )
    }

    /// - Throws: a failure where the process cannot hear of signals.
    func run() async throws(CommandFailure) -> Result {
        let (events, inbox) = AsyncStream<Fetch.Event>.makeStream()
        try EndingSignal.catchAll { inbox.yield(.signal($0)) }
        // The end may take a while, as where its output goes to a pager.
        defer { EndingSignal.release() }
        return await withTaskGroup(of: Void.self) { group in
            var fetch = Fetch(plan)
            var process: CommandProcess?
            var actions = fetch.begin(at: now)
            var next = events.makeAsyncIterator()
            while true {
                for action in actions {
                    switch action {
                    case .startCommand:
                        process = start(inbox)
                    case .forward(let signal):
                        process?.send(signal)
                    case .warn(let text):
                        Terminal.write(line: "pantler: \(text)", to: .error)
                    case .note(let text):
                        if isVerbose { Terminal.write(line: "pantler: \(text)", to: .error) }
                    case .end(let ending):
                        group.cancelAll()
                        return Result(ending: ending, output: process?.output ?? [])
                    case .ask, .pause, .scheduleProlonging, .prolong, .fill, .fillAbsent, .release:
                        let output = process?.output ?? []
                        group.addTask { if let event = await carryOut(action, output) { inbox.yield(event) } }
                    }
                }
                // Nobody finishes the stream: it ends with the task.
                guard let event = await next.next() else { return .cancelled }
                actions = fetch.take(event, at: now)
            }
        }
    }

    private var now: Int64 { Int64(monotonicNanoseconds() / 1_000_000) }

    private func start(_ inbox: AsyncStream<Fetch.Event>.Continuation) -> CommandProcess? {
        do throws(CommandEnd) {
            return try CommandProcess(command) { event in
                switch event {
                case .outgrew: inbox.yield(.outgrew)
                case .outputEnded: inbox.yield(.outputEnded)
                case .ended(let end): inbox.yield(.commandEnded(end))
                }
            }
        } catch {
            inbox.yield(.outputEnded)
            inbox.yield(.commandEnded(error))
            return nil
        }
    }

    /// What takes its time, and what came of it.
    private func carryOut(_ action: Fetch.Action, _ output: [UInt8]) async -> Fetch.Event? {
        switch action {
        case .ask(let wait):
            return .asked(await calls.ask(leaseMilliseconds: plan.leaseMilliseconds, waitMilliseconds: wait))
        case .pause(let milliseconds):
            try? await Task.sleep(for: .milliseconds(milliseconds))
            return .pauseEnded
        case .scheduleProlonging(let milliseconds):
            try? await Task.sleep(for: .milliseconds(milliseconds))
            return .prolongDue
        case .prolong(let token):
            return .prolonged(await calls.prolong(token, leaseMilliseconds: plan.leaseMilliseconds))
        case .fill(let token):
            do throws(CommandFailure) {
                return .filled(await calls.fill(token, envelope: try envelope(of: output)))
            } catch {
                return .filled(.refused(error))
            }
        case .fillAbsent(let token):
            return .filled(await calls.fill(token, envelope: absence))
        case .release(let token, let retry):
            await calls.release(token, retryMilliseconds: retry)
            return .released
        case .startCommand, .forward, .warn, .note, .end:
            return nil
        }
    }

    /// The entry that COMMAND's output becomes, to the byte: also where JSON has whitespace around it, as the line break that most commands
    /// end their output with. What is printed from the cache is what COMMAND has printed.
    private func envelope(of output: [UInt8]) throws(CommandFailure) -> [UInt8] {
        var writer = JSONWriter(capacity: output.count + 256)
        writer.beginObject()
        switch try kind.json(in: output) {
        case output.indices:
            writer.member("value")
            writer.raw(output)
        case .some:
            writer.bytes(output, contentType: "application/json")
        case nil:
            writer.bytes(output, contentType: kind.mediaType(of: output))
        }
        lifetime.write(to: &writer)
        writer.endObject()
        return writer.bytes
    }

    /// A negative entry. It is never stale, so a stale TTL is not for it.
    private var absence: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("absent")
        writer.bool(true)
        lifetime.write(to: &writer, ofAbsence: true)
        writer.endObject()
        return writer.bytes
    }
}
