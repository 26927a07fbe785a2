import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("What a restart finds")
struct StateTests {
    @Test("namespaces come back as they were last written, every field of them")
    func namespaces() throws {
        let fixture = try Fixture()
        var record = try fixture.record(3, "sessions")
        _ = fixture.tier.enqueue(.namespace(record))
        record.generation = 5
        record.watermark = Watermark(
            goneBefore: 100,
            staleMarks: [(200, 300), (250, 400), (300, 500)].map {
                StaleMark(before: $0, since: Timestamp(milliseconds: $1))
            }
        )
        record.lowerFrom = 10
        record.policy.defaultTTL = 1
        record.policy.maxTTL = 2
        record.policy.staleTTL = 3
        record.policy.negativeTTL = 33
        record.policy.ttlJitter = 0.125
        record.policy.earlyRefresh = 1.5
        record.policy.maxMemory = 4
        record.policy.maxEntries = 5
        record.policy.maxDisk = 6
        record.policy.maxValueSize = 7
        record.policy.durability = .through
        record.policy.compressionThreshold = 8
        record.policy.compressionLevel = 9
        _ = fixture.tier.enqueue(.namespace(record))
        let plain = try fixture.record(4, "plain")
        _ = fixture.tier.enqueue(.namespace(plain))
        try fixture.reopen()
        #expect(fixture.tier.persistedState().namespaces == [record, plain])
        #expect(fixture.tier.persistedState().nextNamespaceID == 5)
    }

    @Test("tokens come back as they were last written, until they are removed")
    func tokens() throws {
        let fixture = try Fixture()
        var changed = try fixture.token("aaaaaaaa", .read)
        let plain = try fixture.token("bbbbbbbb", .admin, note: "an admin's")
        let gone = try fixture.token("cccccccc")
        for token in [changed, plain, gone] { _ = fixture.tier.enqueue(.token(token)) }
        changed.grant = Grant(role: .write, namespaces: try ["a", "b-*"].map { try #require(NamespacePattern($0)) })
        changed.note = "was read"
        changed.expiresAt = 12
        changed.former = TokenRecord.Former(digest: changed.digest, until: 13)
        changed.digest = try #require(TokenDigest([UInt8](repeating: 9, count: 32)))
        changed.lastUsedDay = 14
        _ = fixture.tier.enqueue(.token(changed))
        _ = fixture.tier.enqueue(.removeToken(gone.id))
        try fixture.reopen()
        #expect(fixture.tier.persistedState().tokens == [changed, plain])
        #expect(fixture.settle(fixture.tier.enqueue(.removeToken(plain.id), .through)) == nil)
        #expect(try fixture.crashed().tier.persistedState().tokens == [changed])
    }

    @Test("an undamaged token that makes no sense, as of a later Pantler, gives nothing and stays in the file")
    func oddTokens() throws {
        let fixture = try Fixture()
        #expect(fixture.settle(fixture.tier.enqueue(.token(try fixture.token("aaaaaaaa")), .through)) == nil)
        let columns = TokenRows.columns
        for change in ["role = 'emperor'", "namespaces = 'a,?'", "digest = X'00'"] {
            fixture.tier.close()
            try fixture.sql(
                "UPDATE tokens SET \(change); UPDATE tokens SET checksum = row_checksum('tokens', \(columns))"
            )
            try fixture.open()
            #expect(fixture.tier.persistedState().tokens.isEmpty)
            #expect(fixture.tier.health().corruptions == 0)
            #expect(try fixture.number("SELECT count(*) FROM tokens") == 1)
        }
    }

    @Test("tags come back until they are forgotten")
    func tags() throws {
        let fixture = try Fixture()
        func mark(_ gone: Version, _ stale: Version) -> Watermark {
            let marks = [StaleMark(before: stale, since: Timestamp(milliseconds: 9))]
            return Watermark(goneBefore: gone, staleMarks: stale > 0 ? marks : [])
        }
        let marks: [(EntryTag, Watermark)] = [
            ("old", mark(10, 0)), ("both", mark(10, 90)), ("new", mark(50, 0)), ("new", mark(51, 0)),
        ]
        for (tag, mark) in marks {
            _ = fixture.tier.enqueue(.tag(1, tag: tag, mark))
        }
        _ = fixture.tier.enqueue(.tag(2, tag: "old", mark(10, 0)))
        _ = fixture.tier.enqueue(.tag(1, tag: "kept", mark(10, 20)))
        _ = fixture.tier.enqueue(.tag(3, tag: "all", mark(10, 20)))
        _ = fixture.tier.enqueue(.forgetTags(1, before: 50, except: ["kept", "none"]))
        _ = fixture.tier.enqueue(.forgetTags(3, before: 50, except: []))
        try fixture.reopen()
        let tags = fixture.tier.persistedState().tags.sorted { ($0.namespace, $0.tag) < ($1.namespace, $1.tag) }
        #expect(tags.map { $0.tag } == ["both", "kept", "new", "old"])
        #expect(tags.map { $0.watermark } == [mark(10, 90), mark(10, 20), mark(51, 0), mark(10, 0)])
        #expect(tags.map { $0.namespace } == [1, 1, 1, 2])
    }

    @Test("tags come back by their bytes, NUL and every spelling of an accent included")
    func tagBytes() throws {
        let fixture = try Fixture()
        let tags: [EntryTag] = ["user", "user\u{0}7", "user\u{0}", "K", "\u{212a}", "\u{e9}", "e\u{301}", "\u{10ffff}"]
        for (number, tag) in tags.enumerated() {
            _ = fixture.tier.enqueue(.tag(1, tag: tag, Watermark(goneBefore: Version(number + 1))))
        }
        try fixture.reopen()
        let found = fixture.tier.persistedState().tags.sorted { $0.watermark.goneBefore < $1.watermark.goneBefore }
        #expect(found.map { $0.tag } == tags)
        #expect(found.map { Array($0.tag.text.utf8) } == tags.map { Array($0.text.utf8) })
    }

    @Test("reserved versions only grow")
    func versions() throws {
        let fixture = try Fixture()
        #expect(fixture.tier.persistedState().versionCeiling == 1)
        for ceiling in [1000, 5000, 4000] as [Version] {
            let done = BlockingAnswer<TierFault?>()
            fixture.tier.reserveVersions(below: ceiling) { done.answer($0) }
            #expect(done.wait() == nil)
        }
        #expect(try fixture.number("SELECT value FROM state WHERE name = 'version_ceiling'") == 5000)
        try fixture.reopen()
        #expect(fixture.tier.persistedState().versionCeiling == 5000)
    }

    @Test("the hash seed is drawn once, and differs between folders")
    func seed() throws {
        let fixture = try Fixture()
        let seed = fixture.tier.persistedState().hashSeed
        try fixture.reopen()
        #expect(fixture.tier.persistedState().hashSeed == seed)
        #expect(try Fixture().tier.persistedState().hashSeed != seed)
    }

    @Test("the clock's anchor is written with commits and at the end")
    func anchor() throws {
        let fixture = try Fixture()
        #expect(fixture.tier.persistedState().clockAnchor == nil)
        fixture.tier.close()
        let boot = Shared<Int64>(5000)
        let readings = ClockReadings(
            bootID: "boot",
            bootMilliseconds: { boot.value },
            wallMilliseconds: { 1_000_000 + boot.value }
        )
        func open() throws -> DiskTier {
            let tier = try DiskTier.open(folder: fixture.folder, logger: Fixture.logger)
            tier.start(delegate: fixture.delegate, clock: ServiceClock(readings: readings, resuming: nil))
            return tier
        }
        let first = try open()
        boot.value = 6000
        first.close()
        let second = try open()
        #expect(
            second.persistedState().clockAnchor
                == ClockAnchor(
                    bootID: "boot",
                    bootMilliseconds: 6000,
                    wallMilliseconds: 1_006_000,
                    serviceMilliseconds: 1_006_000
                )
        )
        second.close()
    }

    @Test("the hot set is read back in its order, without what is gone or newer in the queue")
    func hotSet() throws {
        let fixture = try Fixture { $0.lingerMilliseconds = 3_600_000 }
        #expect(fixture.loadHotSet().isEmpty)
        let entries = (0..<1000).map { ("\($0)", fixture.entry("value \($0)")) }
        for (key, entry) in entries { fixture.put(key, entry) }
        let hot = stride(from: 999, through: 0, by: -3).map { $0 }
        fixture.tier.saveHotSet([1, 2, 3])
        fixture.tier.saveHotSet(hot.map { fixture.address("\($0)").hash } + [12345])
        fixture.delete("996")
        try fixture.reopen()
        fixture.put("993", fixture.entry("newer"))
        let loaded = fixture.loadHotSet()
        let expected = hot.filter { $0 != 996 && $0 != 993 }
        #expect(loaded.map { String(decoding: $0.0.key, as: UTF8.self) } == expected.map { "\($0)" })
        #expect(loaded.map { $0.1 } == expected.map { entries[$0].1 })
        #expect(loaded.allSatisfy { $0.0 == fixture.address(String(decoding: $0.0.key, as: UTF8.self)) })
    }

    @Test("the loading of the hot set ends when its taker has enough")
    func hotSetEnds() throws {
        let fixture = try Fixture()
        for number in 0..<1000 { fixture.put("\(number)", fixture.entry("v")) }
        fixture.tier.saveHotSet((0..<1000).map { fixture.address("\($0)").hash })
        try fixture.reopen()
        let batches = Shared(0)
        let done = BlockingAnswer<Bool>()
        fixture.tier.loadHotSet { _ in
            batches.update { $0 += 1 }
            return false
        } completion: {
            done.answer(true)
        }
        _ = done.wait()
        #expect(batches.value == 1)
    }
}
