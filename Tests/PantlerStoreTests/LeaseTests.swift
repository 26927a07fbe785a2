import PantlerInsight
import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerStore

/// Leases as the store's callers see them.
@Suite("Leases")
struct LeaseTests {
    enum Home: String, CaseIterable {
        case memory, disk

        var durability: Durability { self == .memory ? .memory : .behind }
    }

    // MARK: One load

    @Test(
        "of many who ask for a key one is given the lease, the others wait for its fill, and that is one miss",
        arguments: Home.allCases
    )
    func oneLoad(home: Home) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = home.durability }
        let first = driver.ask(ns, "a")
        #expect(first.said == "given absent")
        let others = (0..<100).map { _ in driver.ask(ns, "a", wait: 5000) }
        #expect(others.allSatisfy { $0.said == nil })
        #expect(driver.store.leaseWaiters == 100)
        driver.clock.advance(byMilliseconds: 500)
        try driver.fill(ns, "a", "1", first)
        for other in others { #expect(try other.answer() == "1 memory") }
        #expect(driver.store.leaseWaiters == 0)
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.misses == 1)
        #expect(tally.hits == 100)
        #expect(tally.leasesGiven == 1)
        #expect(tally.leasesFilled == 1)
        #expect(tally.leasesRunning == 0)
        #expect(tally.loadMicroseconds == 500_000)
        #expect(tally.waits == 100)
        #expect(tally.waitMicroseconds == 100 * 500_000)
        #expect(driver.store.statistics(ns).figures.savedSeconds == 50)
    }

    @Test("while nobody has waited long enough a caller is told that the key is being filled, and when to ask again")
    func refused() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        _ = driver.ask(ns, "a", ttl: 4000)
        #expect(driver.ask(ns, "a").said == "filling 4000")
        let waiter = driver.ask(ns, "a", wait: 1000)
        driver.clock.advance(byMilliseconds: 999)
        driver.store.tick()
        #expect(waiter.said == nil)
        driver.clock.advance(byMilliseconds: 1)
        driver.store.tick()
        #expect(waiter.said == "filling 3000")
        #expect(driver.store.statistics(ns).figures.tally.leasesRefused == 2)
        #expect(driver.store.statistics(ns).figures.tally.misses == 3)
    }

    @Test("who waits does not read the lower tier")
    func oneRead() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        _ = driver.ask(ns, "a")
        for _ in 0..<10 { _ = driver.ask(ns, "a", wait: 1000) }
        #expect(driver.tier?.reads == 1)
    }

    @Test("what the lower tier has is a hit, and its fault a miss that a lease is given for")
    func lower() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        driver.tier?.plant(
            driver.address(ns, "a"),
            Entry(value: Array("1".utf8), kind: .json, version: 1, expiresAt: .never)
        )
        #expect(driver.ask(ns, "a").said == "1 disk")
        #expect(driver.ask(ns, "a").said == "1 memory")
        driver.tier?.fail(with: TierFault(.unavailable, "away"))
        #expect(driver.ask(ns, "b").said == "given absent")
    }

    // MARK: No stale fill

    /// What makes a load out of date.
    enum Change: String, CaseIterable {
        case put, delete, touch, count, key, tag, prefix, all, staleKey, staleTag, stalePrefix, staleAll

        func make(_ driver: StoreDriver, _ ns: Namespace) throws {
            switch self {
            case .put: try driver.put(ns, "abc", "9")
            case .delete: #expect(throws: Problem.self) { try driver.delete(ns, "abc") }
            case .touch:
                try driver.put(ns, "abc", "9")
                _ = try driver.patch(ns, "abc", Patch(lifetime: .milliseconds(1000)))
            case .count: _ = try driver.count(ns, "abc", CounterAdd(initial: 0))
            case .key: try driver.invalidate(ns, .keys([driver.address(ns, "abc")]))
            case .tag: try driver.invalidate(ns, .tags(["t"]))
            case .prefix: try driver.invalidate(ns, .prefix(Array("ab".utf8)))
            case .all: try driver.invalidate(ns, .all)
            case .staleKey: try driver.invalidate(ns, .keys([driver.address(ns, "abc")]), .stale)
            case .staleTag: try driver.invalidate(ns, .tags(["t"]), .stale)
            case .stalePrefix: try driver.invalidate(ns, .prefix(Array("ab".utf8)), .stale)
            case .staleAll: try driver.invalidate(ns, .all, .stale)
            }
        }
    }

    @Test(
        "a fill is refused once the key was written, deleted or invalidated, and changes nothing",
        arguments: Change.allCases,
        Home.allCases
    )
    func lost(change: Change, home: Home) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = home.durability }
        let lease = driver.ask(ns, "abc")
        try change.make(driver, ns)
        let before = try driver.get(ns, "abc", counts: false)
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "abc", "1", lease, tags: ["t"]) }
        #expect(try driver.get(ns, "abc", counts: false) == before)
        #expect(driver.store.statistics(ns).figures.tally.leasesLost == 1)
        #expect(throws: Problem.leaseLost) { try driver.release(ns, "abc", lease) }
        if before != "9 memory", before != "1 memory" {
            #expect(driver.ask(ns, "abc").said?.hasPrefix("given") == true)
        }
    }

    @Test("a lease that was given after the change fills", arguments: Change.allCases)
    func kept(change: Change) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try change.make(driver, ns)
        _ = try? driver.delete(ns, "abc")
        let lease = driver.ask(ns, "abc")
        try driver.fill(ns, "abc", "1", lease, tags: ["t"])
        #expect(try driver.get(ns, "abc") == "1 memory")
    }

    @Test("what does not concern the key or the fill's tags leaves the lease alone")
    func unconcerned() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let lease = driver.ask(ns, "abc")
        try driver.put(ns, "abd", "9")
        try driver.invalidate(ns, .tags(["u"]))
        try driver.invalidate(ns, .prefix(Array("abd".utf8)))
        let other = try driver.namespace("other")
        try driver.invalidate(other, .all)
        try driver.put(other, "abc", "9")
        try driver.fill(ns, "abc", "1", lease, tags: ["t"])
        #expect(try driver.get(ns, "abc") == "1 memory")
    }

    @Test("a mark that a fill has still to be judged by is not forgotten")
    func forgetting() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let lease = driver.ask(ns, "a", ttl: 300_000)
        try driver.invalidate(ns, .tags(["t"]))
        try driver.sweep(ns)
        #expect(ns.marks.tagCount == 1)
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "a", "1", lease, tags: ["t"]) }
        try driver.sweep(ns)
        #expect(ns.marks.tagCount == 0)
    }

    @Test("a prefix's fence holds before its walk has come to the lease")
    func fence() throws {
        let marks = Marks(Watermark())
        var version: Version = 7
        let begun = marks.begin(prefix: Array("ab".utf8), hides: false) {
            version += 1
            return version
        }
        #expect(begun == 8)
        #expect(marks.fences(Array("abc".utf8), [], since: 7))
        #expect(!marks.fences(Array("abc".utf8), [], since: 8))
        #expect(!marks.fences(Array("b".utf8), [], since: 7))
        marks.endFence(prefix: Array("ab".utf8), before: 8)
        #expect(!marks.fences(Array("abc".utf8), [], since: 7))
    }

    @Test("a plain put writes as ever, and those who wait have what it wrote")
    func plainPut() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let lease = driver.ask(ns, "a")
        let waiter = driver.ask(ns, "a", wait: 1000)
        try driver.put(ns, "a", "9")
        #expect(try waiter.answer() == "9 memory")
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "a", "1", lease) }
    }

    @Test("a refusal for another reason leaves the lease")
    func otherRefusal() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.maxValueSize = 10 }
        let lease = driver.ask(ns, "a")
        #expect(throws: Problem.self) { try driver.fill(ns, "a", "12345678901", lease) }
        #expect(throws: Problem.versionMismatch(found: nil)) {
            try driver.fill(ns, "a", "1", lease, condition: Condition(ifMatch: EntityTags(any: true)))
        }
        try driver.fill(ns, "a", "1", lease)
    }

    @Test("a token is good for its own key alone")
    func otherKey() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let a = driver.ask(ns, "a")
        let b = driver.ask(ns, "b")
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "b", "1", a) }
        try driver.fill(ns, "a", "1", a)
        try driver.fill(ns, "b", "1", b)
    }

    @Test("nothing of a lease is left after a restart")
    func restart() throws {
        var driver = try StoreDriver()
        let lease = driver.ask(try driver.namespace(), "a")
        driver = try driver.restarted()
        let ns = try #require(driver.store.namespace("ns"))
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "a", "1", lease) }
        #expect(driver.ask(ns, "a").said == "given absent")
    }

    // MARK: Ends

    @Test(
        "a lease that runs out goes to the next in the queue, who has its own time, and the first holder's fill is refused"
    )
    func expiry() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let first = driver.ask(ns, "a", ttl: 1000)
        let second = driver.ask(ns, "a", ttl: 3000, wait: 20_000)
        let third = driver.ask(ns, "a", wait: 20_000)
        driver.clock.advance(byMilliseconds: 1000)
        driver.store.tick()
        #expect(try second.answer() == "given absent")
        #expect(third.said == nil)
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "a", "1", first) }
        driver.clock.advance(byMilliseconds: 2999)
        try driver.fill(ns, "a", "2", second)
        #expect(try third.answer() == "2 memory")
        #expect(driver.store.statistics(ns).figures.tally.leasesExpired == 1)
    }

    @Test("a lease that nobody waits for runs out by itself, and is counted")
    func unattended() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        _ = driver.ask(ns, "a", ttl: 1000)
        driver.clock.advance(byMilliseconds: 1000)
        for _ in 0..<10 { driver.store.tick() }
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.leasesExpired == 1)
        #expect(tally.leasesRunning == 0)
    }

    @Test("a lease is prolonged from now on")
    func prolonged() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let lease = driver.ask(ns, "a", ttl: 1000)
        driver.clock.advance(byMilliseconds: 900)
        _ = try driver.store.prolong(ns, driver.address(ns, "a"), try #require(lease.token), ttl: 1000)
        driver.clock.advance(byMilliseconds: 900)
        #expect(driver.ask(ns, "a").said == "filling 100")
        try driver.fill(ns, "a", "1", lease)
    }

    @Test("who gives up passes the lease on; a delete does so too")
    func released() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let first = driver.ask(ns, "a")
        let second = driver.ask(ns, "a", wait: 1000)
        let third = driver.ask(ns, "a", wait: 1000)
        try driver.release(ns, "a", first)
        #expect(try second.answer() == "given absent")
        #expect(throws: Problem.notFound(.absent)) { try driver.delete(ns, "a") }
        #expect(try third.answer() == "given absent")
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "a", "1", second) }
        try driver.fill(ns, "a", "1", third)
    }

    @Test("a failed source is left alone: twice as long each time, up to a minute, until a fill")
    func failure() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        var pause: Int64 = 5000
        for expected: Int64 in [5000, 10_000, 20_000, 40_000, 60_000, 60_000] {
            let lease = driver.ask(ns, "a")
            let waiter = driver.ask(ns, "a", wait: 1000)
            try driver.release(ns, "a", lease, pause: 5000)
            pause = expected
            #expect(try waiter.answer() == "failed \(pause)")
            #expect(driver.ask(ns, "a", wait: 1000).said == "failed \(pause)")
            driver.clock.advance(byMilliseconds: pause)
        }
        try driver.fill(ns, "a", "1", driver.ask(ns, "a"))
        try driver.delete(ns, "a")
        try driver.release(ns, "a", driver.ask(ns, "a"), pause: 5000)
        #expect(driver.ask(ns, "a").said == "failed 5000")
        // A plain put does not wait for the source.
        try driver.put(ns, "a", "1")
        #expect(driver.ask(ns, "a").said == "1 memory")
    }

    @Test("a namespace that is dropped ends its waits")
    func dropped() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let lease = driver.ask(ns, "a")
        let waiter = driver.ask(ns, "a", wait: 1000)
        let answer = Answer<Bool>()
        driver.store.dropNamespace(try NamespaceName("ns"), completion: answer.give)
        #expect(try answer.get())
        #expect(try waiter.answer() == "namespace_not_found")
        #expect(throws: Problem.self) { try driver.fill(ns, "a", "1", lease) }
        #expect(driver.store.leaseWaiters == 0)
        #expect(driver.store.statistics().total.tally.leasesRunning == 0)
        // What was held is free again.
        for number in 0..<3 { #expect(driver.ask(try driver.namespace("n\(number)"), "a").said == "given absent") }
    }

    // MARK: Waiters

    @Test("who is gone is given no lease, and takes no place")
    func cancelled() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        let first = driver.ask(ns, "a")
        let gone = driver.ask(ns, "a", wait: 1000)
        let second = driver.ask(ns, "a", wait: 1000)
        gone.call.cancel()
        #expect(driver.store.leaseWaiters == 1)
        try driver.release(ns, "a", first)
        #expect(try second.answer() == "given absent")
        #expect(gone.said == nil)
    }

    @Test("who is gone before the lower tier has answered is given no lease either")
    func cancelledEarly() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        driver.tier?.holdReads()
        let gone = driver.ask(ns, "a")
        gone.call.cancel()
        driver.tier?.releaseReads()
        #expect(gone.said == nil)
        #expect(driver.ask(ns, "a").said == "given absent")
    }

    @Test("there is room for so many waiters and leases, and more are told so")
    func limits() throws {
        let driver = try StoreDriver {
            $0.leases.leases = 2
            $0.leases.waiters = 1
        }
        let ns = try driver.namespace()
        let a = driver.ask(ns, "a")
        let b = driver.ask(ns, "b")
        #expect(driver.ask(ns, "c").said == "overloaded")
        let waiter = driver.ask(ns, "a", wait: 1000)
        #expect(driver.ask(ns, "b", ttl: 5000, wait: 1000).said == "crowded 10000")
        waiter.call.cancel()
        #expect(driver.ask(ns, "b", wait: 1000).said == nil)
        try driver.fill(ns, "a", "1", a)
        #expect(driver.ask(ns, "c").said == "given absent")
        try driver.release(ns, "b", b, pause: 1000)
        // A failure that is remembered takes the room of its lease.
        #expect(driver.ask(ns, "d").said == "overloaded")
        driver.clock.advance(byMilliseconds: 61_000)
        for _ in 0..<10 { driver.store.tick() }
        #expect(driver.ask(ns, "d").said == "given absent")
    }

    // MARK: Stale while refreshing

    @Test(
        "of those who ask for a stale entry one refreshes it, and the others have it at once",
        arguments: Home.allCases
    )
    func stale(home: Home) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = home.durability }
        try driver.put(ns, "a", "1", ttl: 1000, staleTTL: 60_000)
        #expect(driver.ask(ns, "a").said == "1 memory")
        driver.clock.advance(byMilliseconds: 1000)
        let lease = driver.ask(ns, "a", wait: 1000)
        #expect(lease.said == "refresh 1 stale")
        for _ in 0..<10 { #expect(driver.ask(ns, "a", wait: 1000).said == "1 stale") }
        #expect(try driver.get(ns, "a") == "1 stale")
        try driver.fill(ns, "a", "2", lease)
        #expect(driver.ask(ns, "a").said == "2 memory")
        #expect(driver.store.statistics(ns).figures.tally.hitsStale == 11)
    }

    @Test(
        "an entry that was made stale is refreshed by one in the same way",
        arguments: [Change.staleKey, .staleTag, .stalePrefix, .staleAll]
    )
    func madeStale(change: Change) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "abc", "1", ttl: 100_000, staleTTL: 60_000, tags: ["t"])
        try change.make(driver, ns)
        let lease = driver.ask(ns, "abc")
        #expect(lease.said == "refresh 1 stale")
        #expect(driver.ask(ns, "abc").said == "1 stale")
        try change.make(driver, ns)
        #expect(throws: Problem.leaseLost) { try driver.fill(ns, "abc", "2", lease, tags: ["t"]) }
        let next = driver.ask(ns, "abc")
        #expect(next.said == "refresh 1 stale")
        try driver.fill(ns, "abc", "2", next, tags: ["t"])
        #expect(driver.ask(ns, "abc").said == "2 memory")
    }

    @Test(
        "a stale entry of the lower tier is refreshed by one, and shown to the others also where memory has no room for it"
    )
    func staleBelow() throws {
        let driver = try StoreDriver { $0.maxMemory = 0 }
        let ns = try driver.namespace()
        driver.clock.advance(byMilliseconds: 5000)
        driver.tier?.plant(
            driver.address(ns, "a"),
            Entry(
                value: Array("1".utf8),
                kind: .json,
                version: 1,
                expiresAt: driver.clock.now().advanced(byMilliseconds: -1000),
                staleTTL: 60_000
            )
        )
        #expect(driver.ask(ns, "a").said == "refresh 1 stale")
        #expect(driver.ask(ns, "a").said == "1 stale")
    }

    @Test("while a failed source is left alone, stale entries stay in service, up to their stale TTL")
    func staleAfterFailure() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", "1", ttl: 1000, staleTTL: 6000)
        driver.clock.advance(byMilliseconds: 1000)
        try driver.release(ns, "a", driver.ask(ns, "a"), pause: 10_000)
        #expect(driver.ask(ns, "a").said == "1 stale")
        driver.clock.advance(byMilliseconds: 6000)
        #expect(driver.ask(ns, "a").said == "failed 4000")
    }

    // MARK: Early refresh

    @Test("an entry is refreshed before it expires, the sooner the longer its load takes, where the policy says so")
    func early() throws {
        let driver = try StoreDriver()
        let off = try driver.namespace("off")
        let eager = try driver.namespace("eager") { $0.earlyRefresh = 1 }
        for ns in [off, eager] {
            let lease = driver.ask(ns, "slow", ttl: 100_000)
            driver.clock.advance(byMilliseconds: 10_000)
            try driver.fill(ns, "slow", "1", lease, ttl: 100_000)
            try driver.fill(ns, "quick", "1", driver.ask(ns, "quick"), ttl: 100_000)
        }
        driver.clock.advance(byMilliseconds: 85_000)
        // 5 to 15 s are left. exp(-1.5) of those who ask refresh the slow one early, and none the quick one.
        func asks(_ ns: Namespace, _ key: String) throws -> (all: Int, early: Int) {
            var early = 0
            for _ in 0..<500 {
                let ask = driver.ask(ns, key)
                guard ask.said == "refresh 1 memory" else { continue }
                early += 1
                try driver.release(ns, key, ask)
            }
            return (500, early)
        }
        #expect(try asks(off, "slow").early == 0)
        #expect(try asks(eager, "quick").early == 0)
        let slow = try asks(eager, "slow").early
        #expect((50...300).contains(slow), "\(slow)")
        #expect(driver.store.statistics(eager).figures.tally.earlyRefreshes == UInt64(slow))
        // The lease is given once, and everybody else has the entry.
        while driver.ask(eager, "slow").said != "refresh 1 memory" {}
        for _ in 0..<100 { #expect(driver.ask(eager, "slow").said == "1 memory") }
    }

    // MARK: Lists

    @Test("leases are listed with those that are held longest first")
    func list() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for key in ["b1", "a", "b2"] {
            _ = driver.ask(ns, key)
            driver.clock.advance(byMilliseconds: 10)
        }
        _ = driver.ask(ns, "a", wait: 1000)
        let (leases, count) = driver.store.leases(ns, prefix: Array("b".utf8), limit: 10)
        #expect(count == 3)
        #expect(leases.map { String(decoding: $0.key, as: UTF8.self) } == ["b1", "b2"])
        #expect(driver.store.leases(ns, prefix: [], limit: 2).leases.map(\.waiters) == [0, 1])
    }
}

/// A lease that was asked for, and what was answered.
final class AskedLease: Sendable {
    private let state = Mutex<(said: String?, token: LeaseToken?)>((nil, nil))
    private let begun = Mutex<LeaseCall?>(nil)

    var said: String? { state.withLock { $0.said } }
    var token: LeaseToken? { state.withLock { $0.token } }

    var call: LeaseCall {
        guard let call = begun.withLock({ $0 }) else { preconditionFailure("begun by `ask`") }
        return call
    }

    func answer() throws -> String { try eventually("an answer comes") { self.said } }

    fileprivate func begin(_ call: LeaseCall) { begun.withLock { $0 = call } }

    fileprivate func give(_ answer: LeaseAnswer) {
        let (said, lease): (String, Lease?) =
            switch answer {
            case .hit(let hit): (describe(.hit(hit)), nil)
            case .absent(let hit): (describe(.absent(hit)), nil)
            case .given(let lease, let reason): ("given \(reason.name)", lease)
            case .refresh(let lease, let hit): ("refresh \(describe(.hit(hit)))", lease)
            case .refused(let refusal): ("\(refusal.reason.rawValue) \(refusal.retryAfter)", nil)
            case .larger(let size): ("larger: \(size)", nil)
            case .failed(let problem): (problem.code.rawValue, nil)
            }
        state.withLock { $0 = (said, lease?.token) }
    }
}

extension StoreDriver {
    func ask(_ ns: Namespace, _ key: String, ttl: Int64 = 10_000, wait: Int64 = 0) -> AskedLease {
        let asked = AskedLease()
        asked.begin(
            store.lease(ns, address(ns, key), LeaseAsk(ttl: ttl, wait: wait)) { answer in asked.give(answer) }
        )
        return asked
    }

    func fill(
        _ ns: Namespace,
        _ key: String,
        _ value: String,
        _ lease: AskedLease,
        ttl: Int64? = nil,
        tags: [EntryTag] = [],
        condition: Condition = .none
    ) throws {
        let token: LeaseToken = try #require(lease.token)
        let answer = Answer<Written>()
        let put = Put(
            value: Array(value.utf8),
            kind: .json,
            lifetime: ttl.map { .milliseconds($0) } ?? .byPolicy,
            tags: tags,
            condition: condition,
            lease: token
        )
        store.put(ns, address(ns, key), put, completion: answer.give)
        _ = try answer.get()
    }

    func release(_ ns: Namespace, _ key: String, _ lease: AskedLease, pause: Int64? = nil) throws {
        try store.release(ns, address(ns, key), try #require(lease.token), pause: pause)
    }

    /// A pass over all entries, which forgets the marks that nothing needs.
    func sweep(_ ns: Namespace) throws {
        let before = ns.marks.forgets
        store.housekeeping.askForSweep()
        clock.advance(byMilliseconds: 2000)
        store.tick()
        try eventually("a pass has ended") { ns.marks.forgets > before }
    }
}
