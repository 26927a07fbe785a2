import CPantler
import Glibc
import PantlerModel
import Support
import Synchronization
import Testing

@testable import PantlerDisk

/// Whether the folder of the tests lies on a file system that knows RWF_NOWAIT.
private let cachedReadsAreSupported: Bool = {
    guard let directory = try? TemporaryDirectory() else { return false }
    let file = open(directory.file("probe"), O_RDWR | O_CREAT, 0o600)
    defer { close(file) }
    var byte: UInt8 = 1
    guard write(file, &byte, 1) == 1 else { return false }
    pantler_set_reads_wait(false)
    defer { pantler_set_reads_wait(true) }
    return pantler_pread(file, &byte, 1, 0) == 1
}()

@Suite(
    "Reads on the thread that asks",
    .enabled(if: cachedReadsAreSupported, "the file system cannot say what is cached")
)
struct CachedReadsTests {
    private func reads(_ fixture: Fixture) throws -> CachedReads {
        try CachedReads(path: fixture.file, fixture.options)
    }

    private func value(_ answer: CachedReads.CachedAnswer) -> [UInt8]? {
        if case .read(let entry?) = answer { entry.value } else { nil }
    }

    private func isUnknown(_ answer: CachedReads.CachedAnswer) -> Bool {
        if case .unknown = answer { true } else { false }
    }

    @Test("what is cached is there when the call returns, plain or deflated, as is what is not there at all")
    func inPlace() throws {
        let fixture = try Fixture()
        let deflatable = [UInt8](repeating: 7, count: CachedReads.largestValue)
        fixture.put("plain", fixture.entry("1"))
        fixture.put("deflated", fixture.entry(deflatable))
        try fixture.tier.flush()
        let reads = try reads(fixture)
        #expect(value(reads.entry(namespace: 1, key: Array("plain".utf8))) == Array("1".utf8))
        #expect(value(reads.entry(namespace: 1, key: Array("deflated".utf8))) == deflatable)
        if case .read(nil) = reads.entry(namespace: 1, key: Array("none".utf8)) {
        } else {
            Issue.record("none was found")
        }

        let thread = pthread_self()
        let answeredHere = Mutex(false)
        fixture.tier.read(fixture.address("plain")) { _ in answeredHere.withLock { $0 = pthread_self() == thread } }
        #expect(answeredHere.withLock { $0 })
    }

    @Test("a large value is read elsewhere")
    func large() throws {
        let fixture = try Fixture()
        let large = [UInt8](repeating: 7, count: CachedReads.largestValue + 1)
        fixture.put("large", fixture.entry(large))
        try fixture.tier.flush()
        #expect(isUnknown(try reads(fixture).entry(namespace: 1, key: Array("large".utf8))))
        #expect(try fixture.read("large")?.value == large)
    }

    @Test("what would have to come from the disk is not waited for, and is read in place once it is cached")
    func notCached() throws {
        let fixture = try Fixture()
        let value = [UInt8](repeating: 7, count: 1000)
        for number in 0..<3000 { fixture.put("k\(number)", fixture.entry(value), threshold: .max) }
        try fixture.reopen()
        // It has read the schema by now, and nothing of the entries.
        let reads = try reads(fixture)
        let file = open(fixture.file, O_RDONLY)
        // Not closed before the end: with it would go the locks that SQLite has on the file.
        defer { close(file) }
        try #require(fsync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0)
        let key = Array("k1500".utf8)
        #expect(isUnknown(reads.entry(namespace: 1, key: key)))
        var piece = [UInt8](repeating: 0, count: 1 << 20)
        while read(file, &piece, piece.count) > 0 {}
        #expect(self.value(reads.entry(namespace: 1, key: key)) == value)
    }

    @Test("damage is met again elsewhere")
    func damage() throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry("1"))
        try fixture.tier.flush()
        try fixture.sql("UPDATE entries SET checksum = checksum + 1")
        #expect(isUnknown(try reads(fixture).entry(namespace: 1, key: Array("k".utf8))))
    }

    @Test("many threads read what is there")
    func threads() async throws {
        let fixture = try Fixture { $0.cachedReads = 2 }
        for number in 0..<100 { fixture.put("k\(number)", fixture.entry("\(number)")) }
        try fixture.tier.flush()
        let reads = try reads(fixture)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for number in 0..<100 {
                        let answer = reads.entry(namespace: 1, key: Array("k\(number)".utf8))
                        if isUnknown(answer) { continue }
                        #expect(value(answer) == Array("\(number)".utf8))
                    }
                }
            }
        }
    }

    @Test("after the end nothing is read here")
    func closed() throws {
        let fixture = try Fixture()
        fixture.put("k", fixture.entry("1"))
        try fixture.tier.flush()
        let reads = try reads(fixture)
        reads.close()
        #expect(isUnknown(reads.entry(namespace: 1, key: Array("k".utf8))))
    }

    @Test("only so many are made in a millisecond")
    func budget() {
        var budget = ReadBudget()
        let taken = (0..<ReadBudget.reads + 5).filter { _ in budget.takeOne(at: 5 << 20) }
        #expect(taken.count == ReadBudget.reads)
        let isTakenLater = [(5 << 20) + 1_000_000, 6 << 20].map { budget.takeOne(at: $0) }
        #expect(isTakenLater == [false, true])
    }
}
