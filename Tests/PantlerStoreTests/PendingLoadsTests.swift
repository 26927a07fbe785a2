import PantlerModel
import Testing

@testable import PantlerStore

struct PendingLoadsTests {
    private func address(_ key: String, hash: UInt64 = 1, namespace: NamespaceID = 1) -> EntryAddress {
        EntryAddress(namespace: namespace, key: Array(key.utf8), hash: hash)
    }

    private let waiter: LoadWaiter = { _, _ in nil }

    @Test("the first who asks reads, the others wait for it, and when it has ended someone reads again")
    func joining() {
        var loads = PendingLoads()
        #expect(loads.join(address("a"), fillsMemory: false, waiter) == .first)
        #expect(loads.join(address("a"), fillsMemory: false, waiter) == .joined)
        #expect(loads.join(address("b", hash: 2), fillsMemory: false, waiter) == .first)
        #expect(loads.waiters(1).count == 2)
        #expect(loads.waiters(2).count == 1)
        loads.end(1)
        #expect(loads.waiters(1).isEmpty && !loads.isEmpty)
        #expect(loads.join(address("a"), fillsMemory: false, waiter) == .first)
        loads.end(1)
        loads.end(2)
        #expect(loads.isEmpty)
    }

    @Test("keys of one hash do not share a read")
    func collision() {
        var loads = PendingLoads()
        #expect(loads.join(address("a"), fillsMemory: false, waiter) == .first)
        #expect(loads.join(address("b"), fillsMemory: false, waiter) == .collision)
        #expect(loads.waiters(1).count == 1)
    }

    @Test("a write makes the read that is under way outdated, and no other")
    func invalidation() {
        var loads = PendingLoads()
        #expect(loads.isOutdated(1), "what nobody waits for says nothing")
        _ = loads.join(address("a"), fillsMemory: false, waiter)
        _ = loads.join(address("b", hash: 2), fillsMemory: false, waiter)
        loads.invalidate(1)
        loads.invalidate(3)
        #expect(loads.isOutdated(1) && !loads.isOutdated(2))
        loads.end(1)
        _ = loads.join(address("a"), fillsMemory: false, waiter)
        #expect(!loads.isOutdated(1))
    }

    @Test(
        "memory is filled if one of those who wait wants it",
        arguments: [[false, false], [true, false], [false, true]]
    )
    func filling(wishes: [Bool]) {
        var loads = PendingLoads()
        for wish in wishes { _ = loads.join(address("a"), fillsMemory: wish, waiter) }
        #expect(loads.fillsMemory(1) == wishes.contains(true))
        #expect(!loads.fillsMemory(2))
    }

    @Test("a bulk load knows which keys were written since it began")
    func bulkLoad() {
        var loads = PendingLoads()
        #expect(loads.wasChangedDuringBulkLoad(address("a", hash: 1)), "before it began nothing is known")
        loads.invalidate(1)
        loads.beginBulkLoad()
        loads.invalidate(2)
        #expect(!loads.wasChangedDuringBulkLoad(address("a", hash: 1)))
        #expect(loads.wasChangedDuringBulkLoad(address("a", hash: 2)))
        loads.endBulkLoad()
        #expect(loads.wasChangedDuringBulkLoad(address("a", hash: 1)))
    }

    @Test(
        "a bulk load knows which prefixes were invalidated since it began, and believes nothing once these are too many"
    )
    func bulkLoadPrefixes() {
        var loads = PendingLoads()
        loads.invalidate(1, prefix: [])
        loads.beginBulkLoad()
        loads.invalidate(1, prefix: Array("ab".utf8))
        loads.invalidate(2, prefix: [])
        #expect(loads.wasChangedDuringBulkLoad(address("abc", hash: 1)))
        #expect(loads.wasChangedDuringBulkLoad(address("x", hash: 1, namespace: 2)))
        #expect(!loads.wasChangedDuringBulkLoad(address("a", hash: 1)))
        #expect(!loads.wasChangedDuringBulkLoad(address("abc", hash: 1, namespace: 3)))
        for number in 0..<100 { loads.invalidate(4, prefix: Array("\(number)".utf8)) }
        #expect(loads.wasChangedDuringBulkLoad(address("a", hash: 1)))
    }
}
