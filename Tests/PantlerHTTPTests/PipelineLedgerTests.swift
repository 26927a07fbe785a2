import NIOCore
import Support
import Testing

@testable import PantlerHTTP

/// The budget in made-up time. What is granted and refused is told as the ledger tells it.
@Suite("The budget of bytes in flight")
struct PipelineLedgerTests {
    private typealias Ledger = FlightLedger

    private static func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    private static func granted(_ id: Ledger.ClaimID) -> Ledger.Decision { Ledger.Decision(claim: id, isGranted: true) }
    private static func refused(_ id: Ledger.ClaimID) -> Ledger.Decision {
        Ledger.Decision(claim: id, isGranted: false)
    }

    /// Of 1,600 KiB, of which those who wait may have 1,500.
    private static func ledger() -> Ledger { Ledger(limit: 1600 << 10) }
    private static let kib = 1 << 10

    @Test("grants what fits, has the rest wait in order, and serves them as room is given back")
    func order() {
        var ledger = Self.ledger()
        let ids = (0..<4).map { _ in ledger.open() }
        let (first, second, third, fourth) = (ids[0], ids[1], ids[2], ids[3])
        let isFirst = ledger.ask(first, 1000 * Self.kib, at: Self.at(0))
        let isSecond = ledger.ask(second, 600 * Self.kib, at: Self.at(1))
        // It would fit, but others came before.
        let isThird = ledger.ask(third, 100 * Self.kib, at: Self.at(2))
        let isFourth = ledger.ask(fourth, 1500 * Self.kib, at: Self.at(3))
        #expect([isFirst, isSecond, isThird, isFourth] == [true, false, false, false])
        #expect(ledger.isShort && ledger.waiting == 3 && ledger.held == 1000 * Self.kib)
        #expect(ledger.close(first) == [Self.granted(second), Self.granted(third)])
        #expect(ledger.held == 700 * Self.kib)
        #expect(ledger.close(second) == [])
        #expect(ledger.close(third) == [Self.granted(fourth)])
        #expect(ledger.close(fourth) == [])
        #expect(ledger.held == 0 && !ledger.isShort && ledger.refusals == 0)
    }

    @Test("refuses after five seconds, and no sooner")
    func patience() {
        var ledger = Self.ledger()
        let (first, second) = (ledger.open(), ledger.open())
        _ = ledger.ask(first, 1500 * Self.kib, at: Self.at(0))
        let isGranted = ledger.ask(second, 1, at: Self.at(1000))
        #expect(!isGranted)
        #expect(ledger.tick(at: Self.at(5999)) == [])
        #expect(ledger.tick(at: Self.at(6000)) == [Self.refused(second)])
        #expect(ledger.waiting == 0 && ledger.refusals == 1 && ledger.held == 1500 * Self.kib)
        #expect(ledger.tick(at: Self.at(20_000)) == [])
    }

    @Test("a wait ends with its claim, and those behind it come up")
    func goneWhileWaiting() {
        var ledger = Self.ledger()
        let (first, second, third) = (ledger.open(), ledger.open(), ledger.open())
        _ = ledger.ask(first, 1400 * Self.kib, at: Self.at(0))
        _ = ledger.ask(second, 1400 * Self.kib, at: Self.at(0))
        _ = ledger.ask(third, 50 * Self.kib, at: Self.at(0))
        #expect(ledger.close(second) == [Self.granted(third)])
        #expect(ledger.waiting == 0)
    }

    @Test("who is alone gets more than there is")
    func alone() {
        var ledger = Self.ledger()
        let (first, second) = (ledger.open(), ledger.open())
        let isGranted = ledger.ask(first, 9000 * Self.kib, at: Self.at(0))
        #expect(isGranted && ledger.isShort)
        let isSecond = ledger.ask(second, 1, at: Self.at(0))
        #expect(!isSecond)
        #expect(ledger.close(first) == [Self.granted(second)])
    }

    @Test("a body is promised what it will need, and takes it without asking again")
    func promise() {
        var ledger = Self.ledger()
        let id = ledger.open()
        let isGranted = ledger.promise(id, 16 * Self.kib, rest: 700 * Self.kib, at: Self.at(0))
        #expect(isGranted && ledger.held == 716 * Self.kib)
        for _ in 0..<179 {
            let isTaken = ledger.take(id, 4 * Self.kib, rest: 0, at: Self.at(0))
            #expect(isTaken)
        }
        #expect(ledger.held == 716 * Self.kib)
    }

    @Test("promises are called back from those who do not send, for one who waits")
    func recall() {
        var ledger = Self.ledger()
        let (slow, quick, other) = (ledger.open(), ledger.open(), ledger.open())
        _ = ledger.promise(slow, 700 * Self.kib, rest: 0, at: Self.at(0))
        _ = ledger.promise(quick, 700 * Self.kib, rest: 0, at: Self.at(0))
        _ = ledger.take(slow, 10 * Self.kib, rest: 690 * Self.kib, at: Self.at(0))
        _ = ledger.take(quick, 10 * Self.kib, rest: 690 * Self.kib, at: Self.at(0))
        _ = ledger.take(quick, 100 * Self.kib, rest: 590 * Self.kib, at: Self.at(900))
        // A little now and then is no progress.
        _ = ledger.take(slow, 1, rest: 690 * Self.kib - 1, at: Self.at(900))
        let isGranted = ledger.promise(other, 700 * Self.kib, rest: 0, at: Self.at(900))
        #expect(!isGranted)
        #expect(ledger.tick(at: Self.at(1001)) == [Self.granted(other)])
        #expect(ledger.held == 1400 * Self.kib + 10 * Self.kib + 1)
        // It goes on with what is free, and waits where there is none.
        let goesOn = ledger.take(slow, 80 * Self.kib, rest: 0, at: Self.at(1001))
        let goesOnFurther = ledger.take(slow, 80 * Self.kib, rest: 0, at: Self.at(1001))
        #expect(goesOn && !goesOnFurther)
    }

    @Test("bodies that have begun go on before others begin")
    func begunFirst() {
        var ledger = Self.ledger()
        let (answer, body, fresh) = (ledger.open(), ledger.open(), ledger.open())
        _ = ledger.take(body, 200 * Self.kib, rest: 0, at: Self.at(0))
        _ = ledger.ask(answer, 1300 * Self.kib, at: Self.at(0))
        let isFresh = ledger.ask(fresh, 10 * Self.kib, at: Self.at(1))
        let isBody = ledger.take(body, 10 * Self.kib, rest: 0, at: Self.at(2))
        #expect(!isFresh && !isBody)
        #expect(ledger.close(answer) == [Self.granted(body), Self.granted(fresh)])
    }

    @Test(
        "of bodies that have begun the eldest goes on first, and may pass those that wait: they end one after the other"
    )
    func eldestFirst() {
        var ledger = Self.ledger()
        let ids = (0..<3).map { _ in ledger.open() }
        let answer = ledger.open()
        for id in ids { _ = ledger.take(id, 200 * Self.kib, rest: 0, at: Self.at(0)) }
        _ = ledger.ask(answer, 880 * Self.kib, at: Self.at(0))
        let youngest = ledger.take(ids[2], 100 * Self.kib, rest: 0, at: Self.at(1))
        let middle = ledger.take(ids[1], 100 * Self.kib, rest: 0, at: Self.at(2))
        // There is room for so much, and who would come before has been there for less time.
        let eldest = ledger.take(ids[0], 10 * Self.kib, rest: 0, at: Self.at(3))
        #expect(!youngest && !middle && eldest)
        let eldestLater = ledger.take(ids[0], 100 * Self.kib, rest: 0, at: Self.at(4))
        #expect(!eldestLater)
        #expect(ledger.close(answer) == [ids[0], ids[1], ids[2]].map(Self.granted))
        #expect(ledger.waiting == 0)
    }

    @Test("a body that has waited for too long is refused, also behind an older one that has not")
    func patienceOfBodies() {
        var ledger = Self.ledger()
        let (older, younger, answer) = (ledger.open(), ledger.open(), ledger.open())
        for id in [older, younger] { _ = ledger.take(id, 100 * Self.kib, rest: 0, at: Self.at(0)) }
        _ = ledger.ask(answer, 1300 * Self.kib, at: Self.at(0))
        _ = ledger.take(younger, 10 * Self.kib, rest: 0, at: Self.at(0))
        _ = ledger.take(older, 10 * Self.kib, rest: 0, at: Self.at(3000))
        #expect(ledger.tick(at: Self.at(5000)) == [Self.refused(younger)])
        #expect(ledger.tick(at: Self.at(8000)) == [Self.refused(older)])
        #expect(ledger.waiting == 0 && ledger.refusals == 2)
    }

    @Test("bodies that wait for each other freeze no more than half of it: the youngest is refused at once")
    func frozen() {
        var ledger = Self.ledger()
        let ids = (0..<3).map { _ in ledger.open() }
        for id in ids { _ = ledger.take(id, 500 * Self.kib, rest: 0, at: Self.at(0)) }
        let first = ledger.take(ids[0], 100 * Self.kib, rest: 0, at: Self.at(1))
        #expect(!first && ledger.thaw() == [])
        let second = ledger.take(ids[1], 100 * Self.kib, rest: 0, at: Self.at(1))
        #expect(!second && ledger.thaw() == [Self.refused(ids[1])])
        #expect(ledger.close(ids[1]) == [Self.granted(ids[0])])
    }

    @Test("a value that several hold counts once")
    func shared() {
        final class Value {}
        let value = ObjectIdentifier(Value.self)
        var ledger = Self.ledger()
        for _ in 0..<3 { ledger.hold(value, 1000 * Self.kib) }
        #expect(ledger.held == 1000 * Self.kib && ledger.isHeld(value) && ledger.isTight && !ledger.isShort)
        let id = ledger.open()
        let isGranted = ledger.ask(id, 600 * Self.kib, at: Self.at(0))
        #expect(!isGranted)
        #expect(ledger.release(value) == [] && ledger.release(value) == [])
        #expect(ledger.release(value) == [Self.granted(id)])
        #expect(ledger.release(value) == [])
        #expect(ledger.held == 600 * Self.kib && !ledger.isHeld(value) && !ledger.isTight)
    }

    @Test("what is made already may have what is kept back from those who wait; what is there counts whatever it is")
    func made() {
        var ledger = Self.ledger()
        let (first, second, third) = (ledger.open(), ledger.open(), ledger.open())
        _ = ledger.ask(first, 1500 * Self.kib, at: Self.at(0))
        let fits = ledger.tryAsk(second, 100 * Self.kib)
        let fitsMore = ledger.tryAsk(third, 1)
        #expect(fits && !fitsMore)
        ledger.force(third, 50 * Self.kib)
        #expect(ledger.held == 1650 * Self.kib)
    }

    @Test("whatever happens, all is given back in the end, and nobody waits for ever")
    func random() {
        var generator = SeededGenerator()
        for _ in 0..<200 { run(&generator) }
    }

    private func run(_ generator: inout SeededGenerator) {
        var ledger = Ledger(limit: Int(1 + generator.next() % 4) << 20)
        var open: [Ledger.ClaimID: Int64?] = [:]
        var now: Int64 = 0
        func note(_ decisions: [Ledger.Decision]) {
            for decision in decisions {
                #expect(open[decision.claim] != nil, "\(generator)")
                open[decision.claim] = .some(nil)
            }
        }
        for _ in 0..<200 {
            now += Int64(generator.next() % 300)
            let bytes = Int(generator.next() % (600 << 10)) + 1
            switch generator.next() % 6 {
            case 0, 1:
                let id = ledger.open()
                let isGranted =
                    generator.next() % 2 == 0
                    ? ledger.ask(id, bytes, at: Self.at(now))
                    : ledger.promise(id, bytes, rest: bytes, at: Self.at(now))
                open[id] = .some(isGranted ? nil : now)
            case 2, 3:
                guard let id = open.filter({ $0.value == nil }).keys.min() else { continue }
                if !ledger.take(id, bytes / 4, rest: bytes, at: Self.at(now)) {
                    open[id] = .some(now)
                    note(ledger.thaw())
                }
            case 4:
                guard let id = open.keys.sorted().dropFirst(Int(generator.next() % 3)).first else { continue }
                open[id] = nil
                note(ledger.close(id))
            default: note(ledger.tick(at: Self.at(now)))
            }
            #expect(ledger.held >= 0 && ledger.waiting == open.count { $0.value != nil }, "\(generator)")
        }
        note(ledger.tick(at: Self.at(now + 5000)))
        #expect(ledger.waiting == 0, "\(generator)")
        for id in open.keys { _ = ledger.close(id) }
        #expect(ledger.held == 0 && ledger.waiting == 0, "\(generator)")
    }
}
