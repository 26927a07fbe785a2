import PantlerInsight
import PantlerModel
import PantlerStore
import Support
import Testing

@Suite("Writes", .serialized)
struct WriteTests {
    @Test("each reason of a miss is told", arguments: [true, false])
    func reasons(isOnDisk: Bool) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = isOnDisk ? .behind : .memory }
        try driver.put(ns, "expired", ttl: 100)
        try driver.put(ns, "deleted")
        try driver.put(ns, "invalidated", tags: ["t"])
        try driver.delete(ns, "deleted")
        try driver.invalidate(ns, .tags(["t"]))
        driver.clock.advance(byMilliseconds: 99)
        #expect(try driver.get(ns, "expired") == "1 memory")
        driver.clock.advance(byMilliseconds: 1)
        for reason in ["expired", "deleted", "invalidated", "absent"] {
            #expect(try driver.get(ns, reason) == reason)
            #expect(try driver.get(ns, reason) == reason, "and told again")
        }
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.missExpired == 2 && tally.missDeleted == 2 && tally.missInvalidated == 2 && tally.missAbsent == 2)
        #expect(tally.gets == 9 && tally.hits == 1)
    }

    @Test("past its TTL an entry is stale for its stale TTL, and then gone")
    func stale() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "a", ttl: 1000, staleTTL: 500)
        driver.clock.advance(byMilliseconds: 1000)
        #expect(try driver.get(ns, "a") == "1 stale")
        driver.clock.advance(byMilliseconds: 499)
        #expect(try driver.get(ns, "a") == "1 stale")
        driver.clock.advance(byMilliseconds: 1)
        #expect(try driver.get(ns, "a") == "expired")
        #expect(driver.store.statistics(ns).figures.tally.hitsStale == 2)
    }

    @Test("what is expired leaves memory without being asked for")
    func sweep() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .memory }
        for number in 0..<3000 { try driver.put(ns, "k\(number)", ttl: number % 2 == 0 ? 50 : nil) }
        driver.clock.advance(byMilliseconds: 50)
        try eventually("half of them leave") {
            driver.store.tick()
            return driver.store.statistics(ns).figures.memory.entries == 1500
        }
        #expect(driver.store.statistics(ns).figures.tally.expirations == 1500)
        #expect(try driver.get(ns, "k0") == "expired")
    }

    @Test("an entry that was dead before it had to make room is not called evicted")
    func deadBeforeEviction() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace {
            $0.durability = .memory
            $0.maxEntries = 2
        }
        try driver.put(ns, "expired", ttl: 10)
        driver.clock.advance(byMilliseconds: 5)
        try driver.put(ns, "tagged", tags: ["t"])
        driver.clock.advance(byMilliseconds: 5)
        try driver.invalidate(ns, .tags(["t"]))
        for key in ["a", "b", "c"] {
            driver.clock.advance(byMilliseconds: 1)
            try driver.put(ns, key)
        }
        for (key, reason) in [("expired", "expired"), ("tagged", "invalidated"), ("a", "evicted")] {
            #expect(try driver.get(ns, key) == reason)
        }
        let figures = driver.store.statistics(ns).figures
        #expect(figures.memoryEvictions == 1 && figures.tally.expirations == 1)
    }

    @Test("a counter may have been put with space around it")
    func counterWithSpace() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        try driver.put(ns, "n", " 41\n")
        #expect(try driver.count(ns, "n").value == 42)
    }

    @Test("versions grow with every write of whatever kind, and over a restart")
    func versions() throws {
        var driver = try StoreDriver()
        var last: Version = 0
        for _ in 0..<3 {
            let ns = try driver.namespace()
            for _ in 0..<3 {
                let versions = [
                    try driver.put(ns, "a").version, try driver.patch(ns, "a", Patch(lifetime: .never)).version,
                    try driver.count(ns, "a").version, try driver.delete(ns, "a"), try driver.put(ns, "b").version,
                ]
                #expect(versions == versions.sorted() && versions[0] > last)
                last = versions[4]
            }
            driver = try driver.restarted()
        }
    }

    @Test("no version is given before it is reserved, but on a full device")
    func reservation() throws {
        let tier = FakeTier()
        tier.fail(with: TierFault(.unavailable, "away"))
        #expect(throws: TierFault.self) { try StoreDriver(tier: tier) }
    }

    @Test("versions are given again once the lower tier can reserve again, however long it could not")
    func reservationAfterFault() {
        let tier = FakeTier()
        let versions = VersionAllocator(start: 1, lower: tier, block: 100)
        versions.reserveFirst { #expect($0 == nil) }
        tier.fail(with: TierFault(.full, "full"))
        var given: [Version] = []
        for _ in 0..<200 { if let version = versions.allocate() { given.append(version) } }
        #expect(given.count == 100 && versions.allocate() == nil)
        tier.fail(with: nil)
        for _ in 0..<1000 { if let version = versions.allocate() { given.append(version) } }
        #expect(given.count > 800)
        #expect(given == given.sorted() && Set(given).count == given.count)
        #expect(given.allSatisfy { $0 < tier.persisted.versionCeiling })
    }

    @Test("an entry that memory cannot hold is rejected, unless it is on disk")
    func rejected() throws {
        let driver = try StoreDriver { $0.maxMemory = 2 << 20 }
        let value = "\"" + String(repeating: "x", count: 3 << 20) + "\""
        let memory = try driver.namespace("memory") { $0.durability = .memory }
        try driver.put(memory, "a", value)
        #expect(try driver.get(memory, "a") == "rejected")
        let disk = try driver.namespace("disk")
        try driver.put(disk, "a", value)
        #expect(try driver.get(disk, "a") == "\(value) disk")
    }

    @Test("a policy that leaves the disk and comes back finds nothing old there")
    func leavesDisk() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .behind }
        try driver.put(ns, "a")
        _ = try driver.namespace { $0.durability = .memory }
        try driver.put(ns, "a", "2")
        try driver.delete(ns, "a")
        _ = try driver.namespace { $0.durability = .behind }
        #expect(try driver.get(ns, "a") == "deleted")
        try eventually("the old rows leave") { driver.tier?.rows.isEmpty == true }
    }

    @Test("many writers of one counter lose nothing, in memory or below", arguments: [Durability.memory, .behind])
    func counters(durability: Durability) throws {
        let driver = try StoreDriver { $0.maxMemory = durability == .memory ? 16 << 20 : 0 }
        let ns = try driver.namespace { $0.durability = durability }
        let versions = try onThreads(4) { _ in
            try (0..<500).map { _ in try driver.count(ns, "n", CounterAdd(initial: 0)).version }
        }
        #expect(try driver.get(ns, "n", counts: false).hasPrefix("2000 "))
        #expect(Set(versions.joined()).count == 2000)
    }

    @Test("a put with nothing to wait for is answered by its call, and any other later, exactly once")
    func atOnceOrLater() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.maxValueSize = 10 }
        let late = Answer<Written>()
        func put(_ key: String, _ value: String = "1") -> (answer: Result<Written, Problem>?, asked: Int) {
            var asked = 0
            let put = Put(value: Array(value.utf8), kind: .json)
            let answer = driver.store.put(ns, driver.address(ns, key), put, at: driver.store.moment()) {
                asked += 1
                return LateAnswer(completion: late.give)
            }
            return (answer, asked)
        }
        driver.tier?.holdReads()
        let unknown = put("a")
        #expect(unknown.answer == nil && unknown.asked == 1)
        #expect(!late.isThere)
        driver.tier?.releaseReads()
        #expect(try late.get().isNew)
        let known = put("a", "2")
        #expect(try known.answer?.get().isNew == false)
        #expect(known.asked == 0)
        let tooLarge = put("a", "12345678901")
        #expect(throws: Problem.self) { try tooLarge.answer?.get() }
        #expect(tooLarge.asked == 0)
        #expect(try driver.get(ns, "a") == "2 memory")
    }

    @Test("a put that cannot be made durable is told to be made, fails later, and is taken back")
    func laterFailure() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        try driver.put(ns, "a")
        driver.tier?.fail(with: TierFault(.full, "full"))
        let late = Answer<Written>()
        let wasAnsweredWhenMade = Answer<Bool>()
        let answer = driver.store.put(
            ns,
            driver.address(ns, "a"),
            Put(value: [0x32], kind: .json),
            at: driver.store.moment(),
            later: {
                LateAnswer(made: { wasAnsweredWhenMade.give(.success(late.isThere)) }, completion: late.give)
            }
        )
        #expect(answer == nil)
        #expect(try wasAnsweredWhenMade.get() == false)
        #expect(throws: Problem.self) { try late.get() }
        driver.tier?.fail(with: nil)
        #expect(try driver.get(ns, "a") == "1 disk")
    }

    @Test("conditions are judged and carried out as one, whoever else writes")
    func compareAndSet() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace()
        for round in 0..<50 {
            let winners = try onThreads(4) { _ in
                do {
                    try driver.put(ns, "k\(round)", condition: Condition(ifNoneMatch: EntityTags(any: true)))
                    return 1
                } catch let problem as Problem where problem.code == .versionMismatch {
                    return 0
                }
            }
            #expect(winners.reduce(0, +) == 1)
        }
    }

    @Test("hits and misses add up to what was asked, whoever asks meanwhile")
    func sums() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.maxEntries = 50 }
        let generator = SeededGenerator()
        let hits = try onThreads(4) { thread in
            var random = SeededGenerator(seed: generator.seed &+ UInt64(thread))
            var hits: UInt64 = 0
            for _ in 0..<5000 {
                let key = "k\(random.next() % 120)"
                switch random.next() % 6 {
                case 0: try driver.put(ns, key)
                case 1: _ = try? driver.delete(ns, key)
                default: hits += try driver.get(ns, key).hasPrefix("1 ") ? 1 : 0
                }
            }
            return hits
        }
        let tally = driver.store.statistics(ns).figures.tally
        #expect(tally.hits == hits.reduce(0, +), "\(generator)")
        #expect(tally.hitsDisk > 0 && tally.hitsMemory > 0 && tally.missDeleted > 0)
    }

    @Test(
        "what is deleted while only an invalidation hides it is removed below as well, whose own mark may be lost",
        arguments: [Invalidation.tags(["t"]), .all]
    )
    func deletesOfHidden(what: Invalidation) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        try driver.put(ns, "a", tags: ["t"])
        try driver.put(ns, "b", tags: ["t"])
        driver.tier?.fail(with: TierFault(.unavailable, "away").with(.kept))
        let problem = #expect(throws: Problem.self) { _ = try driver.invalidate(ns, what) }
        #expect(problem?.detail.contains("holds in memory") == true)
        #expect(throws: Problem.self, "it cannot be written") { _ = try driver.delete(ns, "a") }
        driver.tier?.fail(with: nil)
        let gone = #expect(throws: Problem.self) { _ = try driver.delete(ns, "a") }
        #expect(gone?.code == .entryNotFound)
        #expect(driver.tier?.rows[driver.address(ns, "a")] == nil)
        _ = try driver.invalidate(ns, .keys([driver.address(ns, "b")]))
        #expect(driver.tier?.rows[driver.address(ns, "b")] == nil)
    }

    @Test("what failed and may come back with a crash is removed like anything else, although nothing is seen of it")
    func deletesOfWhatFailed() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        let tier = try #require(driver.tier)
        func removed() -> [String] {
            tier.mutations.compactMap { mutation in
                guard case .delete(let address, _) = mutation else { return nil }
                return String(decoding: address.key, as: UTF8.self)
            }
        }
        #expect(throws: Problem.self) { _ = try driver.delete(ns, "a") }
        #expect(removed() == [])
        tier.leaveWhatFailed()
        let gone = #expect(throws: Problem.self) { _ = try driver.delete(ns, "a") }
        #expect(gone?.code == .entryNotFound)
        for (key, mode) in [("b", InvalidationMode.gone), ("c", .stale)] {
            _ = try driver.invalidate(ns, .keys([driver.address(ns, key)]), mode)
        }
        #expect(removed() == ["a", "b", "c"])
    }

    @Test("a prefix that cannot be removed below stays hidden, and is removed once it can be")
    func removalIsTriedAgain() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        try driver.put(ns, "p/a")
        driver.tier?.fail(with: TierFault(.unavailable, "away"))
        let problem = #expect(throws: Problem.self) { _ = try driver.invalidate(ns, .prefix(Array("p/".utf8))) }
        #expect(problem?.detail.contains("holds in memory") == true)
        driver.tier?.fail(with: nil)
        #expect(try driver.get(ns, "p/a") == "invalidated")
        #expect(driver.store.readiness() != nil, "the tier does what it is asked to again, but has not been asked yet")
        try eventually("it is removed") { driver.tier?.rows.isEmpty == true }
        try eventually("all is well") { driver.store.readiness() == nil }
    }

    @Test(
        "a store begins over a device that is full, with versions that no later run gives again"
    )
    func startOnFullDisk() throws {
        let first = try StoreDriver()
        let ns = try first.namespace()
        let before = try first.put(ns, "a").version
        first.store.close()
        let tier = try #require(first.tier?.reopened())
        tier.fail(with: TierFault(.full, "full"))
        let driver = try StoreDriver(tier: tier, clock: first.clock)
        let again = try #require(driver.store.namespace("ns"))
        let version = try driver.put(again, "b").version
        #expect(version > before + 1 << 32)
        #expect(try driver.put(again, "b").version == version + 1)
        #expect(try driver.get(again, "b") == "1 memory")
        #expect(driver.store.readiness()?.cause == .full)
    }

    @Test("a prefix that could not be removed below is removed before the store closes")
    func removalAtTheEnd() throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        try driver.put(ns, "p/a")
        let tier = try #require(driver.tier)
        tier.fail(with: TierFault(.unavailable, "away"))
        #expect(throws: Problem.self) { _ = try driver.invalidate(ns, .prefix(Array("p/".utf8))) }
        tier.fail(with: nil)
        driver.store.close()
        #expect(tier.rows.isEmpty)
    }

    @Test("what fails for some of many entries is said to have failed for some", arguments: ["keys", "prefix"])
    func ofSome(what: String) throws {
        let driver = try StoreDriver()
        let ns = try driver.namespace { $0.durability = .through }
        for key in ["p/a", "p/b"] { try driver.put(ns, key, staleTTL: 60_000) }
        driver.tier?.fail(with: TierFault(.unavailable, "away"))
        let addresses = ["p/a", "p/b"].map { driver.address(ns, $0) }
        let invalidation: Invalidation = what == "keys" ? .keys(addresses) : .prefix(Array("p/".utf8))
        let problem = #expect(throws: Problem.self) { _ = try driver.invalidate(ns, invalidation, .stale) }
        #expect(problem?.code == .storageUnavailable)
        #expect(problem?.detail.contains("some of the entries") == true)
    }
}
