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

    @Test("open files are those that are open, without the one that counts them")
    func openFiles() throws {
        // Tests beside this one open and close files of their own: sooner or later both counts fall into a quiet moment.
        try eventually("the descriptors that answer are as many as are told") {
            ProcessFigures().openFiles == (0..<4096).count { fcntl($0, F_GETFD) >= 0 }
        }
    }
}
