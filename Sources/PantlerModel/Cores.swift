internal import CPantler
import Glibc

/// Cores that a thread may run on (sched_setaffinity(2)). A thread begins with those of the one that starts it.
package struct Cores: Sendable, Equatable {
    /// As the system counts them, in rising order.
    package let numbers: [Int]

    /// - Parameter numbers: in rising order.
    package init(_ numbers: [Int]) { self.numbers = numbers }

    /// Those of the calling thread; none where the system does not say.
    package static func ofThisThread() -> Cores {
        var set = cpu_set_t()
        return pantler_get_affinity(0, &set) ? Cores(set) : Cores([])
    }

    /// Those that the process began with. Its first thread, which nothing pins, still has them.
    package static func ofTheProcess() -> Cores {
        var set = cpu_set_t()
        return pantler_get_affinity(getpid(), &set) ? Cores(set) : Cores([])
    }

    private init(_ set: cpu_set_t) {
        self = withUnsafeBytes(of: set) { bytes in
            Cores((0..<bytes.count * 8).filter { bytes[$0 / 8] >> ($0 % 8) & 1 != 0 })
        }
    }

    /// Opens all cores of the process to the calling thread, if it was pinned to some of them, as by the thread that made it.
    package static func freeThisThread() {
        let all = ofTheProcess()
        if ofThisThread() != all { all.keepThisThread() }
    }

    /// Has the calling thread run on these alone. Where the system refuses, as it does for none, it stays where it was.
    package func keepThisThread() {
        var set = cpu_set_t()
        withUnsafeMutableBytes(of: &set) { bytes in
            for number in numbers where number < bytes.count * 8 { bytes[number / 8] |= 1 << (number % 8) }
        }
        _ = pantler_set_affinity(&set)
    }
}
