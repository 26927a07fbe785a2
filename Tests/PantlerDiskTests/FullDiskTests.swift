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
        let waiting = fixture.entry(random.bytes(50_000))
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

    @Test("a start on a full disk is refused with the reason")
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
}
