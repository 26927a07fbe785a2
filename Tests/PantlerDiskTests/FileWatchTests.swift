import Glibc
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Files that go away under the tier")
struct FileWatchTests {
    /// What can be done to the files of a running tier.
    enum Harm: String, CaseIterable {
        case fileGone, fileReplaced, logGone, logLinked, indexGone, lockGone, folderMoved, cutToNothing, cutInHalf,
            logCut

        /// Whether what is lost can come back.
        var comesBack: Bool { ![.cutToNothing, .cutInHalf, .logCut].contains(self) }

        func apply(_ fixture: Fixture) throws {
            let (file, aside) = (fixture.file, fixture.file + ".aside")
            switch self {
            case .fileGone: try #require(rename(file, aside) == 0)
            case .fileReplaced:
                try copyFiles(of: fixture.folder, to: fixture.folder + "/..")
                try #require(rename(file, aside) == 0)
                try #require(rename(fixture.folder + "/../" + DiskTier.fileName, file) == 0)
            case .logGone: try #require(rename(file + "-wal", aside) == 0)
            case .logLinked:
                try #require(rename(file + "-wal", aside) == 0)
                try #require(symlink(aside, file + "-wal") == 0)
            case .indexGone: try #require(rename(file + "-shm", aside) == 0)
            case .lockGone: try #require(rename(fixture.folder + "/lock", aside) == 0)
            case .folderMoved: try #require(rename(fixture.folder, fixture.folder + ".aside") == 0)
            case .cutToNothing: try #require(truncate(file, 0) == 0)
            case .cutInHalf: try #require(truncate(file, off_t(DatabaseFile.bytes(of: file) / 2)) == 0)
            case .logCut: try #require(truncate(file + "-wal", 0) == 0)
            }
        }

        func undo(_ fixture: Fixture) throws {
            let (file, aside) = (fixture.file, fixture.file + ".aside")
            switch self {
            case .fileGone, .fileReplaced: try #require(rename(aside, file) == 0)
            case .logGone: try #require(rename(aside, file + "-wal") == 0)
            case .logLinked:
                try #require(unlink(file + "-wal") == 0)
                try #require(rename(aside, file + "-wal") == 0)
            case .indexGone: try #require(rename(aside, file + "-shm") == 0)
            case .lockGone: try #require(rename(aside, fixture.folder + "/lock") == 0)
            case .folderMoved: try #require(rename(fixture.folder + ".aside", fixture.folder) == 0)
            case .cutToNothing, .cutInHalf, .logCut: break
            }
        }
    }

    @Test(
        "is a fault within a second, and nothing is called durable; what comes back goes on",
        arguments: Harm.allCases
    )
    func harm(_ harm: Harm) throws {
        let parent = try TemporaryDirectory()
        defer { parent.remove() }
        let fixture = try Fixture(folder: parent.file("data"))
        for number in 0..<500 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        // Into the file, and then something that only the log has.
        try fixture.tier.flush()
        try fixture.reopen()
        #expect(fixture.putThrough("before", fixture.entry("v")) == nil)
        #expect(fixture.tier.health().fault == nil)
        try harm.apply(fixture)
        try eventually(within: 2, "the fault shows") { fixture.tier.health().fault != nil }
        #expect(fixture.putThrough("meanwhile", fixture.entry("v")) != nil)
        if harm.comesBack {
            #expect(try fixture.value("meanwhile") == nil, "it was taken back")
        } else {
            // A read may meet what was cut off, and fail: found is nothing either way.
            #expect((try? fixture.value("meanwhile")) ?? nil == nil, "it was taken back")
        }
        fixture.put("behind", fixture.entry("v"))
        try harm.undo(fixture)
        guard harm.comesBack else {
            #expect(fixture.putThrough("after", fixture.entry("v")) != nil)
            return
        }
        try eventually("all goes on") { fixture.tier.health().fault == nil }
        #expect(fixture.putThrough("after", fixture.entry("v")) == nil)
        try fixture.reopen()
        for key in ["before", "behind", "after"] { #expect(try fixture.value(key) == "v", "\(key)") }
        #expect(try fixture.value("meanwhile") == nil)
    }

    @Test("a log that was cut short is noticed before more is written behind its end", arguments: [0, 1, 3])
    func cutLog(quarters: Int) throws {
        let fixture = try Fixture()
        for number in 0..<50 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        try fixture.tier.flush()
        try fixture.reopen()
        for number in 0..<20 { #expect(fixture.putThrough("new \(number)", fixture.entry("v")) == nil) }
        let log = fixture.file + "-wal"
        try #require(truncate(log, off_t(DatabaseFile.bytes(of: log) / 4 * Int64(quarters))) == 0)
        #expect(fixture.putThrough("at once", fixture.entry("v")) != nil)
        #expect(fixture.tier.health().fault != nil)
        fixture.put("behind", fixture.entry("v"))
        try fixture.reopen()
        #expect(fixture.tier.health().fault == nil)
        #expect(try fixture.value("7") == "value 7")
        #expect(try fixture.value("at once") == nil)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("what others commit while the log is written anew at a start is not cut off")
    func writtenByOthers() throws {
        let fixture = try Fixture()
        for number in 0..<10 {
            try fixture.reopen()
            try fixture.sql("CREATE INDEX extra\(number) ON entries (size) WHERE size = \(number)")
            #expect(fixture.putThrough("k", fixture.entry("v")) == nil)
            #expect(fixture.tier.health().fault == nil)
        }
        try fixture.reopen()
        #expect(try fixture.number("SELECT count(*) FROM sqlite_master WHERE name LIKE 'extra%'") == 10)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a log that somebody else copied and cut is none")
    func copiedByOthers() throws {
        let fixture = try Fixture()
        #expect(fixture.putThrough("k", fixture.entry("v")) == nil)
        try fixture.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        #expect(DatabaseFile.bytes(of: fixture.file + "-wal") == 0)
        #expect(throws: Never.self) {
            for _ in 0..<8 {
                usleep(100_000)
                #expect(fixture.tier.health().fault == nil)
            }
        }
        #expect(fixture.putThrough("k", fixture.entry("w")) == nil)
    }

    @Test("a log that an outside reader made long is cut back once nobody needs it", arguments: [false, true])
    func longLog(writesGoOn: Bool) throws {
        let fixture = try Fixture { $0.walBytes = 1 << 20 }
        fixture.put("k", fixture.entry("v"))
        try fixture.tier.flush()
        do {
            let reader = try SQLiteConnection(path: fixture.file, mode: .readOnly)
            try reader.execute("BEGIN")
            _ = try reader.integer("SELECT count(*) FROM entries")
            let value = [UInt8](repeating: 0, count: 32 << 10).map { _ in UInt8.random(in: 0...255) }
            for number in 0..<100 { fixture.put("\(number % 20)", fixture.entry(value)) }
            try fixture.tier.flush()
            for number in 0..<100 { fixture.put("\(number % 20)", fixture.entry(value)) }
            try fixture.tier.flush()
            #expect(DatabaseFile.bytes(of: fixture.file + "-wal") > fixture.options.walBytes)
            try reader.execute("COMMIT")
        }
        try eventually("the log is cut back") {
            if writesGoOn { fixture.put("more", fixture.entry("v")) }
            return DatabaseFile.bytes(of: fixture.file + "-wal") <= fixture.options.walBytes
        }
        #expect(fixture.putThrough("k", fixture.entry("w")) == nil)
        #expect(fixture.tier.health().fault == nil)
    }

    @Test(
        "an empty file, or none, beside a log is damage: the start is refused, and so is a check",
        arguments: [true, false]
    )
    func lostBesideLog(isThere: Bool) throws {
        let fixture = try Fixture()
        #expect(fixture.putThrough("k", fixture.entry("v")) == nil)
        let copy = try TemporaryDirectory()
        defer { copy.remove() }
        try copyFiles(of: fixture.folder, to: copy.path)
        let file = copy.file(DiskTier.fileName)
        let log = contents(of: file + "-wal")
        try #require(!log.isEmpty)
        try #require(isThere ? truncate(file, 0) == 0 : unlink(file) == 0)
        let error = #expect(throws: DiskOpenError.self) {
            _ = try DiskTier.open(folder: copy.path, logger: Fixture.logger)
        }
        guard case .damaged = error else { throw Failure("\(String(describing: error))") }
        #expect(error?.description.contains("move") == true)
        #expect(throws: DiskOpenError.self) { _ = try FolderCheck.run(folder: copy.path) }
        #expect(contents(of: file + "-wal") == log)
    }

    @Test("a file that was cut short is damage at the start")
    func cutFile() throws {
        let fixture = try Fixture()
        for number in 0..<500 { fixture.put("\(number)", fixture.entry("value \(number)")) }
        fixture.tier.close()
        let bytes = DatabaseFile.bytes(of: fixture.file)
        try #require(truncate(fixture.file, off_t(bytes / 8192 * 4096)) == 0)
        let error = #expect(throws: DiskOpenError.self) { try fixture.open() }
        guard case .damaged = error else { throw Failure("\(String(describing: error))") }
        #expect(DatabaseFile.bytes(of: fixture.file) == bytes / 8192 * 4096)
    }
}
