import NIOCore
import PantlerInsight
import Support
import Testing

@testable import PantlerHTTP

/// What a connection decides, by what has happened before: no sockets, no store, and time is a number.
@Suite("The state of a connection")
struct PipelineStateTests {
    /// Exchanges have the numbers 0, 1, 2… in the order in which they begin.
    enum Event {
        /// So many milliseconds after the beginning.
        case at(Int64)
        case burst(isShort: Bool = false)
        case endBurst(gathered: Int = 0)
        case get(closes: Bool = false)
        case put(closes: Bool = false)
        case alone(closes: Bool = false, isHTTP10: Bool = false)
        case made(UInt64)
        /// It has come to its end, and its answer is given.
        case answered(UInt64)
        case answeredAtOnce
        case writable(Bool)
        case roomIsAsked, roomCame
        case spent(Int)
        case turnCame
        case head
        case body(Int = 0, isRefused: Bool = false)
        case plainBody(unread: Int)
        case tookRequest
        case readHeld
        case settled(unread: Int)
        case begun(UInt64)
        case watched(UInt64)
        case endAhead, inputClosed, drain, ended, closed
    }

    /// Lives through events as `Connection` would tell them.
    static func after(_ events: [Event]) -> ConnectionState {
        var state = ConnectionState()
        var now = time(0)
        state.opened(at: now)
        for event in events {
            switch event {
            case .at(let milliseconds): now = time(milliseconds)
            case .burst(let isShort): state.beginBurst(at: now, isShort: isShort)
            case .endBurst(let gathered):
                if state.hasAnswered(state.sending(gathered: gathered)) { state.answered(at: now) }
                _ = state.endBurst()
            case .get(let closes): _ = state.beginGet(holding: 10, closes: closes)
            case .put(let closes): _ = state.beginPut(holding: 10, closes: closes)
            case .alone(let closes, let isHTTP10): _ = state.beginAlone(closes: closes, isHTTP10: isHTTP10)
            case .made(let number): _ = state.made(number)
            case .answered(let number): answer(number, &state)
            case .answeredAtOnce: _ = state.addBehind { $0.writeString("an answer") }
            case .writable(let isWritable): _ = state.writabilityChanged(isWritable, taken: 100, at: now)
            case .roomIsAsked: state.waitsForRoom()
            case .roomCame: _ = state.roomCame(at: now)
            case .spent(let steps):
                state.spend(steps)
                _ = state.yieldsTurn()
            case .turnCame: state.turnCame()
            case .head: state.foundHead()
            case .body(let bytes, let isRefused): state.bodyMoved(bytes, isRefused: isRefused)
            case .plainBody(let unread): state.awaitsPlainBody(unread: unread)
            case .tookRequest: state.tookRequest()
            case .readHeld: expect(state.mayRead(unread: 1, isShort: false), is: false)
            case .settled(let unread): _ = state.settled(unread: unread, isShort: false)
            case .begun(let number): expect(state.beginAnswer(number), is: true)
            case .watched(let number): expect(state.watch(number), is: .watching)
            case .endAhead: _ = state.endAhead()
            case .inputClosed: _ = state.inputClosed()
            case .drain: _ = state.drain()
            case .ended: _ = state.endAnswers()
            case .closed: _ = state.close()
            }
        }
        return state
    }

    private static func answer(_ number: UInt64, _ state: inout ConnectionState) {
        state.completed(number)
        _ = state.closing(number, unread: 0)
        if state.answers.isNext(number) {
            _ = state.endFirst()
        } else {
            expect(state.settle(number, WireAnswer(ByteBuffer(string: "answer"))), is: true)
        }
        while state.takeReady() != nil {}
    }

    private static func time(_ milliseconds: Int64) -> NIODeadline {
        .uptimeNanoseconds(1 << 40) + .milliseconds(milliseconds)
    }

    // MARK: What may begin

    @Test(
        "no request is taken while one is alone, a put is not made, the socket is full, room is asked for, or others have their turn",
        arguments: [
            ([], false),
            ([.get()], false),
            (Array(repeating: .get(), count: 31), false),
            (Array(repeating: .get(), count: 32), true),
            (Array(repeating: .get(), count: 32) + [.answered(7)], false),
            ([.burst(isShort: true), .get()], true),
            ([.put()], true),
            ([.put(), .made(0)], false),
            ([.put(), .made(1)], true),
            ([.put(), .made(0), .put()], true),
            ([.put(), .made(0), .put(), .made(0)], true),
            ([.put(), .made(0), .put(), .answered(0)], true),
            ([.put(), .made(0), .put(), .answered(1)], false),
            ([.put(), .answered(0)], false),
            ([.alone()], true),
            ([.alone(), .answered(0)], false),
            ([.alone(closes: true), .answered(0)], true),
            ([.writable(false)], true),
            ([.writable(false), .writable(true)], false),
            ([.get(closes: true)], true),
            ([.put(closes: true), .made(0)], true),
            ([.put(closes: true), .made(0), .answered(0)], true),
            ([.roomIsAsked], true),
            ([.roomIsAsked, .roomCame], false),
            ([.burst(), .spent(1023)], false),
            ([.burst(), .spent(1024)], true),
            ([.burst(), .spent(1024), .turnCame], false),
            ([.burst(), .spent(1024), .endBurst(), .burst()], true),
            // The answer to the last has said that it is: it waits for the one before.
            ([.get(), .get(), .drain, .answered(1)], true),
        ] as [([Event], Bool)]
    )
    func blocked(events: [Event], isBlocked: Bool) {
        #expect(Self.after(events).isBlocked(limit: 1000) == isBlocked)
    }

    @Test("no more requests wait than the limit, nor more bytes than may be gathered")
    func full() {
        #expect(!Self.after([.get(), .get(), .get()]).isBlocked(limit: 4))
        #expect(Self.after([.get(), .get(), .get(), .answeredAtOnce]).isBlocked(limit: 4))
        #expect(Self.after([.get(), .get(), .get(), .get(), .answered(2)]).isBlocked(limit: 4))
        #expect(!Self.after([.get(), .get(), .get(), .get(), .answered(0)]).isBlocked(limit: 4))
        var state = ConnectionState()
        _ = state.beginGet(holding: ConnectionState.gatheredBytes - 1, closes: false)
        #expect(!state.isBlocked(limit: 1000))
        _ = state.addBehind { $0.writeInteger(UInt8(0)) }
        #expect(state.isBlocked(limit: 1000))
    }

    @Test(
        "gets go beside gets, and puts beside puts",
        arguments: [
            ([], true, true),
            ([.get()], true, false),
            ([.get(), .answered(0)], true, true),
            ([.get(), .get(), .answered(1)], true, false),
            ([.put(), .made(0)], false, true),
            ([.put(), .made(0), .answered(0)], true, true),
        ] as [([Event], Bool, Bool)]
    )
    func kinds(events: [Event], mayGet: Bool, mayPut: Bool) {
        let state = Self.after(events)
        #expect(state.mayGet == mayGet && state.mayPut == mayPut)
    }

    // MARK: Reading

    @Test(
        "no more is read while there is enough to do",
        arguments: [
            ([], 0, false, false),
            ([], 9, true, false),
            ([.get()], 0, false, false),
            ([.get()], 9, false, true),
            ([.get()], 0, true, true),
            ([.writable(false)], 0, false, false),
            ([.writable(false)], 9, false, true),
            ([.roomIsAsked], 0, false, true),
            ([.burst(), .spent(1024)], 0, false, false),
            ([.burst(), .spent(1024)], 9, false, true),
            // What comes after the last answer is thrown away.
            ([.alone(closes: true), .answered(0)], 9, true, false),
        ] as [([Event], Int, Bool, Bool)]
    )
    func reading(events: [Event], unread: Int, isShort: Bool, isPaused: Bool) {
        var state = Self.after(events)
        #expect(state.isReadingPaused(unread: unread, isShort: isShort) == isPaused)
        expect(state.mayRead(unread: unread, isShort: isShort), is: !isPaused)
    }

    @Test("a read that was held is made up for once, when there is room for it")
    func heldRead() {
        var state = Self.after([.get(), .readHeld])
        expect(state.settled(unread: 1, isShort: false), is: false)
        Self.answer(0, &state)
        expect(state.settled(unread: 1, isShort: false), is: true)
        expect(state.settled(unread: 1, isShort: false), is: false)
        var free = ConnectionState()
        expect(free.settled(unread: 0, isShort: false), is: false)
    }

    @Test("a socket that takes more again begins a burst, or has one follow the present one")
    func writability() {
        var state = Self.after([.writable(false)])
        expect(state.writabilityChanged(true, taken: 0, at: Self.time(0)), is: true)
        state = Self.after([.burst(), .writable(false)])
        expect(state.writabilityChanged(true, taken: 0, at: Self.time(0)), is: false)
        expect(state.endBurst(), is: true)
        #expect(!Self.after([.burst(), .endBurst()]).isInBurst)
    }

    // MARK: Answers

    @Test(
        "an answer says close where it is the last, and keep-alive to who speaks HTTP/1.0",
        arguments: [
            ([.alone()], 0, 0, .unsaid),
            ([.alone(isHTTP10: true)], 0, 0, .keepAlive),
            ([.alone(closes: true)], 0, 0, .close),
            ([.alone(closes: true, isHTTP10: true)], 0, 0, .close),
            ([.alone(), .drain], 0, 9, .close),
            ([.get()], 0, 0, .unsaid),
            ([.get(), .drain], 0, 0, .close),
            ([.get(closes: true)], 0, 9, .close),
            ([.put(closes: true)], 0, 9, .close),
            ([.put(closes: true), .made(0)], 0, 9, .close),
            // Others follow it.
            ([.get(), .drain], 0, 9, .unsaid),
            ([.get(), .get(), .drain], 0, 0, .unsaid),
            ([.get(), .get(), .drain], 1, 0, .close),
            ([.get(), .answeredAtOnce, .drain], 0, 0, .unsaid),
        ] as [([Event], UInt64, Int, AnswerFrame.Connection)]
    )
    func closing(events: [Event], number: UInt64, unread: Int, says: AnswerFrame.Connection) {
        var state = Self.after(events)
        expect(state.closing(number, unread: unread), is: says)
    }

    @Test("who is answered at once is told close where that is so")
    func closingAtOnce() {
        let state = ConnectionState()
        #expect(state.closing(closes: false, isHTTP10: false) == .unsaid)
        #expect(state.closing(closes: false, isHTTP10: true) == .keepAlive)
        #expect(state.closing(closes: true, isHTTP10: true) == .close)
        #expect(Self.after([.drain]).closing(closes: false, isHTTP10: false) == .close)
    }

    @Test("an exchange that is alone is answered once, and not after the connection's end")
    func awaited() {
        #expect(Self.after([.alone()]).isAwaited(0))
        #expect(!Self.after([.alone(), .answered(0)]).isAwaited(0))
        #expect(!Self.after([.alone(), .answered(0), .alone()]).isAwaited(0))
        #expect(Self.after([.alone(), .answered(0), .alone()]).isAwaited(1))
        #expect(!Self.after([.alone(), .closed]).isAwaited(0))
        var gone = Self.after([.alone()])
        _ = gone.gone()
        #expect(!gone.isAwaited(0))
        // What a store says of them later changes nothing.
        gone = Self.after([.get(), .get()])
        _ = gone.gone()
        gone.completed(0)
        #expect(gone.exchanges == .none)
    }

    @Test("an answer in pieces begins once, and goes on until its end")
    func pieces() {
        var state = Self.after([.alone()])
        #expect(!state.isWriting(0))
        expect(state.beginAnswer(0), is: true)
        expect(state.beginAnswer(0), is: false)
        #expect(state.isWriting(0) && !state.isAwaited(0) && state.isBlocked(limit: 1000))
        Self.answer(0, &state)
        #expect(!state.isWriting(0) && !state.isBlocked(limit: 1000))
        #expect(!Self.after([.alone(), .begun(0), .closed]).isWriting(0))
        state = Self.after([.alone(), .begun(0), .drain])
        #expect(state.isWriting(0))
        _ = state.endFirst()
        #expect(state.end(unread: 0) == .whenSent)
    }

    @Test(
        "who asks for it is told once that nobody waits for an answer any more",
        arguments: [
            ([.alone(), .watched(0)], [.clientLeft, nil, nil]),
            ([.alone(), .begun(0), .watched(0)], [.clientLeft, nil, nil]),
            ([.alone()], [nil, nil, nil]),
            ([.alone(), .watched(0), .answered(0)], [nil, nil, nil]),
            ([.alone(), .watched(0), .answered(0), .alone()], [nil, nil, nil]),
            ([.get()], [nil, nil, nil]),
        ] as [([Event], [Cancellation?])]
    )
    func cancellation(events: [Event], told: [Cancellation?]) {
        var state = Self.after(events)
        expect([state.inputClosed(), state.drain(), state.gone()], is: told)
        state = Self.after(events)
        let first = told[0] == nil ? nil : Cancellation.serverStops
        expect([state.drain(), state.inputClosed(), state.gone()], is: [first, nil, nil])
        state = Self.after(events)
        expect(state.gone(), is: told[0])
        state = Self.after(events)
        expect([state.endAhead(), state.inputClosed(), state.gone()], is: told)
    }

    @Test(
        "who asks late is told at once",
        arguments: [
            ([.alone(), .endAhead], .cancelled(.clientLeft)),
            ([.alone(), .inputClosed], .cancelled(.clientLeft)),
            ([.alone(), .drain], .cancelled(.serverStops)),
            ([.alone(), .closed], .cancelled(.clientLeft)),
            ([.alone(), .answered(0)], .over),
            ([.alone(), .answered(0), .alone()], .over),
        ] as [([Event], ConnectionState.Watch)]
    )
    func lateWatch(events: [Event], says: ConnectionState.Watch) {
        var state = Self.after(events)
        expect(state.watch(0), is: says)
    }

    // MARK: Ends

    @Test(
        "a connection ends with its last answer, with the client's last request, or with the server",
        arguments: [
            ([], 0, .none),
            ([.endAhead], 0, .none),
            ([.inputClosed], 0, .whenSent),
            ([.inputClosed], 9, .whenSent),
            ([.inputClosed, .get()], 0, .none),
            ([.inputClosed, .get(), .answered(0)], 0, .whenSent),
            ([.inputClosed, .writable(false)], 0, .none),
            ([.inputClosed, .roomIsAsked], 0, .none),
            ([.inputClosed, .burst(), .spent(1024)], 9, .none),
            ([.drain], 0, .whenSent),
            ([.drain], 9, .none),
            ([.drain, .writable(false)], 0, .whenSent),
            ([.drain, .body()], 0, .none),
            ([.drain, .alone()], 0, .none),
            ([.ended, .inputClosed], 0, .none),
            ([.ended, .endBurst()], 0, .none),
            ([.ended, .endBurst(), .inputClosed], 0, .ifSent),
            ([.drain, .closed], 0, .none),
        ] as [([Event], Int, ConnectionState.End)]
    )
    func ends(events: [Event], unread: Int, end: ConnectionState.End) {
        #expect(Self.after(events).end(unread: unread) == end)
    }

    @Test("after the last answer the connection lingers, until the client has said its last too")
    func lingering() {
        var state = Self.after([.at(5), .burst(), .alone(closes: true), .answered(0)])
        #expect(state.life == .ending(since: Self.time(5)))
        expect(state.sending(gathered: 10), is: .last)
        #expect(state.life == .leaving(since: Self.time(5)))
        expect(state.sending(gathered: 0), is: .nothing)
        expect(state.lastSent(at: Self.time(70)), is: .output)
        #expect(state.life == .lingering(since: Self.time(70)))
        #expect(state.deadline(Self.patience) == Self.time(2070))
        expect(state.timerFired(at: Self.time(2070), Self.patience, taken: 0), is: .close)
        _ = state.inputClosed()
        expect(state.lastSent(at: Self.time(80)), is: .all)
        expect(state.close(), is: true)
        expect(state.close(), is: false)
        // The last of several ends it, also where it is answered first.
        state = Self.after([.put(), .made(0), .put(), .made(1), .drain, .answered(1)])
        #expect(state.isOpen)
        Self.answer(0, &state)
        #expect(state.life == .ending(since: state.burstBegan))
    }

    // MARK: Time

    private static let patience = patience(rate: 0)
    /// The same with least rates: 1,000 bytes a second, which is one a millisecond.
    private static let hurried = patience(rate: 1000)

    private static func patience(rate: Int) -> Patience {
        var limits = HTTPLimits()
        limits.headTimeout = .milliseconds(100)
        limits.bodyTimeout = .milliseconds(1000)
        limits.idleTimeout = .milliseconds(10_000)
        limits.bodyRate = rate
        limits.answerRate = rate
        return Patience(limits)
    }

    @Test(
        "patience ends by what is waited for, and what happens then",
        arguments: [
            ([], 10_000, .close),
            ([.at(50), .burst(), .endBurst()], 10_000, .close),
            ([.at(50), .burst(), .endBurst(gathered: 9)], 10_050, .close),
            ([.at(50), .burst(), .settled(unread: 9)], 150, .head),
            (
                [.at(50), .burst(), .settled(unread: 9), .at(90), .endBurst(), .burst(), .settled(unread: 20)], 150,
                .head
            ),
            ([.at(50), .burst(), .settled(unread: 9), .settled(unread: 0)], 10_000, .close),
            ([.at(50), .burst(), .body(), .settled(unread: 0)], 1050, .body),
            ([.at(50), .burst(), .body(isRefused: true)], 1050, .refusedBody),
            ([.at(50), .burst(), .body(), .endBurst(), .at(90), .burst(), .body()], 1090, .body),
            ([.at(50), .burst(), .plainBody(unread: 9), .settled(unread: 9)], 1050, .body),
            (
                [.at(50), .burst(), .plainBody(unread: 9), .endBurst(), .at(90), .burst(), .plainBody(unread: 9)], 1050,
                .body
            ),
            (
                [.at(50), .burst(), .plainBody(unread: 9), .endBurst(), .at(90), .burst(), .plainBody(unread: 10)],
                1090, .body
            ),
            ([.at(50), .burst(), .plainBody(unread: 9), .tookRequest, .settled(unread: 0)], 10_000, .close),
            ([.at(50), .burst(), .plainBody(unread: 9), .head, .settled(unread: 9)], 150, .head),
            ([.get()], nil, .none),
            ([.at(50), .burst(), .get(), .settled(unread: 9)], nil, .none),
            ([.alone()], nil, .none),
            ([.roomIsAsked], nil, .none),
            ([.body(), .roomIsAsked], nil, .none),
            ([.at(50), .get(), .writable(false)], 10_050, .answer),
            ([.at(50), .burst(), .ended], 10_050, .close),
            ([.at(50), .burst(), .ended, .endBurst()], 10_050, .close),
            ([.at(50), .burst(), .ended, .at(90), .writable(false), .endBurst()], 10_090, .answer),
            ([.closed], nil, .none),
        ] as [([Event], Int64?, ConnectionState.Timeout)]
    )
    func deadlines(events: [Event], milliseconds: Int64?, then: ConnectionState.Timeout) {
        var state = Self.after(events)
        #expect(state.deadline(Self.patience) == milliseconds.map { Self.time($0) })
        let due = milliseconds ?? 1_000_000
        expect(state.timerFired(at: Self.time(due - 1), Self.patience, taken: 100), is: .none)
        expect(state.timerFired(at: Self.time(due), Self.patience, taken: 100), is: then)
    }

    @Test("who has taken something of what was sent has another stretch of time")
    func progress() {
        var state = Self.after([.writable(false)])
        expect(state.timerFired(at: Self.time(10_000), Self.patience, taken: 101), is: .none)
        #expect(state.deadline(Self.patience) == Self.time(20_000))
        expect(state.timerFired(at: Self.time(20_000), Self.patience, taken: 101), is: .answer)
    }

    @Test("a body has to come fast enough on average, each time that its timeout is over", arguments: [false, true])
    func bodyRate(isRefused: Bool) {
        let slow = isRefused ? ConnectionState.Timeout.refusedBody : .body
        func body(_ bytes: Int, at milliseconds: Int64) -> [Event] {
            [.at(milliseconds), .burst(), .body(bytes, isRefused: isRefused), .endBurst()]
        }
        let begun = body(0, at: 50)
        for (events, then) in [
            (body(999, at: 1049), slow), (body(1000, at: 1049), .none), (body(500, at: 60) + body(500, at: 70), .none),
            // What comes late is not more than what it is.
            (body(998, at: 60) + body(1, at: 1049), slow),
            // A pause of the server's counts for neither side.
            (body(1, at: 60) + [.roomIsAsked, .at(700), .roomCame], .none),
            (body(1, at: 60) + [.writable(false), .at(700), .writable(true)], .none),
        ] as [([Event], ConnectionState.Timeout)] {
            var state = Self.after(begun + events)
            expect(state.timerFired(at: Self.time(1049), Self.hurried, taken: 0), is: .none)
            expect(state.timerFired(at: Self.time(1050), Self.hurried, taken: 0), is: then)
        }
        // Each stretch by itself: what came before it is no help.
        var state = Self.after(begun + body(1 << 20, at: 900))
        expect(state.timerFired(at: Self.time(1050), Self.hurried, taken: 0), is: .none)
        #expect(state.deadline(Self.hurried) == Self.time(1900))
        expect(state.timerFired(at: Self.time(1900), Self.hurried, taken: 0), is: slow)
        state = Self.after(begun + body(1 << 20, at: 1049))
        expect(state.timerFired(at: Self.time(1050), Self.hurried, taken: 0), is: .none)
        state.beginBurst(at: Self.time(2000), isShort: false)
        state.bodyMoved(999, isRefused: isRefused)
        #expect(state.deadline(Self.hurried) == Self.time(2050))
        expect(state.timerFired(at: Self.time(2050), Self.hurried, taken: 0), is: slow)
    }

    @Test("so is the body of a plain put")
    func plainBodyRate() {
        func body(_ unread: Int, at milliseconds: Int64) -> [Event] {
            [.at(milliseconds), .burst(), .plainBody(unread: unread), .endBurst()]
        }
        let begun = body(10, at: 50)
        for (unread, then) in [(999, ConnectionState.Timeout.body), (1000, .none)] {
            var state = Self.after(begun + body(unread, at: 1049))
            expect(state.timerFired(at: Self.time(1050), Self.hurried, taken: 0), is: then)
        }
        // The next one has its own time.
        var state = Self.after(begun + [.tookRequest] + body(10, at: 900))
        #expect(state.deadline(Self.hurried) == Self.time(1900))
        expect(state.timerFired(at: Self.time(1900), Self.hurried, taken: 0), is: .body)
    }

    @Test("who takes its answers has to do so fast enough on average, as long as its socket is full")
    func answerRate() {
        var state = Self.after([.writable(false)])
        expect(state.timerFired(at: Self.time(9999), Self.hurried, taken: 0), is: .none)
        expect(state.timerFired(at: Self.time(10_000), Self.hurried, taken: 100 + 10_000), is: .none)
        #expect(state.deadline(Self.hurried) == Self.time(20_000))
        expect(state.timerFired(at: Self.time(20_000), Self.hurried, taken: 100 + 19_999), is: .answer)
        // A kernel that takes a piece now and then makes nobody faster.
        state = Self.after([.writable(false), .at(9000), .writable(true), .at(9999), .writable(false)])
        expect(state.timerFired(at: Self.time(10_000), Self.hurried, taken: 5000), is: .answer)
        // Whoever had taken all of it for a while begins anew.
        state = Self.after([.writable(false), .at(9000), .writable(true), .at(10_000), .writable(false)])
        #expect(state.deadline(Self.hurried) == Self.time(20_000))
        expect(state.timerFired(at: Self.time(10_000), Self.hurried, taken: 5000), is: .none)
        // Nobody is slow who waits for the server.
        #expect(Self.after([.alone(), .watched(0)]).deadline(Self.hurried) == nil)
        #expect(Self.after([.alone(), .begun(0)]).deadline(Self.hurried) == nil)
    }

    // MARK: All together

    @Test("whatever happens in whatever order, all that has begun is answered in its order, and then nothing is left")
    func random() {
        var generator = SeededGenerator()
        for _ in 0..<300 {
            var state = ConnectionState()
            var open: [UInt64] = []
            var begun: UInt64 = 0
            for _ in 0..<60 {
                if !state.isInBurst { state.beginBurst(at: Self.time(0), isShort: generator.next() % 8 == 0) }
                let isFree = !state.isBlocked(limit: 20)
                switch generator.next() % 8 {
                case 0 where isFree && state.mayGet: open.append(state.beginGet(holding: 1, closes: false))
                case 1 where isFree && state.mayPut: open.append(state.beginPut(holding: 1, closes: false))
                case 2 where isFree && state.answers.isEmpty:
                    open.append(state.beginAlone(closes: false, isHTTP10: false))
                case 3: if let number = open.last { _ = state.made(number) }
                case 4, 5:
                    if open.isEmpty { continue }
                    Self.answer(open.remove(at: Int(generator.next() % UInt64(open.count))), &state)
                case 6 where isFree && !state.answers.isEmpty: _ = state.addBehind { $0.writeInteger(UInt8(0)) }
                default: _ = state.endBurst()
                }
                #expect(state.answers.isEmpty == (state.exchanges == .none), "\(generator)")
                #expect(state.answers.isEmpty == open.isEmpty, "\(generator)")
                begun = max(begun, open.last.map { $0 + 1 } ?? 0)
            }
            while !open.isEmpty { Self.answer(open.removeFirst(), &state) }
            #expect(state.exchanges == .none && state.answers.first == begun, "\(generator)")
            #expect(state.answers.count == 0 && state.answers.heldBytes == 0, "\(generator)")
        }
    }
}

/// What a call that changes its value says.
private func expect<Answer: Equatable>(
    _ answer: Answer,
    is wanted: Answer,
    at place: SourceLocation = #_sourceLocation
) {
    #expect(answer == wanted, sourceLocation: place)
}
