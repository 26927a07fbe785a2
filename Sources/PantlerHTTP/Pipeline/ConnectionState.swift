import NIOCore

/// Why nobody waits for an answer any more.
enum Cancellation: Equatable, Sendable {
    /// The client's connection is gone, or the client sends no more. The two look the same, although the client may still be there to read
    /// an answer.
    case clientLeft
    case serverStops
    /// The token that the call was made by is gone.
    case tokenEnded
}

/// The state of a connection, as a value: it takes events and answers with actions. It has no channel, no clock and no store: `Connection`
/// tells it what happens and carries out what it answers, so that any order of events can be a test.
///
/// It knows how far the connection's life has come (`life`), what stands at the front of the input (`front`), why no request is taken from
/// there (`pauses`, `exchanges`, `last`), in what order answers go out (`answers`), and how much time is allowed (`deadline`). Bytes are
/// only counted here, except for answers that wait for their turn, which are kept here.
///
/// An *exchange* is a request that is not answered at once. Plain gets may be under way beside plain gets, and plain puts beside puts that
/// are made and wait to be durable; no plain get begins beside a put, and no put beside a get. Any other exchange begins only when none is
/// under way, and is alone until it is answered. So no request overtakes a write.
struct ConnectionState {
    enum Life: Equatable {
        case open
        /// The last answer is given, and gathered to be sent.
        case ending(since: NIODeadline)
        /// The last answer is handed to the socket, which may take its time with a large one.
        case leaving(since: NIODeadline)
        /// The socket has all of the last answer. What still comes is thrown away, so that the client gets to read the answer: closing at
        /// once, with bytes that nobody has read, would reset the connection, and the client would lose the answer (RFC 9112, section 9.6).
        case lingering(since: NIODeadline)
        case closed
    }

    /// How the bytes of a body come.
    struct Pace: Equatable {
        /// Since when they are counted, and how many have come since then.
        var since: NIODeadline
        var bytes = 0
        /// When the last of them came.
        var moved: NIODeadline

        init(since now: NIODeadline, bytes: Int = 0) {
            since = now
            moved = now
            self.bytes = bytes
        }

        mutating func count(_ bytes: Int, at now: NIODeadline) {
            self.bytes += bytes
            moved = now
        }

        /// When it is to be looked at.
        func deadline(_ patience: Patience) -> NIODeadline {
            (patience.bodyRate > 0 ? min(since, moved) : moved) + patience.body
        }

        /// What is counted from now on.
        func again(from now: NIODeadline) -> Pace {
            var next = Pace(since: now)
            next.moved = moved
            return next
        }

        /// Whether no byte has come for too long, or too few have.
        func isSlow(at now: NIODeadline, _ patience: Patience) -> Bool {
            moved + patience.body <= now || bytes < Patience.least(patience.bodyRate, from: since, to: now)
        }
    }

    enum Front: Equatable {
        /// Nothing, or a request that may be one for the fast lane.
        case unjudged
        /// A request that the fast lane does not take. So many of its bytes were searched and hold no end of its head.
        case head(searched: Int)
        /// A plain put whose head is whole and whose body is not. So many bytes in all stand at the front.
        case plainBody(unread: Int, Pace)
        /// The body of a request. That of a refused request is passed over.
        case body(isRefused: Bool, Pace)
    }

    /// Why no request is taken, whatever is under way.
    struct Pauses: OptionSet {
        let rawValue: UInt8

        /// Other connections of the loop have their turn.
        static let turn = Pauses(rawValue: 1)
        /// The socket takes no more.
        static let unwritable = Pauses(rawValue: 2)
        /// What stands at the front waits for room among the bytes in flight, or for the time at which it is refused.
        static let room = Pauses(rawValue: 4)
    }

    enum Exchanges: Equatable {
        case none
        /// Plain gets whose reads of the lower tier are under way.
        case gets(Int)
        /// Plain puts that are not durable yet, and the number of the one that is not made yet. Nothing begins before that is made.
        case puts(Int, unmade: UInt64?)
        /// One exchange that is alone.
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
        /// Another burst is to follow, because the socket takes more again: requests may have waited for that.
        static let again = Burst(rawValue: 4)
    }

    private(set) var life = Life.open
    /// Whether the other side has said that it sends no more, and all that it has sent is read.
    private(set) var isInputClosed = false
    /// Whether the other side has said that it sends no more.
    private(set) var isEndAhead = false
    /// Whether the connection ends with what has begun.
    private(set) var isDraining = false
    private(set) var front = Front.unjudged
    private(set) var pauses: Pauses = []
    /// Whether a read waits until there is room for more.
    private var isReadHeld = false
    private(set) var exchanges = Exchanges.none
    /// The number of the exchange whose answer is the connection's last.
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
    /// Since when it is counted what the other side takes of its answers, and how many bytes it had taken in all then.
    private var taking = (since: NIODeadline.uptimeNanoseconds(0), bytes: 0)
    /// When the socket last took more again.
    private var freed = NIODeadline.uptimeNanoseconds(0)

    /// Steps of a burst. Fewer would hardly shorten the wait of the loop's other connections, and more would only lengthen it.
    static let burstSteps = 1024
    /// Reads of the lower tier at a time: each can bring a large value.
    static let parallelLoads = 32
    /// Bytes of answers that are gathered, or wait behind others, before no more requests are read.
    static let gatheredBytes = 64 << 10
    /// `gatheredBytes` while room among the bytes in flight is short.
    private static let scantGatheredBytes = 4 << 10
    /// How long bytes are thrown away after the last answer.
    private static let lingering = TimeAmount.seconds(2)
    /// A socket that is full again so soon has been full all the time, as far as the client's pace is concerned: of one that is slow the
    /// kernel takes a piece now and then.
    private static let respite = TimeAmount.seconds(1)

    var isOpen: Bool { if case .open = life { true } else { false } }
    var isInBurst: Bool { burst.contains(.present) }

    mutating func opened(at now: NIODeadline) { lastAnswered = now }

    // MARK: Bursts

    /// Begins a burst. None may be under way.
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
        /// What is gathered is sent.
        case gathered
        /// What is gathered is sent, and nothing after it: see `lastSent`.
        case last
    }

    /// What is to be sent at the end of the present burst, of which `gathered` bytes are not sent yet.
    mutating func sending(gathered: Int) -> Sending {
        if case .ending(let since) = life {
            life = .leaving(since: since)
            return .last
        }
        return gathered > 0 ? .gathered : .nothing
    }

    /// Notes that answers have been sent before the burst's end.
    mutating func sent() { burst.insert(.hasSent) }

    /// Whether any of the present burst's requests was answered.
    func hasAnswered(_ sending: Sending) -> Bool { sending != .nothing || burst.contains(.hasSent) }

    /// Notes that a burst has answered something and ends now.
    mutating func answered(at now: NIODeadline) { lastAnswered = now }

    /// Ends the burst.
    ///
    /// - Returns: whether another burst is to follow.
    mutating func endBurst() -> Bool {
        defer { burst = [] }
        return burst.contains(.again)
    }

    /// Counts steps that were taken.
    mutating func spend(_ steps: Int) { self.steps -= steps }

    /// - Returns: whether other connections of the loop are to have their turn. `turnCame` has to be called after that.
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

    /// Notes that a request was taken: the next head has all its time.
    mutating func tookRequest() {
        headBegan = nil
        if case .plainBody = front { front = .unjudged }
    }

    /// Notes that a plain put at the front waits for the rest of its body. No exchange may be under way.
    mutating func awaitsPlainBody(unread: Int) {
        guard case .plainBody(let before, var pace) = front else {
            front = .plainBody(unread: unread, Pace(since: burstBegan, bytes: unread))
            return
        }
        if unread == before { return }
        pace.count(unread - before, at: burstBegan)
        front = .plainBody(unread: unread, pace)
    }

    /// Whether what stands at the front may be a plain request.
    var mayBePlain: Bool {
        switch front {
        case .unjudged, .plainBody: true
        case .head, .body: false
        }
    }

    /// Notes that what stands at the front of the input is not a plain request.
    mutating func foundHead(searched: Int = 0) { front = .head(searched: searched) }

    /// Notes that the head at the front has been taken.
    mutating func tookHead() { front = .unjudged }

    /// Notes that a body is to come, or that so many of its bytes have been taken.
    mutating func bodyMoved(_ bytes: Int, isRefused: Bool) {
        if case .body(_, var pace) = front {
            pace.count(bytes, at: burstBegan)
            front = .body(isRefused: isRefused, pace)
        } else {
            front = .body(isRefused: isRefused, Pace(since: burstBegan, bytes: bytes))
        }
    }

    /// Counts a body's bytes anew, because they could not be taken before, whether they came or not.
    private mutating func restartPace(at now: NIODeadline) {
        switch front {
        case .body(let isRefused, _): front = .body(isRefused: isRefused, Pace(since: now))
        case .plainBody(let unread, _): front = .plainBody(unread: unread, Pace(since: now))
        case .unjudged, .head: break
        }
    }

    /// Notes that the body has ended.
    mutating func tookBody() { front = .unjudged }

    /// Notes that what stands at the front waits for room.
    mutating func waitsForRoom() { pauses.insert(.room) }

    /// Notes that a wait for room is over.
    ///
    /// - Returns: whether anything waited.
    mutating func roomCame(at now: NIODeadline) -> Bool {
        guard isOpen else { return false }
        restartPace(at: now)
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

    /// Notes that a read is asked for.
    ///
    /// - Returns: whether to pass it on; if not, `settled` tells when it is time.
    mutating func mayRead(unread: Int, isShort: Bool) -> Bool {
        isReadHeld = isReadingPaused(unread: unread, isShort: isShort)
        return !isReadHeld
    }

    /// Notes that all bytes that had come were dealt with, as far as they can be now.
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

    /// Whether all that was read and not dealt with is the beginning of a head.
    var hasPartialHead: Bool { headBegan != nil }

    private var isBody: Bool {
        switch front {
        case .body, .plainBody: true
        case .unjudged, .head: false
        }
    }

    // MARK: What goes

    /// Notes that the socket takes no more, or more again.
    ///
    /// - Parameter taken: bytes that the other side has taken since some moment, always the same.
    /// - Returns: whether to begin a burst.
    mutating func writabilityChanged(_ isWritable: Bool, taken: @autoclosure () -> Int, at now: NIODeadline) -> Bool {
        guard isWritable else {
            pauses.insert(.unwritable)
            if now - freed >= Self.respite { taking = (now, taken()) }
            return false
        }
        pauses.remove(.unwritable)
        freed = now
        restartPace(at: now)
        if !isInBurst { return true }
        burst.insert(.again)
        return false
    }

    var isWritable: Bool { !pauses.contains(.unwritable) }

    // MARK: Exchanges

    /// Begins a plain get that is answered later. Returns its number.
    ///
    /// - Parameters:
    ///   - held: bytes that the get holds until it is answered.
    ///   - closes: whether the connection ends with its answer. No other exchange may be under way then.
    mutating func beginGet(holding held: Int, closes: Bool) -> UInt64 {
        if case .gets(let count) = exchanges { exchanges = .gets(count + 1) } else { exchanges = .gets(1) }
        return begin(holding: held, closes: closes)
    }

    private mutating func begin(holding held: Int, closes: Bool) -> UInt64 {
        let number = answers.begin(holding: held)
        if closes { last = number }
        return number
    }

    /// Begins a plain put that is answered later, and is not made yet. Returns its number.
    mutating func beginPut(holding held: Int, closes: Bool) -> UInt64 {
        let number = begin(holding: held, closes: closes)
        if case .puts(let count, _) = exchanges {
            exchanges = .puts(count + 1, unmade: number)
        } else {
            exchanges = .puts(1, unmade: number)
        }
        return number
    }

    /// Notes that a plain put is made, and only has to become durable.
    ///
    /// - Returns: whether others have waited for that.
    mutating func made(_ number: UInt64) -> Bool {
        guard isOpen, case .puts(let count, unmade: number) = exchanges else { return false }
        exchanges = .puts(count, unmade: nil)
        return true
    }

    /// Notes that a plain get or put is done, even if its answer still waits for its turn.
    mutating func completed(_ number: UInt64) {
        switch exchanges {
        case .none, .alone: break
        case .gets(let count): exchanges = count > 1 ? .gets(count - 1) : .none
        case .puts(let count, let unmade):
            exchanges = count > 1 ? .puts(count - 1, unmade: unmade == number ? nil : unmade) : .none
        }
    }

    /// Begins any other exchange. No exchange may be under way. Returns its number.
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

    /// Notes that the answer to the exchange that is alone begins, and is written in pieces.
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
        /// The exchange is answered.
        case over
        case watching
        case cancelled(Cancellation)
    }

    /// Asks to be told if nobody waits for an answer any more. The first of `endAhead`, `inputClosed`, `drain` and `gone` tells that, once.
    mutating func watch(_ number: UInt64) -> Watch {
        if life == .closed { return .cancelled(.clientLeft) }
        guard isOpen, case .alone(var alone) = exchanges, answers.isNext(number) else { return .over }
        if isEndAhead { return .cancelled(.clientLeft) }
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

    /// What the answer to a request that is answered at once says of the connection.
    ///
    /// - Parameter closes: whether the connection ends with this answer.
    func closing(closes: Bool, isHTTP10: Bool) -> AnswerFrame.Connection {
        closes || isDraining ? .close : isHTTP10 ? .keepAlive : .unsaid
    }

    /// Takes an answer whose turn has not come yet.
    ///
    /// - Returns: `false` for a second answer.
    mutating func settle(_ number: UInt64, _ answer: WireAnswer) -> Bool { answers.settle(number, answer) }

    /// Ends the next exchange, whose answer is written into what goes out. Returns the answers behind it.
    mutating func endFirst() -> WireAnswer {
        if case .alone = exchanges { exchanges = .none }
        endAfter(answers.first)
        return answers.endFirst()
    }

    /// Takes the next answer if its turn has come, and the answers behind it.
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

    /// Takes no request any more; what has been answered is still sent.
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
        /// The connection goes on.
        case none
        /// Nothing more has to be answered: the connection is to be closed once all is sent.
        case whenSent
        /// The connection is to be closed if all is sent.
        case ifSent
    }

    /// Whether the connection has nothing more to do: the other side has sent its last request, or the server is on its way out.
    func end(unread: Int) -> End {
        switch life {
        case .closed, .ending: return .none
        case .leaving, .lingering: return isInputClosed ? .ifSent : .none
        case .open:
            guard answers.isEmpty, pauses.isDisjoint(with: [.room, .turn]) else { return .none }
            return isInputClosed && isWritable || isDraining && unread == 0 && !isBody ? .whenSent : .none
        }
    }

    /// Tells what to do once all that there was to say has been sent.
    ///
    /// - Returns: what to close: both directions, or only the outgoing one.
    mutating func lastSent(at now: NIODeadline) -> CloseMode {
        if case .leaving = life { life = .lingering(since: now) }
        return isInputClosed ? .all : .output
    }

    /// Notes that the other side sends no more, though not all that it has sent is read.
    mutating func endAhead() -> Cancellation? {
        isEndAhead = true
        return cancel(.clientLeft)
    }

    /// Notes that the other side sends no more.
    mutating func inputClosed() -> Cancellation? {
        isInputClosed = true
        return endAhead()
    }

    /// Notes that the connection is to end with what has begun.
    mutating func drain() -> Cancellation? {
        isDraining = true
        return cancel(.serverStops)
    }

    /// Closes the connection.
    ///
    /// - Returns: `false` where it is closed already.
    mutating func close() -> Bool {
        if life == .closed { return false }
        life = .closed
        return true
    }

    /// Notes that the token is gone by which the exchange was begun that is alone.
    mutating func tokenEnded() -> Cancellation? { cancel(.tokenEnded) }

    /// Notes that the connection is gone.
    mutating func gone() -> Cancellation? {
        defer {
            exchanges = .none
            answers.removeAll()
        }
        life = .closed
        return cancel(.clientLeft)
    }

    // MARK: Deadlines

    /// When the time that is allowed ends, as things stand; `nil` while the server itself is at work.
    func deadline(_ patience: Patience) -> NIODeadline? {
        switch life {
        case .closed: return nil
        case .lingering(let since): return since + Self.lingering
        case .ending(let since), .leaving(let since): return (isWritable ? since : taking.since) + patience.idle
        case .open: break
        }
        if !isWritable { return taking.since + patience.idle }
        // A wait for room has an end of its own.
        if pauses.contains(.room) { return nil }
        if case .body(_, let pace) = front { return pace.deadline(patience) }
        if !answers.isEmpty { return nil }
        if case .plainBody(_, let pace) = front { return pace.deadline(patience) }
        if let headBegan { return headBegan + patience.head }
        return lastAnswered + patience.idle
    }

    enum Timeout {
        case none
        case close
        /// The client is told that the head, or the body, has not come in time.
        case head, body
        /// The connection is closed, since the body of a request that is refused has not come in time, or the client does not take its answers.
        case refusedBody, answer
    }

    /// Decides what is to be done when the timer goes off.
    ///
    /// - Parameter taken: bytes that the other side has taken, as for `writabilityChanged`.
    mutating func timerFired(at now: NIODeadline, _ patience: Patience, taken: @autoclosure () -> Int) -> Timeout {
        guard let due = deadline(patience), due <= now else { return .none }
        if case .lingering = life { return .close }
        if !isWritable {
            // If the client has taken enough of what was sent, it gets another stretch of time.
            let total = taken()
            let least = max(1, Patience.least(patience.answerRate, from: taking.since, to: now))
            guard total - taking.bytes >= least else { return .answer }
            taking = (now, total)
            return .none
        }
        guard isOpen else { return .close }
        switch front {
        case .body(let isRefused, let pace):
            if pace.isSlow(at: now, patience) { return isRefused ? .refusedBody : .body }
            front = .body(isRefused: isRefused, pace.again(from: now))
        case .plainBody(let unread, let pace):
            if pace.isSlow(at: now, patience) { return .body }
            front = .plainBody(unread: unread, pace.again(from: now))
        case .unjudged, .head: return headBegan == nil ? .close : .head
        }
        // A body that comes fast enough gets another stretch of time.
        return .none
    }
}
