import Foundation
import PantlerInsight
import Support
import Testing

@Suite("Process figures")
struct ProcessFiguresTests {
    @Test("they are those of this process")
    func figures() throws {
        let figures = ProcessFigures()
        let resident = try #require(figures.residentBytes)
        let virtual = try #require(figures.virtualBytes)
        #expect(resident > 1 << 20 && resident < virtual)
        #expect(try #require(figures.maxFiles) >= 64)
        let start = try #require(figures.startSeconds)
        // Ticks of a hundredth of a second, counted from a boot time that is rounded to seconds.
        #expect(start > Date().timeIntervalSince1970 - 86_400 && start < Date().timeIntervalSince1970 + 2)
    }

    @Test("CPU time grows with work")
    func cpu() throws {
        let before = try #require(ProcessFigures().cpuSeconds)
        var sum: UInt64 = 0
        var last = before
        while last == before {
            for number in 0..<100_000 as Range<UInt64> { sum &+= number &* sum }
            last = try #require(ProcessFigures().cpuSeconds)
        }
        #expect(last > before, "\(sum)")
    }

    @Test("an open file counts, and the one that counts them does not")
    func openFiles() throws {
        // Other tests of this process open files of their own: far more of ours than they could have.
        let before = try #require(ProcessFigures().openFiles)
        let folder = try TemporaryDirectory()
        defer { folder.remove() }
        let handles = try (0..<200).map { number in
            try FileHandle(forReadingFrom: URL(fileURLWithPath: folder.write("x", to: "\(number)")))
        }
        let during = try #require(ProcessFigures().openFiles)
        #expect(during >= before + 150 && during <= before + 250)
        for handle in handles { try handle.close() }
    }
}
