internal import PantlerModel

/// What `pantler fetch` decides, as a value without processes, sockets and clocks: it is told what has happened, and says what to do.
///
/// A lease that it has got is filled or released before the end, and held for as long as COMMAND runs: also while that is ending after
/// a signal, so that the source is not loaded twice at once.
struct Fetch: Sendable {
    /// What the command line asks for.
    struct Plan: Sendable {
        let key: String
        /// How long to wait for somebody else's fill.
        var waitMilliseconds: Int64 = 30_000
        var leaseMilliseconds: Int64 = 10_000
        /// Whether to fail where the cache cannot do its part.
        var isStrict = false
        /// How long the source is left alone after COMMAND has failed; `nil` = not at all.
        var retryMilliseconds: Int64?
        /// The exit status of COMMAND that says that the source has nothing.
        var absentStatus: Int32?
        /// Whether a stale entry stands in for COMMAND where that fails.
        var printsStaleOnFailure = false
    }

    enum Event: Sendable {
        case asked(LeaseCalls.Asked)
        case pauseEnded
        /// COMMAND has printed more than is kept; that and the rest goes to the output by itself.
        case outgrew
        case commandEnded(CommandEnd)
        /// Nobody has COMMAND's output open any more.
        case outputEnded
        case prolongDue
        case prolonged(LeaseCalls.Done)
        case filled(LeaseCalls.Done)
        case released
        /// This process is to end.
        case signal(EndingSignal)
    }

    enum Action: Hashable, Sendable {
        case ask(waitMilliseconds: Int64)
        case pause(milliseconds: Int64)
        case startCommand
        /// Sends COMMAND a signal.
        case forward(Int32)
        /// Has `prolongDue` come after so long.
        case scheduleProlonging(milliseconds: Int64)
        case prolong(token: String)
        /// Fills with what COMMAND has printed.
        case fill(token: String)
        /// Fills with a negative entry.
        case fillAbsent(token: String)
        case release(token: String, retryMilliseconds: Int64?)
        /// Tells what a user would want to know.
        case warn(String)
        /// Tells what a user knows already, unless they want to hear of it.
        case note(String)
        case end(Ending)
    }

    /// How the whole ends: first the output, then the status.
    struct Ending: Hashable, Sendable {
        enum Output: Hashable, Sendable {
            case nothing
            /// What COMMAND has printed.
            case command
            case entry(EntryValue)
        }

        enum Outcome: Hashable, Sendable {
            case status(ExitStatus)
            case failure(CommandFailure)
            case signal(Int32)
        }

        var output: Output
        var outcome: Outcome
    }

    private enum Phase {
        case asking
        case pausing
        case running
        /// The ending is what comes once the entry is there.
        case filling(Ending)
        case releasing(Ending)
        case over
    }

    private let plan: Plan
    private var phase = Phase.over
    /// By when waiting for others is to end, in milliseconds.
    private var deadline: Int64 = 0
    private var askedAt: Int64 = 0
    private var askedWait: Int64 = 0
    /// The token of the lease that is held.
    private var lease: String?
    private var stale: EntryValue?
    private var commandEnd: CommandEnd?
    private var outputHasEnded = false
    private var hasOutgrown = false
    /// Why what COMMAND prints is not stored.
    private var excuse: CommandFailure?
    private var signal: Int32?

    /// The longest pause between two questions that are not waited with.
    private static let maxPauseMilliseconds: Int64 = 1000

    init(_ plan: Plan) {
        self.plan = plan
    }

    /// - Parameter now: milliseconds, by a clock that only goes on.
    mutating func begin(at now: Int64) -> [Action] {
        deadline = now + plan.waitMilliseconds
        return ask(at: now)
    }

    /// - Parameter now: milliseconds, by the same clock.
    mutating func take(_ event: Event, at now: Int64) -> [Action] {
        switch (event, phase) {
        case (.asked(let asked), .asking): take(asked, at: now)
        case (.pauseEnded, .pausing): ask(at: now)
        case (.outgrew, .running): giveUpStoring()
        case (.commandEnded(let end), .running): commandEnded(end)
        case (.outputEnded, .running): outputEnded()
        case (.prolongDue, .running), (.prolongDue, .filling): lease.map { [.prolong(token: $0)] } ?? []
        case (.prolonged(let done), .running): prolonged(done)
        // The fill itself ends the lease.
        case (.prolonged, .filling): prolongLater()
        case (.filled(let done), .filling(let ending)): filled(done, ending)
        case (.released, .releasing(let ending)): end(ending)
        case (.signal(let signal), _): take(signal)
        default: []
        }
    }

    // MARK: Asking

    private mutating func ask(at now: Int64) -> [Action] {
        phase = .asking
        askedAt = now
        askedWait = max(0, min(deadline - now, LeaseCalls.maxWaitMilliseconds))
        return [.ask(waitMilliseconds: askedWait)]
    }

    private mutating func take(_ asked: LeaseCalls.Asked, at now: Int64) -> [Action] {
        switch asked {
        case .answer(.entry(let value, let isStale)):
            let how = isStale ? "stale, and somebody else refreshes it" : "version \(value.version)"
            let ending = Ending(output: .entry(value), outcome: .status(.done))
            return [.note("'\(plan.key)' is there: \(how).")] + end(ending)
        case .answer(.absent):
            return end(absent)
        case .answer(.lease(let token, let stale)):
            lease = token
            self.stale = stale
            return [.note("'\(plan.key)' is to be filled: COMMAND runs.")] + start() + prolongLater()
        case .answer(.held(let held)):
            return take(held, at: now)
        case .away(let failure):
            return startWithoutLease(failure)
        case .refused(let failure):
            return end(Ending(output: .nothing, outcome: .failure(failure)))
        }
    }

    private mutating func take(_ held: LeaseAnswer.Held, at now: Int64) -> [Action] {
        // A source that has failed is to be left alone by this COMMAND too.
        if held.reason == .failed { return end(Ending(output: .nothing, outcome: .failure(held.failure))) }
        guard now < deadline else { return startWithoutLease(held.failure) }
        if held.reason == .filling, now - askedAt >= askedWait { return ask(at: now) }
        phase = .pausing
        let pause = min(held.retryMilliseconds, deadline - now, Self.maxPauseMilliseconds)
        return [.pause(milliseconds: max(1, pause))]
    }

    private mutating func startWithoutLease(_ failure: CommandFailure) -> [Action] {
        if plan.isStrict { return end(Ending(output: .nothing, outcome: .failure(failure))) }
        return excused(failure, "COMMAND runs all the same, and what it prints is not stored.") + start()
    }

    private mutating func start() -> [Action] {
        phase = .running
        return [.startCommand]
    }

    // MARK: While COMMAND runs

    private mutating func commandEnded(_ end: CommandEnd) -> [Action] {
        commandEnd = end
        return finishRunning()
    }

    private mutating func outputEnded() -> [Action] {
        outputHasEnded = true
        return finishRunning()
    }

    private mutating func giveUpStoring() -> [Action] {
        hasOutgrown = true
        let failure = CommandFailure(
            .failed,
            code: "value_too_large",
            "COMMAND prints more than the \(Quantity.text(bytes: Int64(CommandProcess.keptBytes))) that are kept of it."
        )
        var actions = excused(failure, "It goes on to the output, and is not stored.")
        if let lease {
            actions.append(.release(token: lease, retryMilliseconds: nil))
            self.lease = nil
        }
        return actions
    }

    private func prolongLater() -> [Action] {
        lease == nil ? [] : [.scheduleProlonging(milliseconds: max(1, plan.leaseMilliseconds / 3))]
    }

    private mutating func prolonged(_ done: LeaseCalls.Done) -> [Action] {
        guard case .lost(let failure) = done, lease != nil else { return prolongLater() }
        return lostLease(failure)
    }

    private mutating func lostLease(_ failure: CommandFailure) -> [Action] {
        lease = nil
        excuse = failure
        return [
            .note(
                "The lease of '\(plan.key)' is lost: the key was written or invalidated meanwhile, or the service was away. "
                    + "What COMMAND prints is not stored."
            )
        ]
    }

    /// Where both COMMAND and its output have ended. What else has the output open is not waited for after a signal.
    private mutating func finishRunning() -> [Action] {
        guard let commandEnd else { return [] }
        if let signal { return giveUp(Ending(output: .nothing, outcome: .signal(signal)), failed: false) }
        guard outputHasEnded else { return [] }
        if commandEnd.status == plan.absentStatus, !hasOutgrown { return fill(absent) { .fillAbsent(token: $0) } }
        guard commandEnd.status == 0 else { return failed(commandEnd) }
        return fill(Ending(output: .command, outcome: .status(.done))) { .fill(token: $0) }
    }

    private mutating func failed(_ commandEnd: CommandEnd) -> [Action] {
        var actions: [Action] = commandEnd.reason.map { [.warn($0)] } ?? []
        var ending = Ending(output: .command, outcome: .status(ExitStatus(rawValue: commandEnd.status)))
        if plan.printsStaleOnFailure, let stale, !hasOutgrown {
            actions.append(.warn("COMMAND failed (\(commandEnd.status)): the stale entry is printed instead."))
            ending = Ending(output: .entry(stale), outcome: .status(.done))
        }
        return actions + giveUp(ending, failed: true)
    }

    // MARK: Filling and releasing

    private mutating func fill(_ ending: Ending, by action: (String) -> Action) -> [Action] {
        guard let lease else { return end(excusing(ending)) }
        phase = .filling(ending)
        return [action(lease)]
    }

    private mutating func filled(_ done: LeaseCalls.Done, _ ending: Ending) -> [Action] {
        let unstored = "What COMMAND has found is not stored."
        switch done {
        case .done:
            return [.note("'\(plan.key)' is stored.")] + end(ending)
        case .lost(let failure):
            return lostLease(failure) + end(excusing(ending))
        case .refused(let failure):
            return excused(failure, unstored) + giveUp(excusing(ending), failed: false)
        case .away(let failure):
            return excused(failure, unstored) + end(excusing(ending))
        }
    }

    /// - Parameter failed: whether COMMAND has.
    private mutating func giveUp(_ ending: Ending, failed: Bool) -> [Action] {
        guard let lease else { return end(ending) }
        phase = .releasing(ending)
        return [.release(token: lease, retryMilliseconds: failed ? plan.retryMilliseconds : nil)]
    }

    // MARK: Ending

    private mutating func take(_ signal: EndingSignal) -> [Action] {
        let ending = Ending(output: .nothing, outcome: .signal(signal.number))
        switch phase {
        case .asking, .pausing:
            return end(ending)
        case .running:
            self.signal = self.signal ?? signal.number
            // The terminal has sent COMMAND one as well.
            return (signal.isFromTerminal ? [] : [.forward(signal.number)]) + finishRunning()
        case .filling:
            return giveUp(ending, failed: false)
        case .releasing(let earlier):
            // Who asks twice does not want to wait for the service.
            if case .signal = earlier.outcome { return end(earlier) }
            phase = .releasing(ending)
            return []
        case .over:
            return []
        }
    }

    private mutating func end(_ ending: Ending) -> [Action] {
        phase = .over
        return [.end(ending)]
    }

    private var absent: Ending {
        let failure = CommandFailure(.notFound, code: "entry_absent", "The source has nothing under '\(plan.key)'.")
        return Ending(output: .nothing, outcome: .failure(failure))
    }

    /// Remembers why nothing is stored. Where that is a failure, it is told at the end.
    private mutating func excused(_ failure: CommandFailure, _ consequence: String) -> [Action] {
        excuse = failure
        return plan.isStrict ? [] : [.warn("\(failure.message) \(consequence)")]
    }

    /// The ending of a COMMAND that has succeeded, where nothing could be stored.
    private func excusing(_ ending: Ending) -> Ending {
        guard plan.isStrict, let excuse, ending.outcome == .status(.done) else { return ending }
        return Ending(output: ending.output, outcome: .failure(excuse))
    }
}
