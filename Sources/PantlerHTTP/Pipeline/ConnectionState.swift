import NIOCore

/// Why nobody waits for an answer any more.
enum Cancellation: Equatable, Sendable {
    /// The client's connection is gone, or it sends no more: that looks the same, though it may still be there to read an answer.
    case clientLeft
    case serverStops
}

/// What a connection is at, as a value: events in, actions out. No channel, no clock, no store: `Connection` tells it what happens and
/// carries out what it answers, so that every order of events can be a test.
///
/// It knows how the connection's life goes (`life`), what stands at the front of the input (`front`), why no request is taken from there
/// (`pauses`, `exchanges`, `last`), in what order answers go out (`answers`), and what time is allowed (`deadline`). Bytes are counted here and kept
/// elsewhere, but for answers that wait for their turn.
///
/// An *exchange* is a request that is not answered at once. Plain gets go beside plain gets, and plain puts beside puts that are made and
/// wait to be durable; neither begins while one of the other kind is under way. Any other begins only when nothing is, and is alone until
/// it is answered. So no request overtakes a write.
struct ConnectionState {
    enum Life: Equatable {
        case open
        /// The last answer is given, and gathered to be sent.
        case ending(since: NIODeadline)
        /// The last answer is handed to the socket. What still comes is thrown away, so that the client gets to read it: closing at once
        /// would reset the connection under bytes that nobody has read, and take the answer with it (RFC 9112, section 9.6).
        case lingering(since: NIODeadline)
        case closed
    }

    enum Front: Equatable {
        /// Nothing, or a request that may be one for the fast lane.
        case unjudged
        /// A request that is none for the fast lane; so many of its bytes hold no end of its head.
        case head(searched: Int)
        /// The whole head of a plain put, and so many bytes behind the front in all: its body is not whole yet.
        case plainBody(unread: Int, moved: NIODeadline)
        /// The body of a request. One that was refused is passed over.
        case body(isRefused: Bool, moved: NIODeadline)
    }

    /// Why no request is taken, whatever is under way.
    struct Pauses: OptionSet {
        let rawValue: UInt8

        /// The loop's others have their turn.
        static let turn = Pauses(rawValue: 1)
        /// The socket takes no more.
        static let unwritable = Pauses(rawValue: 2)
        /// What stands at the front waits for room among the bytes in flight.
        static let room = Pauses(rawValue: 4)
    }

    enum Exchanges: Equatable {
        case none
        /// Plain gets whose reads of the lower tier are under way.
        case gets(Int)
        /// Plain puts that are not durable, and the one of them that is not made: nothing begins before it is.
        case puts(Int, unmade: UInt64?)
        /// One that is alone.
        case alone(Alone)
    }

    struct Alone: Equatable {
        let isHTTP10: Bool
        /// Whether its answer has begun, and is written in pieces.
        var isWriting = false
        /// Whether someone is to be told if nobody waits for the answer any more.
        var isWatched = false
    }

    private struct Burst: OptionSet {
        let rawValue: UInt8

        static let present = Burst(rawValue: 1)
        /// Some of its answers have been sent.
        static let hasSent = Burst(rawValue: 2)
        /// Another is to follow it: requests may wait for what came of the socket meanwhile.
        static let again = Burst(rawValue: 4)
    }

    private(set) var life = Life.open
    /// Whether the other side has said that it sends no more.
    private(set) var isInputClosed = false
    /// Whether the connection ends with what has begun.
    private(set) var isDraining = false
    private(set) var front = Front.unjudged
    private(set) var pauses: Pauses = []
    /// Whether a read waits until there is room for more.
    private var isReadHeld = false
    private(set) var exchanges = Exchanges.none
    /// The exchange whose answer is the connection's last.
    private var last: UInt64?
    private(set) var answers = PendingAnswers()

    private var burst: Burst = []
    /// When the latest burst began.
    private(set) var burstBegan = NIODeadline.uptimeNanoseconds(0)
    /// Whether room among the bytes in flight was short then.
    private(set) var isShort = false
    /// What the burst may still do before others of the loop have their turn, in steps of about a microsecond.
    private(set) var steps = 0

    /// The end of the last burst that answered something.
    private var lastAnswered = NIODeadline.uptimeNanoseconds(0)
    /// When the first byte of the head came that is not whole yet.
    private var headBegan: NIODeadline?
    /// Since when the other side has taken nothing, and how many bytes it had not taken then.
    private var stalled = (since: NIODeadline.uptimeNanoseconds(0), bytes: 0)

    /// Steps of a burst. Fewer would not shorten the wait of others by much, and more cost nobody but them.
    static let burstSteps = 1024
    /// Reads of the lower tier at a time: each can bring a large value.
    static let parallelLoads = 32
    /// Bytes of answers that are gathered, or wait behind others, before no more requests are read.
    static let gatheredBytes = 64 << 10
    /// The same while room among the bytes in flight is short.
    private static let scantGatheredBytes = 4 << 10
    /// How long bytes are thrown away after the last answer.
    private static let lingering = TimeAmount.seconds(2)

    var isOpen: Bool { if case .open = life { true } else { false } }
    var isInBurst: Bool { burst.contains(.present) }

    mutating func opened(at now: NIODeadline) { lastAnswered = now }

    // MARK: Bursts

    /// There must be none.
    ///
    /// - Parameter isShort: whether room among the bytes in flight is short.
    mutating func beginBurst(at now: NIODeadline, isShort: Bool) {
        burst = .present
        burstBegan = now
        self.isShort = isShort
        steps = Self.burstSteps
    }

    enum Sending {
        case nothing
        /// What is gathered.
        case gathered
        /// The same, with nothing after it: see `lastSent`.
        case last
    }

    /// What of the present burst is to be sent at its end, of `gathered` bytes.
    mutating func sending(gathered: Int) -> Sending {
        if case .ending(let since) = life {
            life = .lingering(since: since)
            return .last
        }
        return gathered > 0 ? .gathered : .nothing
    }

    /// Answers have been sent before the burst's end.
    mutating func sent() { burst.insert(.hasSent) }

    /// Whether any of the present burst's requests was answered.
    func hasAnswered(_ sending: Sending) -> Bool { sending != .nothing || burst.contains(.hasSent) }

    /// The burst was the last until `now` that answered anything.
    mutating func answered(at now: NIODeadline) { lastAnswered = now }

    /// - Returns: whether another burst is to follow.
    mutating func endBurst() -> Bool {
        defer { burst = [] }
        return burst.contains(.again)
    }

    /// Something was done that takes `steps`.
    mutating func spend(_ steps: Int) { self.steps -= steps }

    /// - Returns: whether to let others of the loop have their turn and then to tell `turnCame`.
    mutating func yieldsTurn() -> Bool {
        guard steps <= 0, !pauses.contains(.turn) else { return false }
        pauses.insert(.turn)
        return true
    }

    mutating func turnCame() { pauses.remove(.turn) }

    // MARK: What comes

    /// Whether no further request may be taken.
    ///
    /// - Parameter limit: requests that may wait for their answers.
    func isBlocked(limit: Int) -> Bool {
        if !pauses.isEmpty || last != nil { return true }
        switch exchanges {
        case .none: return false
        case .gets(let count): return count >= (isShort ? 1 : Self.parallelLoads) || isFull(limit)
        case .puts(_, let unmade): return unmade != nil || isFull(limit)
        case .alone: return true
        }
    }

    private func isFull(_ limit: Int) -> Bool {
        answers.count >= limit || answers.heldBytes + answers.valueBytes >= gatherLimit
    }

    var gatherLimit: Int { isShort ? Self.scantGatheredBytes : Self.gatheredBytes }

    /// Whether a plain get, or a plain put, may begin now.
    var mayGet: Bool { if case .puts = exchanges { false } else { true } }
    var mayPut: Bool { if case .gets = exchanges { false } else { true } }

    /// Requests are taken: the next head has all the time there is.
    mutating func tookRequest() {
        headBegan = nil
        if case .plainBody = front { front = .unjudged }
    }

    /// A plain put at the front waits for the rest of its body. Nothing is under way.
    mutating func awaitsPlainBody(unread: Int) {
        if case .plainBody(unread, _) = front { return }
        front = .plainBody(unread: unread, moved: burstBegan)
    }

    /// Whether what stands at the front may be a plain request.
    var mayBePlain: Bool {
        switch front {
        case .unjudged, .plainBody: true
        case .head, .body: false
        }
    }

    /// What stands at the front of the input is no plain request.
    mutating func foundHead(searched: Int = 0) { front = .head(searched: searched) }

    /// The head at the front has been taken.
    mutating func tookHead() { front = .unjudged }

    /// A piece of a body has been taken, or is to come.
    mutating func bodyMoved(isRefused: Bool) { front = .body(isRefused: isRefused, moved: burstBegan) }

    /// The body has ended.
    mutating func tookBody() { front = .unjudged }

    /// What stands at the front waits for room.
    mutating func waitsForRoom() { pauses.insert(.room) }

    /// - Returns: whether anything waited.
    mutating func roomCame() -> Bool {
        guard isOpen else { return false }
        return pauses.remove(.room) != nil
    }

    // MARK: Reading

    /// Whether to read no more now.
    ///
    /// - Parameter unread: bytes that could not be dealt with yet.
    func isReadingPaused(unread: Int, isShort: Bool) -> Bool {
        guard isOpen else { return false }
        if pauses.contains(.room) { return true }
        if pauses.contains(.turn), unread > 0 { return true }
        guard !answers.isEmpty || pauses.contains(.unwritable) else { return false }
        return unread > 0 || isShort
    }

    /// A read is asked for.
    ///
    /// - Returns: whether to pass it on; if not, `settled` tells when it is time.
    mutating func mayRead(unread: Int, isShort: Bool) -> Bool {
        isReadHeld = isReadingPaused(unread: unread, isShort: isShort)
        return !isReadHeld
    }

    /// All that had come is dealt with, as far as it can be now.
    ///
    /// - Returns: whether to read on after a read that was held.
    mutating func settled(unread: Int, isShort: Bool) -> Bool {
        if isOpen { markHead(unread) }
        guard isReadHeld, !isReadingPaused(unread: unread, isShort: isShort) else { return false }
        isReadHeld = false
        return true
    }

    /// Notes when a head began that is not whole yet.
    private mutating func markHead(_ unread: Int) {
        let isPartial = unread > 0 && answers.isEmpty && pauses.isEmpty && !isBody
        if !isPartial { headBegan = nil } else if headBegan == nil { headBegan = burstBegan }
    }

    private var isBody: Bool {
        switch front {
        case .body, .plainBody: true
        case .unjudged, .head: false
        }
    }

    // MARK: What goes

    /// The socket takes no more, or more again.
    ///
    /// - Parameter unsent: bytes that the socket has not taken.
    /// - Returns: whether to begin a burst.
    mutating func writabilityChanged(_ isWritable: Bool, unsent: @autoclosure () -> Int, at now: NIODeadline) -> Bool {
        guard isWritable else {
            pauses.insert(.unwritable)
            stalled = (now, unsent())
            return false
        }
        pauses.remove(.unwritable)
        if !isInBurst { return true }
        burst.insert(.again)
        return false
    }

    var isWritable: Bool { !pauses.contains(.unwritable) }

    // MARK: Exchanges

    /// A plain get that is answered later. Returns its number.
    ///
    /// - Parameters:
    ///   - held: bytes that it holds until then.
    ///   - closes: whether the connection ends with its answer. Nothing is under way then.
    mutating func beginGet(holding held: Int, closes: Bool) -> UInt64 {
        if case .gets(let count) = exchanges { exchanges = .gets(count + 1) } else { exchanges = .gets(1) }
        return begin(holding: held, closes: closes)
    }

    private mutating func begin(holding held: Int, closes: Bool) -> UInt64 {
        let number = answers.begin(holding: held)
        if closes { last = number }
        return number
    }

    /// A plain put that is answered later, and not made yet.
    mutating func beginPut(holding held: Int, closes: Bool) -> UInt64 {
        let number = begin(holding: held, closes: closes)
        if case .puts(let count, _) = exchanges {
            exchanges = .puts(count + 1, unmade: number)
        } else {
            exchanges = .puts(1, unmade: number)
        }
        return number
    }

    /// A plain put is made, and only has to become durable.
    ///
    /// - Returns: whether others have waited for that.
    mutating func made(_ number: UInt64) -> Bool {
        guard isOpen, case .puts(let count, unmade: number) = exchanges else { return false }
        exchanges = .puts(count, unmade: nil)
        return true
    }

    /// A plain exchange has come to its end, whatever its answer waits for.
    mutating func completed(_ number: UInt64) {
        switch exchanges {
        case .none, .alone: break
        case .gets(let count): exchanges = count > 1 ? .gets(count - 1) : .none
        case .puts(let count, let unmade):
            exchanges = count > 1 ? .puts(count - 1, unmade: unmade == number ? nil : unmade) : .none
        }
    }

    /// Any other exchange. Nothing is under way.
    ///
    /// - Parameter closes: whether the connection ends with its answer.
    mutating func beginAlone(closes: Bool, isHTTP10: Bool) -> UInt64 {
        let number = answers.begin()
        exchanges = .alone(Alone(isHTTP10: isHTTP10))
        if closes { last = number }
        return number
    }

    /// Whether the answer to the exchange that is alone is still to be given.
    func isAwaited(_ number: UInt64) -> Bool {
        if isOpen, case .alone(let alone) = exchanges { !alone.isWriting && answers.isNext(number) } else { false }
    }

    /// Its answer begins, and is written in pieces.
    ///
    /// - Returns: `false` where it is not to be given any more.
    mutating func beginAnswer(_ number: UInt64) -> Bool {
        guard isAwaited(number), case .alone(var alone) = exchanges else { return false }
        alone.isWriting = true
        exchanges = .alone(alone)
        return true
    }

    /// Whether an answer in pieces goes on.
    func isWriting(_ number: UInt64) -> Bool {
        if isOpen, case .alone(let alone) = exchanges { alone.isWriting && answers.isNext(number) } else { false }
    }

    enum Watch: Equatable {
        /// It is answered.
        case over
        case watching
        case cancelled(Cancellation)
    }

    /// Someone wants to be told if nobody waits for an answer any more: the first of `inputClosed`, `drain` and `gone` says so, once.
    mutating func watch(_ number: UInt64) -> Watch {
        if life == .closed { return .cancelled(.clientLeft) }
        guard isOpen, case .alone(var alone) = exchanges, answers.isNext(number) else { return .over }
        if isInputClosed { return .cancelled(.clientLeft) }
        if isDraining { return .cancelled(.serverStops) }
        alone.isWatched = true
        exchanges = .alone(alone)
        return .watching
    }

    private mutating func cancel(_ why: Cancellation) -> Cancellation? {
        guard case .alone(var alone) = exchanges, alone.isWatched else { return nil }
        alone.isWatched = false
        exchanges = .alone(alone)
        return why
    }

    /// What an exchange's answer says of the connection. Once that is `close`, no other exchange begins.
    mutating func closing(_ number: UInt64, unread: Int) -> AnswerFrame.Connection {
        if case .alone(let alone) = exchanges {
            if isDraining { last = number }
            return last == number ? .close : alone.isHTTP10 ? .keepAlive : .unsaid
        }
        if isDraining, unread == 0, answers.isLast(number) { last = number }
        return last == number ? .close : .unsaid
    }

    /// What the answer to a request says that is answered at once, if the connection is kept after it otherwise.
    ///
    /// - Parameter closes: whether it is the last all the same.
    func closing(closes: Bool, isHTTP10: Bool) -> AnswerFrame.Connection {
        closes || isDraining ? .close : isHTTP10 ? .keepAlive : .unsaid
    }

    /// An answer for which it is not the turn yet.
    ///
    /// - Returns: `false` for a second answer.
    mutating func settle(_ number: UInt64, _ answer: WireAnswer) -> Bool { answers.settle(number, answer) }

    /// The answer to the next exchange has its place in what goes out. Returns the answers behind it.
    mutating func endFirst() -> WireAnswer {
        if case .alone = exchanges { exchanges = .none }
        endAfter(answers.first)
        return answers.endFirst()
    }

    /// The next answers whose turn has come.
    mutating func takeReady() -> (answer: WireAnswer, behind: WireAnswer)? {
        let number = answers.first
        guard let ready = answers.takeReady() else { return nil }
        endAfter(number)
        return ready
    }

    private mutating func endAfter(_ number: UInt64) {
        if last == number { _ = endAnswers() }
    }

    /// Runs `body` with the buffer for the answer to a request that comes after exchanges and is answered at once.
    mutating func addBehind<Answer>(_ body: (inout ByteBuffer) -> Answer) -> Answer { answers.addBehind(body) }

    mutating func addBehind(_ value: OutgoingValue, at offset: Int) { answers.addBehind(value, at: offset) }

    // MARK: Ends

    /// No request is taken any more; what has been answered is still sent.
    ///
    /// - Returns: `false` where that is so already.
    mutating func endAnswers() -> Bool {
        guard isOpen else { return false }
        life = .ending(since: burstBegan)
        front = .unjudged
        pauses.remove(.room)
        return true
    }

    enum End {
        /// It goes on.
        case none
        /// Nothing more has to be answered: it is to be closed, once all is sent.
        case whenSent
        /// It is to be closed if all is sent.
        case ifSent
    }

    /// Whether the connection has nothing more to do: the other side has sent its last request, or the server is on its way out.
    func end(unread: Int) -> End {
        switch life {
        case .closed, .ending: return .none
        case .lingering: return isInputClosed ? .ifSent : .none
        case .open:
            guard answers.isEmpty, pauses.isDisjoint(with: [.room, .turn]) else { return .none }
            return isInputClosed && isWritable || isDraining && unread == 0 && !isBody ? .whenSent : .none
        }
    }

    /// All that there was to say has been sent.
    ///
    /// - Returns: what to close: the whole connection, or only what is sent.
    func lastSent() -> CloseMode { isInputClosed ? .all : .output }

    /// The other side sends no more.
    mutating func inputClosed() -> Cancellation? {
        isInputClosed = true
        return cancel(.clientLeft)
    }

    /// The connection is to end with what has begun.
    mutating func drain() -> Cancellation? {
        isDraining = true
        return cancel(.serverStops)
    }

    /// - Returns: `false` where it is closed already.
    mutating func close() -> Bool {
        if life == .closed { return false }
        life = .closed
        return true
    }

    /// The connection is no more.
    mutating func gone() -> Cancellation? {
        defer {
            exchanges = .none
            answers.removeAll()
        }
        life = .closed
        return cancel(.clientLeft)
    }

    // MARK: Deadlines

    /// When patience ends, as things stand; `nil` while the server itself is at work.
    func deadline(_ patience: Patience) -> NIODeadline? {
        switch life {
        case .closed: return nil
        case .ending(let since), .lingering(let since): return since + Self.lingering
        case .open: break
        }
        if !isWritable { return stalled.since + patience.idle }
        // Which has an end of its own.
        if pauses.contains(.room) { return nil }
        if case .body(_, let moved) = front { return moved + patience.body }
        if !answers.isEmpty { return nil }
        if case .plainBody(_, let moved) = front { return moved + patience.body }
        if let headBegan { return headBegan + patience.head }
        return lastAnswered + patience.idle
    }

    enum Timeout {
        case none
        case close
        /// It is answered that the head, or the body, has not come in time.
        case head, body
    }

    /// The timer went off.
    ///
    /// - Parameter unsent: bytes that the socket has not taken.
    mutating func timerFired(at now: NIODeadline, _ patience: Patience, unsent: @autoclosure () -> Int) -> Timeout {
        guard let due = deadline(patience), due <= now else { return .none }
        guard isOpen else { return .close }
        if !isWritable {
            // Any progress in reading what was sent earns another stretch of time.
            let left = unsent()
            guard left < stalled.bytes else { return .close }
            stalled = (now, left)
            return .none
        }
        switch front {
        case .body(let isRefused, _): return isRefused ? .close : .body
        case .plainBody: return .body
        case .unjudged, .head: break
        }
        return headBegan == nil ? .close : .head
    }
}
