import Testing

@testable import pantler

@Suite("What a fetch decides")
struct FetchTests {
    private typealias Action = Fetch.Action
    private typealias Ending = Fetch.Ending

    private let entry = EntryValue(bytes: Array("old".utf8), version: "7")
    private let refusal = CommandFailure(.failed, code: "value_too_large", "It is too large.")
    private let lost = CommandFailure(.conflict, code: "lease_lost", "It is lost.")
    private let away = CommandFailure(.unreachable, code: "unreachable", "Nobody answers.")

    /// A fetch that has asked, and what came of the answer. What only tells is left out.
    private func asked(
        _ asked: LeaseCalls.Asked,
        _ change: (inout Fetch.Plan) -> Void = { _ in }
    ) -> (fetch: Fetch, actions: [Action]) {
        var plan = Fetch.Plan(key: "k")
        change(&plan)
        var fetch = Fetch(plan)
        #expect(fetch.begin(at: 0) == [.ask(waitMilliseconds: min(plan.waitMilliseconds, 30_000))])
        let actions = done(fetch.take(.asked(asked), at: 0))
        return (fetch, actions)
    }

    /// A fetch whose command runs under a lease.
    private func running(
        stale: EntryValue? = nil,
        _ change: (inout Fetch.Plan) -> Void = { _ in }
    ) -> Fetch {
        let (fetch, actions) = asked(.answer(.lease(token: "t", stale: stale)), change)
        #expect(actions.first == .startCommand)
        return fetch
    }

    private func done(_ actions: [Action]) -> [Action] {
        actions.filter {
            switch $0 {
            case .note, .warn: false
            default: true
            }
        }
    }

    private func warnings(_ actions: [Action]) -> [String] {
        actions.compactMap { if case .warn(let text) = $0 { text } else { nil } }
    }

    /// What follows once the command has ended, and its output.
    private func ended(_ fetch: inout Fetch, _ status: Int32) -> [Action] {
        #expect(fetch.take(.outputEnded, at: 0) == [])
        return fetch.take(.commandEnded(.exited(status)), at: 0)
    }

    private func held(_ reason: LeaseAnswer.Held.Reason, _ retryMilliseconds: Int64 = 400) -> LeaseCalls.Asked {
        let failure = CommandFailure(.conflict, code: "lease_held", "Somebody fills.")
        return .answer(.held(.init(reason: reason, retryMilliseconds: retryMilliseconds, failure: failure)))
    }

    private func end(_ output: Ending.Output, _ outcome: Ending.Outcome) -> [Action] {
        [.end(Ending(output: output, outcome: outcome))]
    }

    // MARK: Asking

    @Test("an entry that is there is printed, stale or not", arguments: [false, true])
    func hit(isStale: Bool) {
        #expect(asked(.answer(.entry(entry, isStale: isStale))).actions == end(.entry(entry), .status(.done)))
    }

    @Test("where the source is known to have nothing, the command does not run, and the exit status is 3")
    func absent() {
        let actions = asked(.answer(.absent)).actions
        guard case .end(let ending)? = actions.first, case .failure(let failure) = ending.outcome else {
            Issue.record("\(actions)")
            return
        }
        #expect(ending.output == .nothing && failure.status == .notFound && actions.count == 1)
    }

    @Test("with a lease the command runs, and the lease is prolonged after a third of its time")
    func lease() {
        let taken = asked(.answer(.lease(token: "t", stale: nil))) { $0.leaseMilliseconds = 6000 }
        #expect(taken.actions == [.startCommand, .scheduleProlonging(milliseconds: 2000)])
    }

    @Test("a service that is away does not keep the command from running, unless that is asked for")
    func awayAtFirst() {
        var (fetch, actions) = asked(.away(away))
        #expect(actions == [.startCommand])
        #expect(done(ended(&fetch, 0)) == end(.command, .status(.done)))
        #expect(asked(.away(away)) { $0.isStrict = true }.actions == end(.nothing, .failure(away)))
    }

    @Test("a question that the service does not take is a failure, and the command does not run")
    func refused() {
        #expect(asked(.refused(refusal)).actions == end(.nothing, .failure(refusal)))
    }

    @Test("somebody else's fill is waited for as long as was asked for, then the command runs and nothing is stored")
    func waiting() {
        var (fetch, actions) = asked(held(.crowded)) { $0.waitMilliseconds = 45_000 }
        #expect(actions == [.pause(milliseconds: 400)])
        #expect(fetch.take(.pauseEnded, at: 400) == [.ask(waitMilliseconds: 30_000)])
        // The service has waited as it was asked to: it is asked again at once. One that has not is given a moment.
        #expect(fetch.take(.asked(held(.filling)), at: 30_400) == [.ask(waitMilliseconds: 14_600)])
        #expect(fetch.take(.asked(held(.filling, 9000)), at: 40_000) == [.pause(milliseconds: 1000)])
        #expect(fetch.take(.pauseEnded, at: 41_000) == [.ask(waitMilliseconds: 4000)])
        actions = fetch.take(.asked(held(.filling)), at: 45_000)
        #expect(done(actions) == [.startCommand] && warnings(actions).count == 1)
        #expect(done(ended(&fetch, 0)) == end(.command, .status(.done)))
    }

    @Test("with --strict a wait that was in vain is a conflict")
    func waitingStrictly() throws {
        let taken = asked(held(.filling)) {
            $0.waitMilliseconds = 0
            $0.isStrict = true
        }
        guard case .end(let ending)? = taken.actions.first, case .failure(let failure) = ending.outcome else {
            Issue.record("\(taken.actions)")
            return
        }
        #expect(failure.status == .conflict && ending.output == .nothing)
    }

    @Test("a source that has failed is left alone, also without --strict")
    func backoff() {
        let actions = asked(held(.failed)).actions
        guard case .end(let ending)? = actions.first, case .failure(let failure) = ending.outcome else {
            Issue.record("\(actions)")
            return
        }
        #expect(failure.status == .conflict && ending.output == .nothing)
    }

    // MARK: The command

    @Test("what a command has printed fills the lease and is printed, once both it and its output have ended")
    func success() {
        var fetch = running()
        #expect(fetch.take(.commandEnded(.exited(0)), at: 0) == [])
        #expect(fetch.take(.outputEnded, at: 0) == [.fill(token: "t")])
        #expect(done(fetch.take(.filled(.done), at: 0)) == end(.command, .status(.done)))
    }

    @Test(
        "a command that fails has its lease released, and its status is the end's",
        arguments: [
            (CommandEnd.exited(7), 7), (.signalled(9), 137), (.notStarted(name: "x", error: 2), 127),
            (.notStarted(name: "x", error: 13), 126),
        ] as [(CommandEnd, Int32)]
    )
    func failure(commandEnd: CommandEnd, status: Int32) {
        var fetch = running()
        _ = fetch.take(.outputEnded, at: 0)
        let actions = fetch.take(.commandEnded(commandEnd), at: 0)
        #expect(done(actions) == [.release(token: "t", retryMilliseconds: nil)])
        // Of a command that has run, its own errors have told.
        #expect(warnings(actions).isEmpty == (status != 126 && status != 127))
        #expect(fetch.take(.released, at: 0) == end(.command, .status(ExitStatus(rawValue: status))))
    }

    @Test("a source that fails is left alone for as long as was asked for")
    func failRetry() {
        var fetch = running { $0.retryMilliseconds = 5000 }
        #expect(ended(&fetch, 1) == [.release(token: "t", retryMilliseconds: 5000)])
    }

    @Test("a stale entry stands in for a command that fails only where that is asked for")
    func staleOnFailure() {
        var fetch = running(stale: entry) { $0.printsStaleOnFailure = true }
        let actions = ended(&fetch, 7)
        #expect(done(actions) == [.release(token: "t", retryMilliseconds: nil)])
        #expect(warnings(actions).count == 1)
        #expect(fetch.take(.released, at: 0) == end(.entry(entry), .status(.done)))
        fetch = running(stale: entry)
        _ = ended(&fetch, 7)
        #expect(fetch.take(.released, at: 0) == end(.command, .status(ExitStatus(rawValue: 7))))
        fetch = running { $0.printsStaleOnFailure = true }
        _ = ended(&fetch, 7)
        #expect(fetch.take(.released, at: 0) == end(.command, .status(ExitStatus(rawValue: 7))))
    }

    @Test("the status that says that the source has nothing fills the lease with that")
    func absence() {
        var fetch = running { $0.absentStatus = 3 }
        #expect(ended(&fetch, 3) == [.fillAbsent(token: "t")])
        guard case .end(let ending)? = done(fetch.take(.filled(.done), at: 0)).first,
            case .failure(let failure) = ending.outcome
        else {
            Issue.record("no end")
            return
        }
        #expect(ending.output == .nothing && failure.status == .notFound)
        fetch = running { $0.absentStatus = 3 }
        #expect(ended(&fetch, 4) == [.release(token: "t", retryMilliseconds: nil)])
    }

    @Test("output beyond what is kept gives the lease back at once, and the command's status counts")
    func outgrown() {
        var fetch = running { $0.absentStatus = 3 }
        let actions = fetch.take(.outgrew, at: 0)
        #expect(done(actions) == [.release(token: "t", retryMilliseconds: nil)] && warnings(actions).count == 1)
        #expect(fetch.take(.released, at: 0) == [])
        #expect(fetch.take(.prolongDue, at: 0) == [])
        #expect(ended(&fetch, 3) == end(.command, .status(.notFound)))
        fetch = running { $0.isStrict = true }
        #expect(warnings(fetch.take(.outgrew, at: 0)).isEmpty)
        guard case .end(let ending)? = ended(&fetch, 0).first, case .failure(let failure) = ending.outcome else {
            Issue.record("no end")
            return
        }
        #expect(failure.status == .failed)
    }

    // MARK: The lease

    @Test("a lease is prolonged again and again, also after a call that nobody answered")
    func prolonging() {
        var fetch = running { $0.leaseMilliseconds = 3000 }
        for answer in [LeaseCalls.Done.done, .away(away), .refused(refusal)] {
            #expect(fetch.take(.prolongDue, at: 0) == [.prolong(token: "t")])
            #expect(fetch.take(.prolonged(answer), at: 0) == [.scheduleProlonging(milliseconds: 1000)])
        }
    }

    @Test("a lease that is lost meanwhile is not filled; what the command prints is printed", arguments: [false, true])
    func lostMeanwhile(isStrict: Bool) {
        var fetch = running { $0.isStrict = isStrict }
        _ = fetch.take(.prolongDue, at: 0)
        let actions = fetch.take(.prolonged(.lost(lost)), at: 0)
        #expect(done(actions) == [] && warnings(actions) == [])
        #expect(fetch.take(.prolongDue, at: 0) == [])
        #expect(ended(&fetch, 0) == end(.command, isStrict ? .failure(lost) : .status(.done)))
    }

    @Test("a fill that comes too late loses no output; with --strict it is a conflict", arguments: [false, true])
    func lostAtFill(isStrict: Bool) {
        var fetch = running { $0.isStrict = isStrict }
        _ = ended(&fetch, 0)
        let actions = fetch.take(.filled(.lost(lost)), at: 0)
        #expect(warnings(actions) == [])
        #expect(done(actions) == end(.command, isStrict ? .failure(lost) : .status(.done)))
    }

    @Test("a fill that is refused loses no output, and the lease is released", arguments: [false, true])
    func refusedFill(isStrict: Bool) {
        var fetch = running { $0.isStrict = isStrict }
        _ = ended(&fetch, 0)
        let actions = fetch.take(.filled(.refused(refusal)), at: 0)
        #expect(done(actions) == [.release(token: "t", retryMilliseconds: nil)])
        #expect(warnings(actions).isEmpty == isStrict)
        #expect(fetch.take(.released, at: 0) == end(.command, isStrict ? .failure(refusal) : .status(.done)))
    }

    @Test("a service that goes away before the fill loses no output", arguments: [false, true])
    func awayAtFill(isStrict: Bool) {
        var fetch = running { $0.isStrict = isStrict }
        _ = ended(&fetch, 0)
        let actions = fetch.take(.filled(.away(away)), at: 0)
        #expect(done(actions) == end(.command, isStrict ? .failure(away) : .status(.done)))
        #expect(warnings(actions).isEmpty == isStrict)
    }

    // MARK: Signals

    private let interrupt = EndingSignal(number: 2, isFromTerminal: true)
    private let terminate = EndingSignal(number: 15, isFromTerminal: false)

    @Test("a signal while others are waited for ends it at once")
    func signalWhileWaiting() {
        var fetch = Fetch(Fetch.Plan(key: "k"))
        _ = fetch.begin(at: 0)
        #expect(fetch.take(.signal(terminate), at: 0) == end(.nothing, .signal(15)))
        // The answer comes too late.
        #expect(fetch.take(.asked(.answer(.lease(token: "t", stale: nil))), at: 0) == [])
        fetch = asked(held(.crowded)).fetch
        #expect(fetch.take(.signal(interrupt), at: 0) == end(.nothing, .signal(2)))
    }

    @Test("a signal goes to the command unless the terminal has sent it that, and the lease is held until it ends")
    func signalWhileRunning() {
        for signal in [interrupt, terminate] {
            var fetch = running(stale: entry) { $0.printsStaleOnFailure = true }
            let forwarded: [Action] = signal.isFromTerminal ? [] : [.forward(signal.number)]
            #expect(fetch.take(.signal(signal), at: 0) == forwarded)
            #expect(fetch.take(.prolongDue, at: 0) == [.prolong(token: "t")])
            #expect(fetch.take(.signal(signal), at: 0) == forwarded)
            // Whoever else has its output open is not waited for; what it has printed and how it ended do not matter.
            #expect(
                fetch.take(.commandEnded(.exited(0)), at: 0) == [.release(token: "t", retryMilliseconds: nil)]
            )
            #expect(fetch.take(.released, at: 0) == end(.nothing, .signal(signal.number)))
        }
    }

    @Test("a signal after the command has ended is not kept waiting by who has its output open")
    func signalWhileOutputIsOpen() {
        var fetch = running()
        #expect(fetch.take(.commandEnded(.exited(0)), at: 0) == [])
        #expect(
            fetch.take(.signal(terminate), at: 0) == [.forward(15), .release(token: "t", retryMilliseconds: nil)]
        )
    }

    @Test("a signal at the fill gives the lease back; a second one does not wait for that")
    func signalWhileFilling() {
        var fetch = running()
        _ = ended(&fetch, 0)
        #expect(fetch.take(.signal(terminate), at: 0) == [.release(token: "t", retryMilliseconds: nil)])
        #expect(fetch.take(.filled(.done), at: 0) == [])
        #expect(fetch.take(.signal(interrupt), at: 0) == end(.nothing, .signal(15)))
        #expect(fetch.take(.released, at: 0) == [])
        fetch = running()
        _ = ended(&fetch, 7)
        #expect(fetch.take(.signal(terminate), at: 0) == [])
        #expect(fetch.take(.released, at: 0) == end(.nothing, .signal(15)))
    }
}
