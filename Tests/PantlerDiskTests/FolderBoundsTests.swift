import Glibc
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
        // A file of `fileBytes` is rounded up to the next chunk.
        let sum = bounds.fileBytes + bounds.chunkBytes + bounds.longestLogBytes + bounds.ballastBytes
        #expect(sum < maxBytes)
        #expect(bounds.mostLogBytes + min(step, 16 << 20) <= bounds.longestLogBytes)
        // A value of somewhat more than half a page has a page of its own.
        #expect(bounds.commitBytes * 2 <= bounds.growthBytes)
        #expect(bounds.chunkBytes >= 4096 && bounds.chunkBytes % 4096 == 0)
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

    /// Bytes of all files in a folder, while nobody writes in it.
    private func bytes(of folder: String) -> Int64 {
        names(in: folder).reduce(0) { $0 + DatabaseFile.bytes(of: folder + "/" + $1) }
    }

    /// The most bytes that each file of a folder had at any time, as a thread of its own sees it that looks all the while.
    ///
    /// The files cannot be looked at in one moment: what one has given up and another taken meanwhile would be counted twice, and a busy
    /// machine may do that to any number of looks. How large a file is at its largest is no matter of moments. And since each
    /// part of a folder has its own bound, and these fit into the whole together, the largest of each do so as well.
    private final class LargestSizes: Sendable {
        private let largest = Shared<[String: Int64]>([:])
        private let isOver = Shared(false)
        private let looking: BackgroundThreads<Void>

        init(of folder: String) {
            looking = BackgroundThreads(1) { [largest, isOver] _ in
                repeat {
                    for name in names(in: folder) {
                        let bytes = DatabaseFile.bytes(of: folder + "/" + name)
                        largest.update { $0[name] = max($0[name] ?? 0, bytes) }
                    }
                    usleep(500)
                } while !isOver.value
            }
        }

        /// Returns them after a last look.
        func end() throws -> [String: Int64] {
            isOver.value = true
            _ = try looking.join()
            return largest.value
        }
    }

    /// What is written, by the size of the folder and of a value; of how many keys, which are taken at random, or (`nil`) of new ones.
    struct Writing: Sendable, CustomTestStringConvertible {
        let mebibytes: Int64
        let size: Int
        var keys: UInt64?

        var testDescription: String {
            "\(mebibytes) MiB, values of \(size) bytes, \(keys.map(String.init) ?? "new") keys"
        }
    }

    @Test(
        "the folder stays within its bound while much is written, waited for again and again, and as fast as it can be",
        arguments: [
            Writing(mebibytes: 2, size: 500), Writing(mebibytes: 2, size: 100),
            Writing(mebibytes: 2, size: 100, keys: 5000), Writing(mebibytes: 4, size: 3000),
            Writing(mebibytes: 20, size: 100_000),
        ],
        [true, false]
    )
    func whileWriting(_ writing: Writing, isWaitedFor: Bool) throws {
        let bound = writing.mebibytes << 20
        let fixture = try Fixture {
            $0.maxFolderBytes = bound
            $0.maxBytes = bound
        }
        let largest = LargestSizes(of: fixture.folder)
        var random = SeededGenerator()
        var written: Int64 = 0
        var number: UInt64 = 0
        while written < bound * 2 {
            let key = writing.keys.map { random.next() % $0 } ?? number
            let ticket = fixture.put("key/\(key)", fixture.entry(random.bytes(writing.size)))
            number += 1
            written += Int64(writing.size) + 100
            if number % 16 == 0 { _ = fixture.settle(ticket, isWaitedFor ? .through : .behind) }
        }
        try fixture.tier.flush()
        let found = try largest.end()
        let sum = found.values.reduce(0, +)
        #expect(sum <= bound, "\(found)")
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
