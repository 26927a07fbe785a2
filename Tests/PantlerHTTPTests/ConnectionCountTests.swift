import PantlerSockets
import Support
import Testing

@testable import PantlerHTTP

@Suite("The count of connections")
struct ConnectionCountTests {
    private func count(connections: Int = 1000, perPeer: Int) -> ConnectionCount {
        let count = ConnectionCount()
        var limits = HTTPLimits()
        limits.connections = connections
        limits.connectionsPerPeer = perPeer
        count.setLimits(limits)
        return count
    }

    private func peer(_ number: UInt8, port: UInt16 = 1) -> PeerAddress {
        PeerAddress(ipv4: (192, 0, 2, number), port: port)
    }

    @Test("a peer has so many connections at once, from whatever ports, and others have theirs")
    func perPeer() {
        let count = count(perPeer: 2)
        #expect(count.admit(peer(1, port: 1)) == .admitted)
        #expect(count.admit(peer(1, port: 2)) == .admitted)
        #expect(count.admit(peer(1, port: 3)) == .refused(.peer))
        #expect(count.admit(peer(2)) == .admitted)
        count.release(peer(1, port: 2))
        #expect(count.admit(peer(1, port: 4)) == .admitted)
        #expect(count.admit(peer(1, port: 5)) == .refused(.peer))
        #expect(count.refused(.peer) == 2 && count.refused(.limit) == 0)
    }

    @Test("nothing is kept of a peer that has left")
    func noTrace() {
        let count = count(perPeer: 2)
        for number: UInt8 in 0..<200 {
            #expect(count.admit(peer(number)) == .admitted)
            #expect(count.admit(peer(number)) == .admitted)
        }
        #expect(count.peers == 200)
        for number: UInt8 in 0..<200 { for _ in 0..<2 { count.release(peer(number)) } }
        #expect(count.peers == 0)
    }

    @Test("who is on this machine is not counted, and 0 is no bound")
    func uncounted() {
        let strict = count(perPeer: 1)
        for _ in 0..<3 {
            #expect(strict.admit(.local) == .admitted)
            #expect(strict.admit(PeerAddress(ipv4: (127, 0, 0, 1), port: 9)) == .admitted)
        }
        #expect(strict.peers == 0)
        let lax = count(perPeer: 0)
        for _ in 0..<3 { #expect(lax.admit(peer(1)) == .admitted) }
    }

    @Test("a bound that was lowered ends no connection, and holds from the next one on")
    func lowered() {
        let count = count(perPeer: 3)
        for _ in 0..<3 { #expect(count.admit(peer(1)) == .admitted) }
        var limits = HTTPLimits()
        limits.connectionsPerPeer = 1
        count.setLimits(limits)
        #expect(count.admit(peer(1)) == .refused(.peer))
        for _ in 0..<2 { count.release(peer(1)) }
        #expect(count.admit(peer(1)) == .refused(.peer))
        count.release(peer(1))
        #expect(count.admit(peer(1)) == .admitted)
    }

    @Test("of all together some more than the bound are let in, to be told so, and then none")
    func all() {
        let count = count(connections: 10, perPeer: 0)
        for _ in 0..<10 + ConnectionCount.refusedAtOnce { #expect(count.admit(.local) == .admitted) }
        #expect(count.admit(.local) == .refused(.limit))
        #expect(count.admit(peer(1)) == .refused(.limit))
        #expect(count.peers == 0)
        count.release(.local)
        #expect(count.admit(peer(1)) == .admitted)
        #expect(count.refused(.limit) == 2)
    }

    @Test("from many threads at once each peer has what it may have")
    func threads() throws {
        let count = count(perPeer: 3)
        let most = Shared(0)
        _ = try onThreads(4) { thread in
            for turn in 0..<2000 {
                let peer = PeerAddress(ipv4: (192, 0, 2, UInt8(turn % 3)), port: UInt16(thread))
                guard count.admit(peer) == .admitted else { continue }
                most.value = max(most.value, count.peers)
                count.release(peer)
            }
        }
        #expect(most.value <= 3)
        #expect(count.peers == 0)
    }
}
