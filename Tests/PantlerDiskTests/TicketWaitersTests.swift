import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Those who wait for changes")
struct TicketWaitersTests {
    /// Adds a waiter for each ticket, and says which of them completions belong to, by their places among `tickets`.
    private final class Order: Sendable {
        let called = Shared<[Int]>([])

        func waiters(_ tickets: [WriteTicket]) -> TicketWaiters {
            var waiters = TicketWaiters()
            for (place, ticket) in tickets.enumerated() {
                waiters.add(ticket) { [called] _ in called.update { $0.append(place) } }
            }
            return waiters
        }

        func call(_ completions: [TicketWaiters.Completion]) -> [Int] {
            called.value = []
            for completion in completions { completion(nil) }
            return called.value
        }
    }

    @Test("they are taken in the order of tickets, and of one ticket as they came, however they were added")
    func order() {
        let order = Order()
        var waiters = order.waiters([3, 1, 5, 3, 2, 9])
        for ticket in 0...10 as ClosedRange<WriteTicket> {
            #expect(waiters.contains(ticket) == [1, 2, 3, 5, 9].contains(ticket), "\(ticket)")
        }
        let taken = waiters.take(upTo: 4)
        #expect(taken.map { $0.ticket } == [1, 2, 3, 3])
        #expect(order.call(taken.map { $0.completion }) == [1, 4, 0, 3])
        #expect(!waiters.contains(3) && waiters.contains(5))
        #expect(waiters.take(upTo: 4).isEmpty)
        #expect(waiters.take(upTo: .max).map { $0.ticket } == [5, 9])
        #expect(waiters.isEmpty)
    }

    @Test("those of one ticket alone can be taken")
    func one() {
        let order = Order()
        var waiters = order.waiters([2, 1, 2, 3])
        #expect(order.call(waiters.take(2)) == [0, 2])
        #expect(waiters.take(2).isEmpty)
        #expect(waiters.take(upTo: .max).map { $0.ticket } == [1, 3])
    }
}
