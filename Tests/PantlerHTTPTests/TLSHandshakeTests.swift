import NIOCore
import NIOEmbedded
import Support
import Testing

@testable import PantlerHTTP
@testable import PantlerSockets

@Suite("A handshake, and those beside it")
struct TLSHandshakeTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func handshake() -> HandshakeState { HandshakeState(deadline: start + .seconds(10)) }

    /// One whose first message has had its turn.
    private func answered() -> HandshakeState {
        var state = handshake()
        _ = state.cameHello(.whole, at: start)
        _ = state.placeCame()
        _ = state.turnCame(at: start)
        return state
    }

    @Test("goes by a place and a turn, and reads nothing while it waits for either")
    func way() {
        var state = handshake()
        #expect(state.reads)
        #expect(state.cameHello(.incomplete, at: start) == .waits)
        #expect(!state.hasPlace)
        #expect(state.cameHello(.whole, at: start) == .asks)
        #expect(!state.reads)
        #expect(state.turnCame(at: start) == false)
        #expect(state.placeCame() == true)
        #expect(state.hasPlace && !state.reads)
        #expect(state.placeCame() == false)
        #expect(state.turnCame(at: start) == true)
        #expect(state.reads)
        #expect(state.came() == true)
        #expect(state.came() == false)
        #expect(!state.reads)
        #expect(state.turnCame(at: start) == true)
        #expect(state.completed() == true)
        #expect(state.isDone && state.reads && !state.hasPlace)
        #expect(state.due(at: start) == nil)
        #expect(state.end() == .none)
    }

    @Test("that is dismissed lingers for two seconds, and has no place to give back")
    func dismissed() {
        var state = handshake()
        #expect(state.cameHello(.plainHTTP, at: start) == .dismisses(.plainHTTP))
        #expect(state.reads)
        #expect(state.due(at: start) == start + .seconds(2))
        #expect(!state.isLate(at: start + .milliseconds(1999), isCrowded: true))
        #expect(state.isLate(at: start + .seconds(2), isCrowded: false))
        #expect(state.end() == .none)
    }

    @Test("that ends early says what it held")
    func endings() {
        var state = handshake()
        #expect(state.end() == .failed(hadPlace: false, wasQueued: false))
        #expect(state.end() == .none)
        state = handshake()
        _ = state.cameHello(.whole, at: start)
        #expect(state.end() == .failed(hadPlace: false, wasQueued: true))
        #expect(state.placeCame() == false)
        state = answered()
        #expect(state.end() == .failed(hadPlace: true, wasQueued: false))
        #expect(state.completed() == false)
    }

    @Test("has until its deadline, and a second for its answer where others wait")
    func time() {
        let state = answered()
        #expect(state.due(at: start) == start + .seconds(1))
        #expect(!state.isLate(at: start + .milliseconds(999), isCrowded: true))
        #expect(state.due(at: start + .seconds(3)) == start + .milliseconds(3100))
        #expect(state.isLate(at: start + .seconds(1), isCrowded: true))
        #expect(!state.isLate(at: start + .seconds(1), isCrowded: false))
        #expect(!state.isLate(at: start + .milliseconds(9999), isCrowded: false))
        #expect(state.isLate(at: start + .seconds(10), isCrowded: false))
        #expect(handshake().isLate(at: start + .seconds(10), isCrowded: false))
        #expect(!handshake().isLate(at: start + .seconds(5), isCrowded: true))
    }

    @Test("places are given in the order in which they were asked for, and so many as there may be")
    func places() {
        let handshakes = Handshakes(limit: 2)
        let given = Shared<[Int]>([])
        func ask(_ number: Int) -> Handshakes.Begin {
            handshakes.begin(peer(number)) { given.update { $0.append(number) } }
        }
        #expect(ask(1) == .begins)
        #expect(ask(2) == .begins)
        #expect(!handshakes.isCrowded)
        #expect(ask(3) == .waits(1))
        #expect(ask(4) == .waits(2))
        #expect(ask(5) == .waits(3))
        #expect(handshakes.isCrowded)
        #expect(handshakes.leave(2, peer(4)))
        #expect(!handshakes.leave(2, peer(4)))
        handshakes.giveBack(peer(1))
        handshakes.giveBack(peer(1))
        #expect(given.value == [3, 5])
        #expect(!handshakes.leave(1, peer(3)))
        #expect(handshakes.underWay == 2)
        handshakes.giveBack(peer(1))
        handshakes.giveBack(peer(1))
        #expect(handshakes.underWay == 0)
        #expect(ask(6) == .begins)
    }

    private func peer(_ number: Int) -> PeerAddress {
        PeerAddress(ipv4: (10, 0, 0, UInt8(number)), port: 0)
    }

    @Test("no peer has more than a quarter of what there is, and what it gives back is there for it again")
    func share() {
        let handshakes = Handshakes(limit: 8)
        // 8 places and 32 that wait.
        for number in 1...10 { #expect(handshakes.begin(peer(1)) {} != .refused, "\(number)") }
        #expect(handshakes.begin(peer(1)) {} == .refused)
        #expect(handshakes.begin(peer(2)) {} == .waits(3))
        handshakes.giveBack(peer(1))
        #expect(handshakes.begin(peer(1)) {} != .refused)
        #expect(handshakes.leave(2, peer(1)))
        #expect(handshakes.begin(peer(1)) {} != .refused)
        #expect(handshakes.begin(peer(1)) {} == .refused)
    }

    @Test("too many that wait are refused; a higher limit lets those begin that wait")
    func refusal() {
        let handshakes = Handshakes(limit: 1)
        let given = Shared(0)
        func ask() -> Handshakes.Begin { handshakes.begin(peer(1)) { given.update { $0 += 1 } } }
        #expect(ask() == .begins)
        for number in 1...4 { #expect(ask() == .waits(UInt64(number))) }
        #expect(ask() == .refused)
        #expect(handshakes.waiting == 4)
        handshakes.setLimit(3)
        #expect(given.value == 2)
        #expect(handshakes.underWay == 3)
        handshakes.setLimit(1)
        handshakes.giveBack(peer(1))
        handshakes.giveBack(peer(1))
        #expect(given.value == 2)
        #expect(handshakes.underWay == 1)
        handshakes.giveBack(peer(1))
        #expect(given.value == 3)
        #expect(handshakes.underWay == 1)
    }

    private final class Step: HandshakeStep {
        let isOver: Bool
        let taken: () -> Void

        init(isOver: Bool = false, _ taken: @escaping () -> Void) {
            self.isOver = isOver
            self.taken = taken
        }

        func takeStep() -> Bool {
            if !isOver { taken() }
            return !isOver
        }
    }

    @Test(
        "one step is taken at a time, and what else waits for the loop goes between; those that are over cost no turn"
    )
    func turns() {
        let loop = EmbeddedEventLoop()
        let turns = HandshakeTurns(loop)
        var order: [String] = []
        // Other work is handed over again and again, as by a busy loop.
        func beBusy(_ left: Int) {
            order.append("other")
            if left > 1 { loop.assumeIsolated().execute { beBusy(left - 1) } }
        }
        for number in 1...2 { turns.add(Step { order.append("step \(number)") }) }
        for _ in 0..<3 { turns.add(Step(isOver: true) { order.append("over") }) }
        turns.add(Step { order.append("step 3") })
        loop.assumeIsolated().execute { beBusy(3) }
        loop.run()
        #expect(order == ["step 1", "other", "step 2", "other", "step 3", "other"])
    }
}
