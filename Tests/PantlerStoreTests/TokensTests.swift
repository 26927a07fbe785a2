import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerStore

/// Some moment by the wall clock.
private let now: Int64 = 1_800_000_000_000

extension StoreDriver {
    fileprivate func create(
        _ role: Role = .read,
        note: String = "",
        expiresAt: Int64? = nil
    ) throws -> IssuedToken {
        let answer = Answer<IssuedToken>()
        store.tokens.create(
            Grant(role: role),
            note: note,
            expiresAt: expiresAt,
            nowMilliseconds: now,
            completion: answer.give
        )
        return try answer.get()
    }

    fileprivate func rotate(_ id: TokenID, grace: Int64 = 0, at wall: Int64 = now) throws -> IssuedToken {
        let answer = Answer<IssuedToken>()
        store.tokens.rotate(id, graceMilliseconds: grace, nowMilliseconds: wall, completion: answer.give)
        return try answer.get()
    }

    fileprivate func revoke(_ id: TokenID) throws -> Bool {
        let answer = Answer<Bool>()
        store.tokens.revoke(id, completion: answer.give)
        return try answer.get()
    }

    fileprivate func check(_ text: String, at wall: Int64 = now) -> TokenPass? { store.tokens.check(text, at: wall) }
}

extension Tokens {
    fileprivate func check(_ text: String, at wall: Int64 = now) -> TokenPass? {
        Array(text.utf8).withUnsafeBytes { check($0, nowMilliseconds: wall) }
    }
}

@Suite("Tokens")
struct TokensTests {
    /// The text with its last character changed, which still has the form of a token.
    private func forged(_ text: String) -> String { text.dropLast() + (text.last == "A" ? "E" : "A") }

    /// A token of the configuration that has the secret of another one.
    private func configured(_ id: String, like issued: IssuedToken, _ role: Role = .read) throws -> ConfiguredToken {
        ConfiguredToken(
            id: try #require(TokenID(id)),
            digest: issued.record.digest,
            grant: Grant(role: role),
            note: "of the file"
        )
    }

    /// The issued token's secret under another id.
    private func text(_ id: String, like issued: IssuedToken) -> String {
        "pt_\(id)_\(issued.secretText.suffix(PresentedToken.secretCount))"
    }

    @Test("a token opens what it was made for, and is listed without its secret")
    func create() throws {
        let driver = try StoreDriver()
        let issued = try driver.create(.write, note: "batch job", expiresAt: now + 1000)
        let pass = try #require(driver.check(issued.secretText))
        #expect(pass.id == issued.record.id)
        #expect(pass.grant == Grant(role: .write))
        #expect(pass.expiresAt == now + 1000)
        #expect(pass.source == .database)
        #expect(driver.store.tokens.list() == [issued.record])
        #expect(driver.store.tokens.record(issued.record.id) == issued.record)
        #expect(driver.store.tokens.count == 1)
        #expect(issued.record.createdAt == now)
        #expect(issued.record.note == "batch job")
        #expect(issued.record.lastUsedDay == nil)
    }

    @Test("a token has the form of one, no two are alike, and nothing shows the secret but its text")
    func secrets() throws {
        let driver = try StoreDriver(tier: nil)
        let issued = try (0..<100).map { _ in try driver.create() }
        #expect(Set(issued.map(\.secretText)).count == 100)
        #expect(Set(issued.map(\.record.id)).count == 100)
        for token in issued {
            let bytes = Array(token.secretText.utf8)
            let secret = try bytes.withUnsafeBytes {
                String(decoding: try #require(PresentedToken($0)).secret, as: UTF8.self)
            }
            var dumped = ""
            dump(token, to: &dumped)
            for text in ["\(token)", String(reflecting: token), dumped] { #expect(!text.contains(secret)) }
        }
    }

    @Test("the digest is SHA-256 of the secret's characters")
    func digest() throws {
        let digest = Array("abc".utf8).withUnsafeBytes { TokenSecret.digest(of: $0) }
        #expect(digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test("what is unknown, wrong, out of form or expired gives nothing")
    func refused() throws {
        let driver = try StoreDriver()
        let issued = try driver.create(expiresAt: now + 1000)
        let other = try driver.create()
        let text = issued.secretText
        #expect(driver.check(forged(text)) == nil)
        #expect(driver.check(self.text("zzzzzzzz", like: issued)) == nil)
        #expect(driver.check(self.text("\(other.record.id)", like: issued)) == nil)
        for broken in ["", "pt_", text + "x", String(text.dropLast()), " " + text, text.uppercased()] {
            #expect(driver.check(broken) == nil)
        }
        #expect(driver.check(text, at: now + 999) != nil)
        #expect(driver.check(text, at: now + 1000) == nil)
        #expect(driver.store.tokens.list().count == 2, "an expired token stays listed until it is revoked")
        #expect(try driver.revoke(issued.record.id))
        #expect(driver.store.tokens.count == 1)
    }

    @Test("revoking ends a token at once, raises the generation, and is done once")
    func revoke() throws {
        let driver = try StoreDriver()
        let issued = try driver.create()
        let generation = driver.store.tokens.generation
        #expect(driver.check(issued.secretText) != nil)
        #expect(driver.store.tokens.generation == generation, "a look is no change")
        #expect(try driver.revoke(issued.record.id))
        #expect(driver.store.tokens.generation > generation)
        #expect(driver.check(issued.secretText) == nil)
        #expect(driver.store.tokens.list().isEmpty)
        #expect(try !driver.revoke(issued.record.id))
        #expect(driver.tier?.persisted.tokens.isEmpty == true)
        #expect(driver.store.tokens.record(issued.record.id) == nil)
    }

    @Test("every change raises the generation")
    func generation() throws {
        let driver = try StoreDriver()
        var last = driver.store.tokens.generation
        func isRaised() -> Bool {
            defer { last = driver.store.tokens.generation }
            return driver.store.tokens.generation > last
        }
        let issued = try driver.create()
        #expect(isRaised())
        _ = try driver.rotate(issued.record.id)
        #expect(isRaised())
        _ = driver.store.tokens.setConfigured([])
        #expect(isRaised())
        _ = try driver.revoke(issued.record.id)
        #expect(isRaised())
    }

    /// Whoever guesses is not to learn from the time that an answer takes which ids there are, or how much of a secret is right. A look
    /// that did less for some of them would take a fraction of the time of the others: the digest is nearly all of it.
    @Test("a look takes as long for an unknown id as for a wrong secret, a former one, an expired token and a good one")
    func timing() throws {
        let driver = try StoreDriver(tier: nil)
        let issued = try driver.create()
        let expired = try driver.create(expiresAt: now - 1)
        let former = try driver.create()
        _ = try driver.rotate(former.record.id, grace: 1000)
        let texts = [
            issued.secretText, forged(issued.secretText), text("zzzzzzzz", like: issued), expired.secretText,
            former.secretText,
        ].map { Array($0.utf8) }
        var took = texts.map { _ in [UInt64]() }
        for _ in 0..<2000 {
            for (kind, text) in texts.enumerated() {
                text.withUnsafeBytes { bytes in
                    let begun = monotonicNanoseconds()
                    _ = driver.store.tokens.check(bytes, nowMilliseconds: now)
                    took[kind].append(monotonicNanoseconds() - begun)
                }
            }
        }
        // The lower quartile: what other work on the machine adds is in the upper ones.
        let quartiles = took.map { $0.sorted()[$0.count / 4] }
        let (least, most) = (quartiles.min() ?? 0, quartiles.max() ?? 0)
        #expect(most * 2 < least * 3, "nanoseconds of good, wrong, unknown, expired, former: \(quartiles)")
    }

    // MARK: Rotation

    @Test("a rotated token has another secret; the one before is good for its grace, and no longer")
    func rotate() throws {
        let driver = try StoreDriver()
        let issued = try driver.create(.write, note: "n")
        let rotated = try driver.rotate(issued.record.id, grace: 5000)
        #expect(rotated.record.id == issued.record.id)
        #expect(rotated.record.note == "n")
        #expect(rotated.secretText != issued.secretText)
        #expect(try #require(driver.check(rotated.secretText)).expiresAt == .max)
        let pass = try #require(driver.check(issued.secretText, at: now + 4999))
        #expect(pass.expiresAt == now + 5000)
        #expect(pass.grant == Grant(role: .write))
        #expect(driver.check(issued.secretText, at: now + 5000) == nil)
        #expect(driver.check(rotated.secretText, at: now + 5000) != nil)
        let last = try driver.rotate(issued.record.id, grace: 0, at: now + 10)
        #expect(driver.check(issued.secretText) == nil, "a second rotation ends what the first has left")
        #expect(driver.check(rotated.secretText) == nil, "without a grace the secret ends at once")
        #expect(driver.check(last.secretText) != nil)
    }

    @Test("the grace of a secret does not outlive its token")
    func graceAndExpiry() throws {
        let driver = try StoreDriver()
        let issued = try driver.create(expiresAt: now + 1000)
        let rotated = try driver.rotate(issued.record.id, grace: 5000)
        for text in [issued.secretText, rotated.secretText] {
            #expect(driver.check(text, at: now + 999) != nil)
            #expect(driver.check(text, at: now + 1000) == nil)
        }
        #expect(try driver.rotate(issued.record.id, grace: .max).record.former?.until == .max)
    }

    @Test("what is not there cannot be rotated")
    func rotateUnknown() throws {
        let driver = try StoreDriver()
        let problem = #expect(throws: Problem.self) { try driver.rotate(try #require(TokenID("abcdefgh"))) }
        #expect(problem?.code == .tokenNotFound)
    }

    @Test("two rotations at once come one after the other: the second goes out from what the first comes to")
    func rotations() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        tier.holdSettling()
        let answers = (0..<3).map { _ in Answer<IssuedToken>() }
        for answer in answers {
            driver.store.tokens.rotate(
                issued.record.id,
                graceMilliseconds: 1000,
                nowMilliseconds: now,
                completion: answer.give
            )
        }
        #expect(driver.check(issued.secretText) != nil)
        for number in answers.indices {
            #expect(answers.map(\.isThere) == answers.indices.map { $0 < number })
            tier.settleHeld()
        }
        let texts = try answers.map { try $0.get().secretText }
        #expect(driver.check(issued.secretText) == nil)
        #expect(driver.check(texts[0]) == nil)
        #expect(driver.check(texts[1])?.expiresAt == now + 1000)
        #expect(driver.check(texts[2])?.expiresAt == .max)
    }

    @Test(
        "a token that is revoked while it is rotated stays revoked, whatever becomes of the rotation",
        arguments: [true, false]
    )
    func revokedWhileRotated(fails: Bool) throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        tier.holdSettling()
        let rotated = Answer<IssuedToken>()
        let revoked = Answer<Bool>()
        driver.store.tokens.rotate(issued.record.id, nowMilliseconds: now, completion: rotated.give)
        driver.store.tokens.revoke(issued.record.id, completion: revoked.give)
        #expect(driver.check(issued.secretText) == nil)
        tier.settleHeld(with: fails ? TierFault(.unavailable, "made up") : nil)
        #expect(throws: Problem.self) { _ = try rotated.get() }
        #expect(driver.store.tokens.list().isEmpty)
        #expect(tier.persisted.tokens.isEmpty)
    }

    // MARK: A lower tier that fails

    private static let fault = TierFault(.unavailable, "made up").with(.kept)

    @Test("a token that cannot be made durable is not there, and not after a restart either")
    func failingCreate() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let generation = driver.store.tokens.generation
        tier.holdSettling()
        let answer = Answer<IssuedToken>()
        driver.store.tokens.create(Grant(role: .admin), nowMilliseconds: now, completion: answer.give)
        #expect(driver.store.tokens.list().isEmpty, "nobody can use it before it is durable")
        #expect(tier.persisted.tokens.count == 1)
        tier.settleHeld(with: Self.fault)
        let problem = #expect(throws: Problem.self) { _ = try answer.get() }
        #expect(problem?.code == .storageUnavailable)
        #expect(problem?.detail.contains("was taken back") == true)
        #expect(driver.store.tokens.list().isEmpty)
        #expect(driver.store.tokens.generation == generation)
        #expect(tier.persisted.tokens.isEmpty, "what the tier kept to try again is taken out of it")
    }

    @Test("where a crash may bring a token back, its maker is told so")
    func uncertainCreate() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        tier.leaveWhatFailed()
        tier.fail(with: Self.fault)
        let problem = #expect(throws: Problem.self) { _ = try driver.create() }
        #expect(problem?.detail.contains("may come back with a crash") == true)
    }

    @Test("a rotation that cannot be made durable leaves the secret as it was")
    func failingRotate() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        let generation = driver.store.tokens.generation
        tier.holdSettling()
        let answer = Answer<IssuedToken>()
        driver.store.tokens.rotate(issued.record.id, nowMilliseconds: now, completion: answer.give)
        #expect(tier.persisted.tokens != [issued.record])
        tier.settleHeld(with: Self.fault)
        #expect(throws: Problem.self) { _ = try answer.get() }
        #expect(driver.check(issued.secretText) != nil)
        #expect(driver.store.tokens.generation == generation)
        #expect(tier.persisted.tokens == [issued.record])
    }

    @Test("a token that is revoked opens nothing, even where that cannot be made durable, and its caller is told")
    func failingRevoke() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        tier.fail(with: Self.fault)
        let problem = #expect(throws: Problem.self) { _ = try driver.revoke(issued.record.id) }
        #expect(problem?.code == .storageUnavailable)
        #expect(problem?.detail.contains("tried again until it is durable") == true)
        #expect(driver.check(issued.secretText) == nil)
    }

    // MARK: Restart, use

    @Test("a restart finds the tokens, their former secrets, and the day of their last use")
    func restart() throws {
        let driver = try StoreDriver()
        let first = try driver.create(.read, note: "first", expiresAt: now + 10_000)
        let second = try driver.create(.admin)
        let rotated = try driver.rotate(second.record.id, grace: 1000)
        try #require(driver.check(first.secretText)).noteUse(day: 20_833)
        let next = try driver.restarted()
        #expect(next.store.tokens.count == 2)
        #expect(next.check(first.secretText)?.expiresAt == now + 10_000)
        #expect(next.check(second.secretText)?.expiresAt == now + 1000)
        #expect(next.check(rotated.secretText)?.grant == Grant(role: .admin))
        #expect(next.store.tokens.record(first.record.id)?.lastUsedDay == 20_833)
        #expect(next.store.tokens.record(first.record.id)?.note == "first")
        #expect(next.store.tokens.record(second.record.id)?.lastUsedDay == nil)
    }

    @Test("the day of the last use is written down once a day, and without a wait")
    func use() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        let pass = try #require(driver.check(issued.secretText))
        let id = issued.record.id
        func day() -> Int32? { tier.persisted.tokens.first { $0.id == id }?.lastUsedDay }
        driver.store.tokens.saveUse()
        let before = tier.mutations.count
        pass.noteUse(day: 100)
        #expect(driver.store.tokens.record(id)?.lastUsedDay == 100)
        #expect(day() == nil)
        driver.store.tokens.saveUse()
        #expect(day() == 100)
        for _ in 0..<10 {
            pass.noteUse(day: 100)
            driver.store.tokens.saveUse()
        }
        #expect(tier.mutations.count == before + 1)
        // Another connection's pass, of another secret, is of the same token.
        let rotated = try driver.rotate(id, grace: 1000)
        try #require(driver.check(rotated.secretText)).noteUse(day: 101)
        driver.store.tokens.saveUse()
        #expect(day() == 101)
        #expect(tier.persisted.tokens.first?.digest == rotated.record.digest)
    }

    @Test("use that is written down meanwhile does not undo a rotation")
    func useWhileRotated() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try driver.create()
        tier.holdSettling()
        let rotated = Answer<IssuedToken>()
        driver.store.tokens.rotate(issued.record.id, nowMilliseconds: now, completion: rotated.give)
        try #require(driver.check(issued.secretText)).noteUse(day: 7)
        driver.store.tokens.saveUse()
        tier.settleHeld()
        #expect(tier.persisted.tokens.first?.digest == (try rotated.get().record.digest))
        driver.store.tokens.saveUse()
        #expect(tier.persisted.tokens.first?.lastUsedDay == 7)
        #expect(tier.persisted.tokens.first?.digest == (try rotated.get().record.digest))
    }

    @Test("at midnight the use of many tokens is written down a few at a time")
    func manyUses() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let issued = try (0..<25).map { _ in try driver.create() }
        for token in issued { try #require(driver.check(token.secretText)).noteUse(day: 1) }
        func saved() -> Int { tier.persisted.tokens.count { $0.lastUsedDay == 1 } }
        for expected in [10, 20, 25, 25] {
            driver.store.tokens.saveUse(limit: 10)
            #expect(saved() == expected)
        }
    }

    @Test("the background work writes the use down")
    func tick() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        try #require(driver.check(try driver.create().secretText)).noteUse(day: 3)
        for _ in 0..<10 { driver.store.tick() }
        #expect(tier.persisted.tokens.first?.lastUsedDay == 3)
    }

    // MARK: The configuration's

    @Test("tokens of the configuration are good, listed, and not to be changed by a call")
    func configured() throws {
        let tier = FakeTier()
        let driver = try StoreDriver(tier: tier)
        let own = try driver.create()
        let id = try #require(TokenID("zzzzzzzz"))
        #expect(driver.store.tokens.setConfigured([try configured("zzzzzzzz", like: own, .write)]).isEmpty)
        let pass = try #require(driver.check(text("zzzzzzzz", like: own)))
        #expect(pass.grant == Grant(role: .write))
        #expect(pass.source == .configuration)
        #expect(driver.store.tokens.list().map(\.source).contains(.configuration))
        #expect(driver.store.tokens.record(id)?.createdAt == nil)
        for call in [{ _ = try driver.rotate(id) }, { _ = try driver.revoke(id) }] {
            #expect(#expect(throws: Problem.self, performing: call)?.code == .tokenReadOnly)
        }
        pass.noteUse(day: 9)
        driver.store.tokens.saveUse()
        #expect(driver.store.tokens.record(id)?.lastUsedDay == 9)
        #expect(tier.persisted.tokens.map(\.id) == [own.record.id])
        // The same file once more: what is known of its use stays.
        _ = driver.store.tokens.setConfigured([try configured("zzzzzzzz", like: own, .read)])
        #expect(driver.store.tokens.record(id)?.lastUsedDay == 9)
        #expect(driver.check(text("zzzzzzzz", like: own))?.grant == Grant(role: .read))
        _ = driver.store.tokens.setConfigured([])
        #expect(driver.check(text("zzzzzzzz", like: own)) == nil)
        #expect(driver.check(own.secretText) != nil)
    }

    @Test("an id that the database has, or that comes twice, is not taken from the configuration")
    func doubled() throws {
        let driver = try StoreDriver()
        let own = try driver.create(.read)
        let other = try driver.create()
        let tokens = [
            try configured("\(own.record.id)", like: other, .admin), try configured("zzzzzzzz", like: own, .read),
            try configured("zzzzzzzz", like: other, .admin),
        ]
        #expect(driver.store.tokens.setConfigured(tokens) == [own.record.id, tokens[1].id])
        #expect(driver.check(text("\(own.record.id)", like: other)) == nil)
        #expect(driver.check(own.secretText)?.grant == Grant(role: .read))
        #expect(driver.check(text("zzzzzzzz", like: other)) == nil)
        #expect(driver.check(text("zzzzzzzz", like: own)) != nil)
    }

    @Test("ids do not repeat one that exists, be it the configuration's or one that is being made")
    func uniqueIDs() throws {
        let ids = try ["aaaaaaaa", "aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"].map { try #require(TokenID($0)) }
        let next = Mutex(0)
        let tier = FakeTier()
        let tokens = Tokens([], lower: tier) {
            next.withLock { next in
                // The first is nobody's.
                defer { next += 1 }
                return ids[min(max(0, next - 1), ids.count - 1)]
            }
        }
        func create() throws -> IssuedToken {
            let answer = Answer<IssuedToken>()
            tokens.create(Grant(role: .read), nowMilliseconds: now, completion: answer.give)
            return try answer.get()
        }
        let first = try create()
        #expect(first.record.id == ids[0])
        #expect(tokens.setConfigured([try configured("bbbbbbbb", like: first)]).isEmpty)
        #expect(try create().record.id == ids[3])
    }

    @Test("there is an end to tokens, and one that is revoked makes room")
    func limit() throws {
        let digest = try #require(TokenDigest([UInt8](repeating: 1, count: 32)))
        var generator = SeededGenerator()
        let records = (0..<TokenRecord.limit).map { _ in
            TokenRecord(id: TokenID(using: &generator), grant: Grant(role: .read), createdAt: 1, digest: digest)
        }
        let tokens = Tokens(records, lower: nil)
        func create() throws {
            let answer = Answer<IssuedToken>()
            tokens.create(Grant(role: .read), nowMilliseconds: now, completion: answer.give)
            _ = try answer.get()
        }
        #expect(#expect(throws: Problem.self, performing: create)?.code == .tooManyTokens)
        let revoked = Answer<Bool>()
        tokens.revoke(records[0].id, completion: revoked.give)
        #expect(try revoked.get())
        try create()
        #expect(throws: Problem.self, performing: create)
    }

    @Test("looks from many threads while tokens come and go see each as it is")
    func threads() throws {
        let driver = try StoreDriver()
        let steady = try driver.create(.admin)
        let isOver = Shared(false)
        let lookers = BackgroundThreads(2) { _ in
            while !isOver.value {
                guard driver.check(steady.secretText)?.grant == Grant(role: .admin) else { throw Failure("it is gone") }
            }
        }
        defer { isOver.value = true }
        for _ in 0..<300 {
            let issued = try driver.create()
            #expect(driver.check(issued.secretText) != nil)
            let rotated = try driver.rotate(issued.record.id)
            #expect(driver.check(issued.secretText) == nil)
            #expect(try driver.revoke(issued.record.id))
            #expect(driver.check(rotated.secretText) == nil)
        }
        isOver.value = true
        _ = try lookers.join()
    }
}

@Suite("The rate of a token's requests")
struct RateBucketTests {
    private let limit = RateLimit()

    @Test("without a limit everything may be made")
    func unlimited() {
        let bucket = RateBucket(limit)
        for _ in 0..<1000 { #expect(bucket.take(at: 5) == 0) }
    }

    @Test("after a pause a second's requests may be made at once, and then evenly", arguments: [1, 3, 100, 5000])
    func burst(rate: Int) {
        limit.set(perSecond: rate)
        let bucket = RateBucket(limit)
        var now: UInt64 = 10_000_000
        for _ in 0..<rate { #expect(bucket.take(at: now) == 0) }
        let interval = UInt64(1_000_000 / rate)
        let wait = bucket.take(at: now)
        #expect(wait >= interval && wait <= interval + 1)
        #expect(bucket.take(at: now + wait - 1) > 0)
        now += wait
        #expect(bucket.take(at: now) == 0)
        #expect(bucket.take(at: now) > 0)
    }

    @Test("over a long time as many are taken as may be, however many are asked for")
    func average() {
        limit.set(perSecond: 50)
        let bucket = RateBucket(limit)
        let taken = stride(from: 1_000_000, to: 11_000_000, by: 137).count { bucket.take(at: UInt64($0)) == 0 }
        #expect((549...551).contains(taken), "50 at once, and 50 a second for 10 s: \(taken)")
    }

    @Test("the limit can be set while a bucket is in use")
    func live() {
        limit.set(perSecond: 1)
        let bucket = RateBucket(limit)
        #expect(bucket.take(at: 1_000_000) == 0)
        #expect(bucket.take(at: 1_000_000) == 1_000_000)
        limit.set(perSecond: 1000)
        #expect(bucket.take(at: 1_001_000) == 0)
        limit.set(perSecond: 0)
        for _ in 0..<10_000 { #expect(bucket.take(at: 1_001_000) == 0) }
        limit.set(perSecond: -5)
        #expect(bucket.take(at: 1_001_000) == 0)
    }

    @Test("loops whose clocks are a little apart take no more than one that is alone")
    func threads() throws {
        limit.set(perSecond: 1000)
        let bucket = RateBucket(limit)
        let taken = Shared(0)
        _ = try BackgroundThreads(4) { thread in
            var mine = 0
            for step in 0..<100_000 where bucket.take(at: UInt64(1_000_000 + step * 10 + thread * 3)) == 0 { mine += 1 }
            let found = mine
            taken.update { $0 += found }
        }.join()
        #expect((1990...2001).contains(taken.value), "1000 at once, and 1000 in the second: \(taken.value)")
    }
}
