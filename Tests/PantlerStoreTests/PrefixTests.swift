import Dispatch
import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerStore

/// Many invalidations by prefix at a time, and what does not wait behind them.
@Suite("Invalidations by prefix")
struct PrefixTests {
    @Test("a set of prefixes finds the first order that concerns a key, as trying them one by one would")
    func prefixSet() {
        var generator = SeededGenerator()
        func text(_ length: ClosedRange<Int>) -> [UInt8] {
            let bytes: [UInt8] = [0, 97, 98, 255]
            return (0..<Int.random(in: length, using: &generator)).map { _ in
                bytes[Int.random(in: 0..<4, using: &generator)]
            }
        }
        var found = 0
        for _ in 0..<300 {
            let orders = (0..<Int.random(in: 0...12, using: &generator)).map { number in
                (number: number * 2, prefix: text(0...4), before: Version.random(in: 1...6, using: &generator))
            }
            let set = PrefixSet(orders)
            for _ in 0..<60 {
                let key = text(1...6)
                let version = Version.random(in: 0...6, using: &generator)
                let expected = orders.first { key.starts(with: $0.prefix) && version < $0.before }?.number
                #expect(
                    key.withUnsafeBytes { set.first($0, version) } == expected,
                    "\(orders) \(key) \(version) \(generator)"
                )
                if expected != nil { found += 1 }
            }
            #expect(Set(set.distinct.flatMap(\.numbers)) == Set(orders.map(\.number)))
            for prefix in orders.map(\.prefix) {
                #expect(set.uncovered.count { prefix.starts(with: $0) } == 1, "\(orders)")
            }
        }
        #expect(found > 1000)
    }

    @Test("what is asked for while a walk is under way is done by one more walk, all together")
    func sharedWalk() {
        let queue = PrefixQueue()
        func order(_ prefix: String) -> PrefixOrder {
            PrefixOrder(prefix: Array(prefix.utf8), before: 1, mode: .gone) { _ in }
        }
        guard case .first = queue.add(order("a"), to: 1) else {
            Issue.record("the first begins")
            return
        }
        #expect(queue.next(1).map(\.prefix) == [Array("a".utf8)])
        for number in 0..<100 {
            guard case .waits = queue.add(order("b\(number)"), to: 1) else {
                Issue.record("\(number) waits")
                return
            }
        }
        guard case .first = queue.add(order("c"), to: 2) else {
            Issue.record("another namespace")
            return
        }
        #expect(queue.next(1).count == 100)
        #expect(queue.next(1).isEmpty)
        #expect(queue.open == 102)
        guard case .first = queue.add(order("d"), to: 1) else {
            Issue.record("a walk begins anew")
            return
        }
    }

    @Test("more than a thousand under way are refused, with when to try again, and change nothing")
    func bounded() throws {
        let driver = try StoreDriver(tier: nil)
        let ns = try driver.namespace { $0.durability = .memory }
        try driver.put(ns, "k1")
        let (open, gate) = (DispatchSemaphore(value: 0), Shared(false))
        driver.store.invalidations.walks.async {
            gate.value = true
            open.wait()
        }
        try eventually("nothing is walked for now") { gate.value }
        let answers = (0..<PrefixQueue.limit).map { _ in Answer<Invalidated>() }
        for answer in answers { driver.store.invalidate(ns, .prefix([107]), mode: .gone, completion: answer.give) }
        let refused = Answer<Invalidated>()
        driver.store.invalidate(ns, .prefix([107]), mode: .gone, completion: refused.give)
        let problem = #expect(throws: Problem.self) { _ = try refused.get() }
        #expect(problem?.code == .overloaded)
        open.signal()
        #expect(try answers.map { try $0.get().count ?? 0 }.reduce(0, +) == 1, "each entry counts for one of them")
        #expect(try driver.get(ns, "k1") == "invalidated")
        #expect(driver.store.invalidations.prefixes.open == 0)
        try driver.put(ns, "k1")
        #expect(try driver.invalidate(ns, .prefix([107])).count == 1)
    }

    @Test("a listing waits behind none of what walks over everything", arguments: [Durability.memory, .behind])
    func listing(durability: Durability) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = durability }
        try driver.put(ns, "a")
        let open = DispatchSemaphore(value: 0)
        let busy = Shared(0)
        let pools = [driver.store.invalidations.walks, driver.store.housekeeping.sweeps, driver.store.background]
        for pool in pools {
            pool.async {
                busy.update { $0 += 1 }
                open.wait()
            }
        }
        try eventually("all are busy") { busy.value == pools.count }
        let prefix = Answer<Invalidated>()
        driver.store.invalidate(ns, .prefix([122]), mode: .gone, completion: prefix.give)
        #expect(try driver.list(ns).rows.map(\.entry.key) == [[97]])
        #expect(!prefix.isThere)
        for _ in pools { open.signal() }
        #expect(try prefix.get().count == 0)
    }

    @Test(
        "prefixes within and beside each other end what each names, from before it was asked for",
        arguments: [Durability.memory, .behind],
        [InvalidationMode.gone, .stale]
    )
    func merged(durability: Durability, mode: InvalidationMode) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace {
            $0.durability = durability
            $0.staleTTL = 60_000
        }
        for key in ["a", "ab1", "ab2", "ac", "b", "c"] { try driver.put(ns, key) }
        let (open, gate) = (DispatchSemaphore(value: 0), Shared(false))
        driver.store.invalidations.walks.async {
            gate.value = true
            open.wait()
        }
        try eventually("nothing is walked for now") { gate.value }
        let prefixes = ["ab", "a", "ab", "b", "zz"]
        let answers = prefixes.map { _ in Answer<Invalidated>() }
        for (prefix, answer) in zip(prefixes, answers) {
            driver.store.invalidate(ns, .prefix(Array(prefix.utf8)), mode: mode, completion: answer.give)
        }
        // Written after all of them: it stays.
        try driver.put(ns, "ac", "2")
        open.signal()
        #expect(try answers.map { try $0.get().count } == [2, 1, 0, 1, 0])
        let ended = mode == .gone ? "invalidated" : "1 stale"
        for key in ["a", "ab1", "ab2", "b"] { #expect(try driver.get(ns, key) == ended, "\(key)") }
        #expect(try driver.get(ns, "ac") == "2 memory")
        #expect(try driver.get(ns, "c") == "1 memory")
    }
}
