import PantlerModel
import Synchronization
import Testing

@testable import PantlerStore

@Suite("Queue of waiters")
struct WaitQueueTests {
    private final class Waiter: LeaseWaiter {
        let name: Int
        let leaseTTL: Int64 = 1
        let waitBegan: UInt64 = 0
        let countsGet = true

        init(_ name: Int) { self.name = name }

        func wake(_: LeaseWake) {}
    }

    private func queue(_ deadlines: [Int64]) -> WaitQueue {
        var queue = WaitQueue()
        for (number, deadline) in deadlines.enumerated() {
            queue.append(UInt64(number), until: Timestamp(milliseconds: deadline), Waiter(number))
        }
        return queue
    }

    private func names(_ waiters: some Sequence<any LeaseWaiter>) -> [Int] {
        waiters.compactMap { ($0 as? Waiter)?.name }
    }

    @Test("the one who has waited longest comes first, but for those who are gone")
    func order() {
        var queue = queue([9, 9, 9, 9])
        #expect(names([queue.remove(0), queue.remove(2)].compactMap { $0 }) == [0, 2])
        #expect(queue.remove(2) == nil)
        #expect(queue.remove(7) == nil)
        #expect(queue.count == 2)
        #expect(names([queue.takeFirst()].compactMap { $0 }) == [1])
        #expect(names(queue.waiters) == [3])
        #expect(names([queue.takeFirst()].compactMap { $0 }) == [3])
        #expect(queue.takeFirst() == nil)
        #expect(queue.isEmpty)
    }

    @Test("all whose time has come are taken out, and the next moment is known")
    func due() {
        var queue = queue([5, 3, 8, 3])
        #expect(queue.nextDeadline == Timestamp(milliseconds: 3))
        #expect(queue.takeDue(Timestamp(milliseconds: 2)).isEmpty)
        #expect(names(queue.takeDue(Timestamp(milliseconds: 5))) == [0, 1, 3])
        #expect(queue.nextDeadline == Timestamp(milliseconds: 8))
        #expect(names(queue.takeDue(Timestamp(milliseconds: 8))) == [2])
        #expect(queue.nextDeadline == .never)
    }

    @Test("any order of comings and goings leaves the same as a plain list")
    func model() {
        var random = SystemRandomNumberGenerator()
        var queue = WaitQueue()
        var model: [Int] = []
        for number in 0..<20_000 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                queue.append(UInt64(number), until: .never, Waiter(number))
                model.append(number)
            case 5..<9 where !model.isEmpty:
                let name = model.remove(at: Int.random(in: model.indices, using: &random))
                #expect(names([queue.remove(UInt64(name))].compactMap { $0 }) == [name])
            default:
                #expect(names([queue.takeFirst()].compactMap { $0 }) == Array(model.prefix(1)))
                model = Array(model.dropFirst())
            }
            #expect(queue.count == model.count)
        }
        #expect(names(queue.waiters) == model)
    }
}

@Suite("Tokens of leases")
struct LeaseTokenTests {
    @Test("a token is what its text says")
    func text() {
        for _ in 0..<1000 {
            let token = LeaseToken()
            #expect(token.text.utf8.count == LeaseToken.characters)
            #expect(LeaseToken(token.text.utf8) == token)
        }
    }

    @Test("no two are alike")
    func distinct() { #expect(Set((0..<10_000).map { _ in LeaseToken() }).count == 10_000) }

    @Test(
        "other texts are no tokens",
        arguments: [
            "", "A", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAA+A", "ÄAAAAAAAAAAAAAAAAAAAA",
        ]
    )
    func others(text: String) { #expect(LeaseToken(text.utf8) == nil) }
}
