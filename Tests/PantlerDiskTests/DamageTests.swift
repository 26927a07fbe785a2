import Glibc
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Damage on disk")
struct DamageTests {
    /// Each changes one thing that an entry consists of.
    static let damages = [
        "value = CAST('abc' AS BLOB)", "value = CAST('' AS BLOB)", "version = version + 1", "expires_at = 5",
        "stale_ttl = 5", "size = size + 1", "form = 1 - form", "form = 9", "checksum = checksum + 1",
        "media_type = 'a/b'", "tags = CAST('xyz' AS BLOB)", "tags = NULL", "namespace = 2", "value = 7",
    ]

    @Test("a row that is not what was written is a fault, counted, and gone the next time", arguments: damages)
    func damagedRow(damage: String) throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry([UInt8](repeating: 1, count: 2000), tags: ["t"]))
        fixture.put("other", fixture.entry("fine"), in: 3)
        try fixture.tier.flush()
        try fixture.sql("UPDATE entries SET \(damage) WHERE namespace = 1")
        let namespace: NamespaceID = damage == "namespace = 2" ? 2 : 1
        // Of another namespace's key the tier has to hear first, and walks over all keys at its start.
        if namespace == 2 { try fixture.reopen() }
        #expect { try fixture.read("k", in: namespace) } throws: { ($0 as? TierFault)?.cause == .corrupt }
        try fixture.tier.flush()
        #expect(try fixture.read("k", in: namespace) == nil)
        #expect(try fixture.value("other", in: 3) == "fine")
        let health = fixture.tier.health()
        #expect(health.corruptions == 1)
        #expect(health.readFaults == 1)
        #expect(health.fault == nil)
        #expect(try fixture.number("SELECT count(*) FROM entries") == 1)
    }

    @Test("a damaged row that was rewritten meanwhile stays")
    func rewritten() throws {
        let fixture = try Fixture { $0.lingerMilliseconds = 3_600_000 }
        fixture.put("k", fixture.entry("first"))
        try fixture.tier.flush()
        try fixture.sql("UPDATE entries SET value = CAST('worst' AS BLOB)")
        #expect(throws: TierFault.self) { _ = try fixture.read("k") }
        fixture.put("k", fixture.entry("second"))
        try fixture.tier.flush()
        #expect(try fixture.value("k") == "second")
        try fixture.reopen()
        #expect(try fixture.value("k") == "second")
        #expect(fixture.tier.usage(of: 1).entries == 1)
    }

    /// Overwrites pages of the closed file from the middle on.
    private func scribble(_ fixture: Fixture, pages: Range<Int>) throws {
        let file = Glibc.open(fixture.file, O_RDWR)
        try #require(file >= 0)
        defer { close(file) }
        let noise = [UInt8](repeating: 0x5a, count: 4096)
        for page in pages { try #require(pwrite(file, noise, 4096, off_t(page * 4096)) == 4096) }
    }

    @Test(
        "damaged pages are a fault of the tier once one is met: the rest is read and written, and nothing called durable"
    )
    func damagedPages() throws {
        let fixture = try Fixture { $0.journaledChanges = .max }
        for number in 0..<2000 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        fixture.tier.close()
        for table in ["entries", "entries_key"] {
            let leaf = try fixture.number(
                "SELECT pageno FROM dbstat WHERE name = '\(table)' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 5"
            )
            try scribble(fixture, pages: Int(leaf) - 1..<Int(leaf))
        }
        try fixture.open()
        var faults = 0
        var found = 0
        for number in 0..<2000 {
            do {
                let value = try fixture.value("\(number)")
                if value != nil { found += 1 }
                #expect(value == nil || value == "value \(number)")
            } catch let fault as TierFault {
                #expect(fault.cause == .corrupt)
                faults += 1
            }
        }
        #expect(faults > 0)
        #expect(found > 1000)
        #expect(fixture.tier.health().corruptions == UInt64(faults))
        #expect(fixture.tier.health().fault?.cause == .corrupt)
        let results = (0..<20).map { fixture.putThrough("\($0 * 10) new", fixture.entry("v")) }
        #expect(!results.contains { $0 == nil })
        #expect(try fixture.value("0 new") == nil)
        // Other writes go on, but for those that meet a damaged page.
        for number in 0..<200 { fixture.put("\(number * 10) newer", fixture.entry("v")) }
        try eventually("they are written") { fixture.tier.health().queueEntries == 0 }
        #expect((0..<200).contains { (try? fixture.value("\($0 * 10) newer")) == "v" })
        #expect(try !FolderCheck.run(folder: fixture.folder).isSound)
    }

    @Test("eviction goes on behind damaged pages")
    func evictionGoesOn() throws {
        let fixture = try Fixture { $0.journaledChanges = .max }
        for number in 0..<3000 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        fixture.tier.close()
        let pages = Int(DatabaseFile.bytes(of: fixture.file) / 4096)
        try scribble(fixture, pages: pages / 2..<pages / 2 + 2)
        fixture.options.maxBytes = 100_000
        try fixture.open()
        let before = fixture.tier.usage(of: 1).entries
        try eventually("rows leave") { fixture.tier.usage(of: 1).entries < before / 2 }
    }

    @Test("void rows that damage keeps in the file stay void")
    func voidStays() throws {
        let fixture = try Fixture { $0.journaledChanges = .max }
        for number in 0..<3000 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        fixture.tier.close()
        try fixture.sql("INSERT INTO voids VALUES (1, 3000, row_checksum('voids', 1, 3000))")
        let pages = Int(DatabaseFile.bytes(of: fixture.file) / 4096)
        try scribble(fixture, pages: pages / 2..<pages / 2 + 2)
        for _ in 0..<2 {
            try fixture.open()
            try fixture.tier.tidy()
            for number in 0..<3000 {
                do {
                    #expect(try fixture.read("\(number)") == nil)
                } catch let fault as TierFault {
                    #expect(fault.cause == .corrupt)
                }
            }
            #expect(try fixture.number("SELECT count(*) FROM voids") == 1)
            fixture.tier.close()
        }
    }

    @Test("void rows of which some cannot be removed stay void, and the others go")
    func someVoidStay() throws {
        let fixture = try Fixture()
        for number in 0..<20 {
            fixture.put("\(number)", fixture.entry("v", ttl: number % 2 == 0 ? 1_000_000 : nil))
        }
        fixture.tier.close()
        try fixture.sql("INSERT INTO voids VALUES (1, 20, row_checksum('voids', 1, 20))")
        // Rows that expire have a place in this index, and cannot leave it.
        let root = try fixture.number("SELECT rootpage FROM sqlite_schema WHERE name = 'entries_due'")
        try scribble(fixture, pages: Int(root - 1)..<Int(root))
        try fixture.open()
        try eventually("the others go") { fixture.tier.usage(of: 1).entries == 10 }
        // Steps of house-keeping and of jobs take turns.
        for _ in 0..<3 { _ = try fixture.removePrefix("", in: 9) }
        for number in 0..<20 { #expect(try fixture.read("\(number)") == nil, "\(number)") }
        #expect(try fixture.number("SELECT count(*) FROM voids") == 1)
    }

    @Test("a damaged first page is refused at the start, with what to do")
    func damagedHeader() throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry("v"))
        fixture.tier.close()
        try scribble(fixture, pages: 0..<1)
        let error = #expect(throws: DiskOpenError.self) { try fixture.open() }
        #expect(error?.description.contains("Move the file away") == true)
    }

    @Test("a check counts what is there and finds nothing wrong with it, served or not")
    func soundCheck() throws {
        let fixture = try Fixture()
        for number in 0..<100 { fixture.put("\(number)", fixture.entry([UInt8](repeating: 1, count: number * 40))) }
        _ = fixture.tier.enqueue(.namespace(try fixture.record(1, "one")))
        try fixture.tier.flush()
        for _ in 0..<2 {
            let report = try FolderCheck.run(folder: fixture.folder)
            #expect(report.isSound, "\(report.findings)")
            #expect(report.entries == 100)
            #expect(report.deflated == 74)
            #expect(report.bytes == fixture.tier.usage(of: 1).bytes)
            #expect(report.namespaces == 1)
            #expect(report.schemaVersion == Schema.current)
            fixture.tier.close()
        }
    }

    @Test("a check finds damaged rows and wrong sums, and changes nothing")
    func findings() throws {
        let fixture = try Fixture()
        for number in 0..<100 { fixture.put("\(number)", fixture.entry("v")) }
        fixture.tier.close()
        try fixture.sql("UPDATE entries SET version = version + 1000 WHERE id % 4 = 0")
        try fixture.sql(
            "UPDATE usage SET entries = entries + 3, checksum = row_checksum('usage', namespace, entries + 3, bytes)"
        )
        let before = contents(of: fixture.file)
        let report = try FolderCheck.run(folder: fixture.folder)
        #expect(report.damagedRows == 25)
        #expect(!report.isSound)
        #expect(report.findings.count == 21)
        #expect(report.findings.last == "Namespace 1: the usage is off by 3 entries and 0 bytes.")
        #expect(contents(of: fixture.file) == before)
        let nowhere = try TemporaryDirectory()
        defer { nowhere.remove() }
        #expect(throws: DiskOpenError.noData(path: nowhere.file(DiskTier.fileName))) {
            try FolderCheck.run(folder: nowhere.path)
        }
    }
}
