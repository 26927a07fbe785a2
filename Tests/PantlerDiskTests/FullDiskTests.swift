import Glibc
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

/// A file system of a few MiB in memory, for as long as the object lives. Needs the right to mount.
private final class SmallDisk {
    let directory: TemporaryDirectory

    init(mebibytes: Int) throws {
        directory = try TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=\(mebibytes)m") == 0 else {
            throw Failure("cannot mount: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        umount2(directory.path, Int32(MNT_DETACH))
    }

    static let isPossible = (try? SmallDisk(mebibytes: 1)) != nil
}

@Suite("A disk that is really full", .enabled(if: SmallDisk.isPossible, "mounting is not allowed"))
struct FullDiskTests {
    @Test("through writes are refused, reads and the queue go on, and all is well once there is room")
    func full() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let folder = disk.directory.file("data")
        let fixture = try Fixture(folder: folder)
        var random = SeededGenerator()
        var kept: [String: Entry] = [:]
        var fault: TierFault?
        var number = 0
        while fault == nil, number < 400 {
            let entry = fixture.entry(random.bytes(50_000))
            fault = fixture.putThrough("\(number)", entry)
            if fault == nil { kept["\(number)"] = entry }
            number += 1
        }
        #expect(fault?.cause == .full, "\(String(describing: fault))")
        #expect(kept.count > 10)
        #expect(try fixture.read("\(number - 1)") == nil)
        for (key, entry) in kept { #expect(try fixture.read(key) == entry) }
        // A large one: a checkpoint may have made room for what was refused just now.
        let waiting = fixture.entry(random.bytes(6_000_000))
        fixture.put("waiting", waiting)
        #expect(throws: TierFault.self) { try fixture.tier.flush() }
        #expect(fixture.tier.health().fault?.cause == .full)
        #expect(try fixture.read("waiting") == waiting)
        // Someone makes room.
        let flags = UInt(MS_REMOUNT)
        try #require(mount("tmpfs", disk.directory.path, "tmpfs", flags, "size=32m") == 0)
        try eventually("it writes again") { fixture.tier.health().fault == nil }
        try fixture.tier.flush()
        kept["waiting"] = waiting
        try fixture.reopen()
        for (key, entry) in kept { #expect(try fixture.read(key) == entry) }
        #expect(fixture.tier.health().lostWrites == 0)
        #expect(try FolderCheck.run(folder: folder).findings == [])
        fixture.tier.close()
    }

    /// Fills the disk over values that are on it already, and writes these again, more often than may wait. Returns how many.
    private func overflow(_ fixture: Fixture) throws -> Int {
        let count = 300
        for number in 0..<count { fixture.put("\(number)", fixture.entry("old")) }
        #expect(fixture.putThrough("elsewhere", fixture.entry("kept"), in: 2) == nil)
        var random = SeededGenerator()
        var refused = 0
        for number in 0..<1000 where refused < 10 {
            let value = random.bytes(refused == 0 ? 50_000 : 300)
            if fixture.putThrough("filler/\(number)", fixture.entry(value), in: 3) != nil { refused += 1 }
        }
        #expect(refused == 10)
        for number in 0..<count {
            #expect(fixture.settle(fixture.put("\(number)", fixture.entry("\(number)")), .behind) == nil)
        }
        return count
    }

    /// The keys that have neither their last value nor none.
    private func outdated(_ fixture: Fixture, _ count: Int) throws -> [Int] {
        let listed = try fixture.list().filter { $0.size == 3 && $0.version <= count }
        #expect(listed.isEmpty, "\(listed.count) listed")
        return try (0..<count).filter { number in
            let value = try fixture.value("\(number)")
            return value != nil && value != "\(number)"
        }
    }

    @Test(
        "what was given up is missing later, and nothing older is seen in its place: at once, with room, after a restart"
    )
    func givenUp() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data")) { $0.queueEntries = 40 }
        let count = try overflow(fixture)
        // Not `count - 40`: the log may have had room for some.
        #expect(fixture.tier.health().lostWrites > 40)
        #expect(try outdated(fixture, count).isEmpty)
        try #require(mount("tmpfs", disk.directory.path, "tmpfs", UInt(MS_REMOUNT), "size=32m") == 0)
        try eventually("it writes again") { fixture.tier.health().fault == nil }
        #expect(try outdated(fixture, count).isEmpty)
        try fixture.reopen()
        #expect(try outdated(fixture, count).isEmpty)
        try fixture.tier.tidy()
        #expect(try outdated(fixture, count).isEmpty)
        #expect(try fixture.keys().count > 0, "the newest were kept")
        #expect(try fixture.value("elsewhere", in: 2) == "kept")
        #expect(try fixture.number("SELECT count(*) FROM voids") == 0)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
        fixture.tier.close()
    }

    /// Fills the disk by puts that somebody waits for, until none of any size finds room.
    private func fill(_ fixture: Fixture) throws -> [String] {
        var random = SeededGenerator()
        var kept: [String] = []
        var refused = 0
        for number in 0..<2000 where refused < 10 {
            let value = random.bytes(refused == 0 ? 50_000 : 300)
            if fixture.putThrough("filler/\(number)", fixture.entry(value)) == nil {
                kept.append("filler/\(number)")
            } else {
                refused += 1
            }
        }
        #expect(refused == 10)
        #expect(kept.count > 10)
        return kept
    }

    @Test("on a full disk deletes, invalidations and policies are written, and puts are not")
    func freeing() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data"))
        let kept = try fill(fixture)
        for key in kept.prefix(5) { #expect(fixture.settle(fixture.delete(key)) == nil) }
        let mark = Watermark(goneBefore: fixture.nextVersion())
        #expect(fixture.settle(fixture.tier.enqueue(.tag(1, tag: "t", mark))) == nil)
        #expect(fixture.settle(fixture.tier.enqueue(.namespace(try fixture.record(7, "seven")))) == nil)
        #expect(fixture.putThrough("refused", fixture.entry("v"))?.cause == .full)
        #expect(fixture.tier.health().fault?.cause == .full)
        fixture.tier.close()
        try fixture.open()
        for key in kept.prefix(5) { #expect(try fixture.read(key) == nil) }
        #expect(fixture.tier.persistedState().namespaces.count == 1)
        #expect(fixture.tier.persistedState().tags.count == 1)
    }

    @Test("what is deleted on a full disk makes room by itself, for puts too")
    func recovering() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data"))
        _ = try fill(fixture)
        #expect(try fixture.removePrefix("filler/") > 10)
        try eventually(within: 30, "it writes again") { fixture.tier.health().fault == nil }
        var random = SeededGenerator()
        #expect(fixture.putThrough("again", fixture.entry(random.bytes(100_000))) == nil)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a prefix is removed on a full disk although what came before waits for the room that it makes")
    func freeingForTheQueue() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data"))
        _ = try fill(fixture)
        var random = SeededGenerator()
        let waiting = fixture.entry(random.bytes(100_000))
        fixture.put("waiting", waiting)
        // As long as that waits, the removal is not over: whoever asked for it comes again.
        try eventually(within: 30, "it writes again") {
            _ = try? fixture.removePrefix("filler/")
            return fixture.tier.health().fault == nil
        }
        try fixture.reopen()
        #expect(try fixture.read("waiting") == waiting)
        #expect(try fixture.removePrefix("filler/") == 0)
    }

    @Test(
        "a start on a disk that became full meanwhile is one with a fault, reads all the same, and ends it when there is room"
    )
    func startOnFull() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data"))
        let entry = fixture.entry("v")
        #expect(fixture.putThrough("k", entry) == nil)
        fixture.tier.close()
        let filler = open(disk.directory.file("filler"), O_CREAT | O_WRONLY, 0o600)
        let piece = [UInt8](repeating: 1, count: 4096)
        while write(filler, piece, piece.count) == piece.count {}
        close(filler)
        try fixture.open()
        #expect(try fixture.read("k") == entry)
        #expect(fixture.settle(fixture.tier.enqueue(.namespace(try fixture.record(7, "seven")))) == nil)
        #expect(fixture.putThrough("refused", fixture.entry("v"))?.cause == .full)
        #expect(fixture.tier.health().fault?.cause == .full)
        try remove(disk.directory.file("filler"))
        try eventually(within: 10, "it writes again") { fixture.tier.health().fault == nil }
        #expect(fixture.putThrough("taken", fixture.entry("v")) == nil)
    }

    @Test("a start after a stop on a full disk is one, although others took all that was left meanwhile")
    func startAfterStopOnFull() throws {
        let disk = try SmallDisk(mebibytes: 8)
        let fixture = try Fixture(folder: disk.directory.file("data"))
        let kept = try fill(fixture)
        fixture.tier.close()
        let filler = open(disk.directory.file("filler"), O_CREAT | O_WRONLY, 0o600)
        let piece = [UInt8](repeating: 1, count: 4096)
        while write(filler, piece, piece.count) == piece.count {}
        close(filler)
        try fixture.open()
        #expect(try fixture.read(kept[0]) != nil)
        // The fault is there once something was to be written, which a start need not have had.
        #expect(fixture.putThrough("refused", fixture.entry("v"))?.cause == .full)
        #expect(fixture.tier.health().fault?.cause == .full)
        try remove(disk.directory.file("filler"))
        #expect(try fixture.removePrefix("filler/") > 10)
        try eventually(within: 30, "it writes again") { fixture.tier.health().fault == nil }
        #expect(fixture.putThrough("taken", fixture.entry("v")) == nil)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a start in an empty folder on a full disk is refused with the reason")
    func start() throws {
        let disk = try SmallDisk(mebibytes: 1)
        try disk.directory.write(String(repeating: "x", count: 1 << 20), to: "filler")
        let error = #expect(throws: DiskOpenError.self) {
            _ = try DiskTier.open(folder: disk.directory.path, logger: Fixture.logger)
        }
        guard case .full = error else { throw Failure("\(String(describing: error))") }
    }

    @Test("a start on a read-only file system is refused with the reason")
    func readOnly() throws {
        let disk = try SmallDisk(mebibytes: 1)
        let flags = UInt(MS_REMOUNT | MS_RDONLY)
        try #require(mount("tmpfs", disk.directory.path, "tmpfs", flags, nil) == 0)
        let error = #expect(throws: DiskOpenError.self) {
            _ = try DiskTier.open(folder: disk.directory.path, logger: Fixture.logger)
        }
        guard case .notAllowed = error else { throw Failure("\(String(describing: error))") }
        #expect(error?.description.contains("Read-only file system") == true)
    }

    @Test("a folder that cannot be made on a read-only file system is refused with that reason")
    func readOnlyParent() throws {
        let disk = try SmallDisk(mebibytes: 1)
        let flags = UInt(MS_REMOUNT | MS_RDONLY)
        try #require(mount("tmpfs", disk.directory.path, "tmpfs", flags, nil) == 0)
        let folder = disk.directory.file("a/b")
        let error = #expect(throws: DiskOpenError.self) {
            _ = try DiskTier.open(folder: folder, logger: Fixture.logger)
        }
        #expect(error == .noFolder(path: folder, reason: "Read-only file system"))
    }
}
