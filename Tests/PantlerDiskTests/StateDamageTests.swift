import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Damage in what a start goes by")
struct StateDamageTests {
    /// A closed folder with a namespace, a tag's mark, some entries, and a ceiling of versions.
    private func folder() throws -> Fixture {
        let fixture = try Fixture()
        let reserved = BlockingAnswer<TierFault?>()
        fixture.tier.reserveVersions(below: 5000) { reserved.answer($0) }
        #expect(reserved.wait() == nil)
        _ = fixture.tier.enqueue(.namespace(try fixture.record(1, "one")))
        for number in 0..<20 { fixture.put("\(number)", fixture.entry("v")) }
        _ = fixture.tier.enqueue(.tag(1, tag: "t", Watermark(goneBefore: fixture.nextVersion())))
        fixture.tier.close()
        return fixture
    }

    /// Opens the damaged folder: the damage is counted, and mended in the file.
    private func openMended(_ fixture: Fixture) throws -> PersistedState {
        #expect(try !FolderCheck.run(folder: fixture.folder).isSound)
        try fixture.open()
        #expect(fixture.tier.health().corruptions > 0)
        let state = fixture.tier.persistedState()
        try fixture.tier.flush()
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
        return state
    }

    @Test(
        "a ceiling of versions that is not what was written, or is gone, gives none a second time",
        arguments: ["UPDATE state SET value = 1", "UPDATE state SET value = 12, checksum = NULL", "DELETE FROM state"]
    )
    func ceiling(damage: String) throws {
        let fixture = try folder()
        try fixture.sql("\(damage) WHERE name = 'version_ceiling'")
        try fixture.open()
        #expect(fixture.tier.persistedState().versionCeiling > 1 << 24)
        #expect(try fixture.value("7") == "v")
    }

    @Test("a ceiling below the versions of rows is no ceiling, whatever its checksum says")
    func lowCeiling() throws {
        let fixture = try folder()
        try fixture.sql(
            "UPDATE state SET value = 3, checksum = row_checksum('state', name, 3) WHERE name = 'version_ceiling'"
        )
        try fixture.open()
        #expect(fixture.tier.persistedState().versionCeiling > 1 << 24)
        #expect(fixture.tier.health().corruptions == 1)
    }

    @Test("a damaged usage is counted anew")
    func usage() throws {
        let fixture = try folder()
        let bytes = try fixture.number("SELECT bytes FROM usage")
        try fixture.sql("UPDATE usage SET entries = 1, bytes = 1")
        _ = try openMended(fixture)
        #expect(fixture.tier.usage(of: 1) == TierUsage(entries: 20, bytes: bytes))
    }

    @Test(
        "where a mark is damaged nothing comes back that it may have ended: the namespace is empty, and there",
        arguments: [
            "UPDATE tags SET gone_before = 0", "UPDATE tags SET tag = 'u'",
            "UPDATE namespaces SET gone_before = gone_before + 1, durability = 'through'",
        ]
    )
    func marks(damage: String) throws {
        let fixture = try folder()
        try fixture.sql(damage)
        let state = try openMended(fixture)
        let record = try #require(state.namespaces.first)
        #expect(record.name.description == "one")
        #expect(record.watermark.goneBefore == state.versionCeiling)
        #expect(state.tags.count == (damage.contains("tags") ? 0 : 1))
    }

    @Test(
        "a damaged token is gone, found by a check, and named in the log by its id alone",
        arguments: [
            "role = 'admin'", "namespaces = '*'", "digest = zeroblob(32)", "expires_at = NULL", "id = 'bbbbbbbb'",
        ]
    )
    func tokens(damage: String) throws {
        let fixture = try folder()
        try fixture.open()
        var token = try fixture.token("aaaaaaaa")
        token.grant.namespaces = [try #require(NamespacePattern("one"))]
        token.expiresAt = 1
        let sound = try fixture.token("cccccccc")
        for record in [token, sound] { _ = fixture.tier.enqueue(.token(record)) }
        fixture.tier.close()
        try fixture.sql("UPDATE tokens SET \(damage) WHERE id = 'aaaaaaaa'")
        let report = try FolderCheck.run(folder: fixture.folder)
        #expect(report.findings == ["Damaged: 1 rows of tokens."])
        #expect(try openMended(fixture).tokens == [sound])
        #expect(try fixture.number("SELECT count(*) FROM tokens") == 1)
    }

    @Test("what is logged of a damaged token has its id, and nothing else of it")
    func damagedTokenText() throws {
        let fixture = try folder()
        try fixture.open()
        let token = try fixture.token("aaaaaaaa", note: "the note")
        #expect(fixture.settle(fixture.tier.enqueue(.token(token), .through)) == nil)
        fixture.tier.close()
        for (id, text) in [("aaaaaaaa", "token 'aaaaaaaa', which is gone"), ("pt_x", "a token, which is gone")] {
            try fixture.sql("UPDATE tokens SET id = '\(id)', last_used_day = 5")
            let restored = try RestoredState(try SQLiteConnection(path: fixture.file, mode: .readWrite))
            #expect(restored.damage == [text])
        }
    }

    @Test("the end of a namespace that is there is not believed")
    func dropped() throws {
        let fixture = try folder()
        try fixture.sql("INSERT INTO dropped VALUES (1, row_checksum('dropped', 1)), (2, 5)")
        try fixture.open()
        try fixture.tier.tidy()
        #expect(fixture.tier.health().corruptions == 2)
        #expect(try fixture.keys().count == 20)
        #expect(try fixture.number("SELECT count(*) FROM dropped") == 0)
    }

    @Test("where it is not known what is void, all is")
    func voids() throws {
        let fixture = try folder()
        try fixture.sql("INSERT INTO voids VALUES (1, 2, 5)")
        try fixture.open()
        #expect(try fixture.keys().isEmpty)
        #expect(try fixture.value("7") == nil)
    }

    @Test("a change whose version is below its row's is refused, told, and counted")
    func outdated() throws {
        let fixture = try folder()
        try fixture.open()
        let entry = Entry(value: [0x31], kind: .json, version: 1, expiresAt: .never)
        let options = PutOptions(compressionThreshold: 1024, compressionLevel: 6)
        let address = fixture.address("7")
        #expect(fixture.settle(fixture.tier.enqueue(.put(address, entry, options), .through))?.cause == .corrupt)
        #expect(fixture.settle(fixture.tier.enqueue(.delete(address, version: 1), .through))?.cause == .corrupt)
        #expect(fixture.tier.health().corruptions == 2)
        _ = fixture.tier.enqueue(.put(address, entry, options))
        try fixture.tier.flush()
        #expect(fixture.tier.health().lostWrites == 1)
        #expect(try fixture.value("7") == "v")
    }
}
