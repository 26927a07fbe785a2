import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("What the parts of a data folder may take")
struct FolderBoundsTests {
    @Test(
        "they fit into the whole together",
        arguments: [1 << 20, 5 << 20, 20 << 20, 300 << 20, 10 << 30, 1 << 50] as [Int64]
    )
    func sum(maxBytes: Int64) {
        let bounds = FolderBounds(maxBytes: maxBytes, DiskOptions())
        let step = Int64(bounds.stepChanges) * 2 * 4096
        let sum = bounds.fileBytes + bounds.mostLogBytes + bounds.ballastBytes + min(step, 16 << 20)
        #expect(sum <= maxBytes)
        #expect(bounds.usedBytes > maxBytes * 6 / 10)
        #expect(bounds.usedBytes < bounds.fileBytes)
        #expect(bounds.logBytes <= DiskOptions().walBytes)
        #expect(bounds.commitBytes > 0)
    }

    @Test("a large bound leaves all sizes as they were chosen, and none leaves the rest unbounded")
    func large() {
        let options = DiskOptions()
        for maxBytes in [10 << 30, Int64.max] {
            let bounds = FolderBounds(maxBytes: maxBytes, options)
            #expect(bounds.logBytes == options.walBytes)
            #expect(bounds.journalBytes == options.journalBytes)
        }
        #expect(FolderBounds(maxBytes: .max, options).fileBytes == .max)
    }

    /// Bytes of all files in a folder. Of some looks the smallest: what one file gave up and another took in the middle of a look is in it
    /// twice, which on a busy machine happens to two looks in a row. What is too much is too much in each of them.
    private func bytes(of folder: String) -> Int64 {
        func look() -> Int64 { names(in: folder).reduce(0) { $0 + DatabaseFile.bytes(of: folder + "/" + $1) } }
        return (0..<5).map { _ in look() }.min() ?? 0
    }

    @Test(
        "the folder stays within its bound while much is written",
        arguments: [(2, 500), (4, 3000), (20, 100_000)]
    )
    func whileWriting(mebibytes: Int64, size: Int) throws {
        let bound = mebibytes << 20
        let fixture = try Fixture {
            $0.maxFolderBytes = bound
            $0.maxBytes = bound
        }
        var random = SeededGenerator()
        var largest: Int64 = 0
        var written: Int64 = 0
        var number = 0
        while written < bound * 2 {
            let ticket = fixture.put("key/\(number)", fixture.entry(random.bytes(size)))
            number += 1
            written += Int64(size) + 100
            if number % 16 == 0 { _ = fixture.settle(ticket, .behind) }
            largest = max(largest, bytes(of: fixture.folder))
        }
        try fixture.tier.flush()
        largest = max(largest, bytes(of: fixture.folder))
        #expect(largest <= bound, "\(largest >> 10) KiB")
        try fixture.tier.tidy()
        let kept = fixture.tier.usage(of: 1).bytes
        #expect(kept > bound / 3, "\(kept >> 10) KiB are left")
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test(
        "it stays within its bound while a tier closes that has much to write still",
        arguments: [300, 3000, 100_000]
    )
    func whileClosing(size: Int) throws {
        let bound: Int64 = 4 << 20
        let fixture = try Fixture {
            $0.maxFolderBytes = bound
            $0.maxBytes = bound
            // Nothing is committed before the end.
            $0.lingerMilliseconds = 600_000
        }
        var random = SeededGenerator()
        let count = Int(bound) * 3 / (size + 300)
        for number in 0..<count { fixture.put("key/\(number)", fixture.entry(random.bytes(size))) }
        fixture.tier.close()
        #expect(bytes(of: fixture.folder) <= bound, "\(bytes(of: fixture.folder) >> 10) KiB")
        try fixture.open()
        #expect(fixture.tier.usage(of: 1).bytes > bound / 3)
        // What came last is there.
        #expect(try fixture.head("key/\(count - 1)") != nil)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a smaller bound takes effect while it serves: rows leave, and the file gives back what they took")
    func lowered() throws {
        let fixture = try Fixture()
        var random = SeededGenerator()
        for number in 0..<500 { fixture.put("key/\(number)", fixture.entry(random.bytes(20_000))) }
        try fixture.tier.flush()
        #expect(bytes(of: fixture.folder) > 8 << 20)
        fixture.tier.setMaxFolderBytes(4 << 20)
        try eventually(within: 60, "the folder shrinks") { bytes(of: fixture.folder) <= 4 << 20 }
        #expect(fixture.tier.usage(of: 1).bytes > 2 << 20)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }
}
