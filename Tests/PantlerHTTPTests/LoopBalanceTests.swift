import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Which loop a connection goes to")
struct LoopBalanceTests {
    /// How many connections each loop has, of those that come at `cores`, one after the other.
    private func counts(_ balance: LoopBalance, _ loops: Int, _ cores: [Int?]) -> [Int] {
        var counts = Array(repeating: 0, count: loops)
        for core in cores { counts[balance.open(at: core)] += 1 }
        return counts
    }

    @Test("loops that keep to no core have equally many, wherever packets arrive", arguments: [nil, 0, 2] as [Int?])
    func anywhere(core: Int?) {
        let balance = LoopBalance(loops: 3, cores: Cores([]))
        #expect(counts(balance, 3, Array(repeating: core, count: 30)) == [10, 10, 10])
    }

    @Test("a connection goes to the loop at whose core its packets arrive")
    func near() {
        let balance = LoopBalance(loops: 2, cores: Cores([4, 6]))
        #expect(balance.open(at: 6) == 1)
        #expect(balance.open(at: 6) == 1)
        #expect(balance.open(at: 4) == 0)
        #expect(counts(balance, 2, (0..<1000).map { [4, 6][$0 % 2] }) == [500, 500])
    }

    @Test(
        "one whose core has no loop, or is not known, goes to the loop with the fewest",
        arguments: [nil, 5] as [Int?]
    )
    func elsewhere(core: Int?) {
        let balance = LoopBalance(loops: 2, cores: Cores([4, 6]))
        for _ in 0..<3 { #expect(balance.open(at: 6) == 1) }
        #expect(counts(balance, 2, Array(repeating: core, count: 5)) == [4, 1])
    }

    @Test("no loop has much more than its share, though all packets arrive at one core")
    func share() {
        let balance = LoopBalance(loops: 4, cores: Cores([0, 1, 2, 3]))
        let counts = counts(balance, 4, Array(repeating: 2, count: 1000))
        #expect(counts[2] > 250)
        #expect(counts[2] <= 1000 * 5 / 16 + 9)
        #expect(counts.allSatisfy { $0 > 200 })
    }

    @Test("what has ended makes room for others")
    func ended() {
        let balance = LoopBalance(loops: 2, cores: Cores([]))
        #expect(counts(balance, 2, Array(repeating: nil, count: 6)) == [3, 3])
        balance.close(at: 1)
        balance.close(at: 1)
        #expect(balance.open(at: nil) == 1)
        #expect(balance.open(at: nil) == 1)
    }
}
