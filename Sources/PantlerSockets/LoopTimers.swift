internal import HeapModule
internal import NIOCore
import Synchronization

/// Something to be done at a time, once, unless it is cancelled before.
final class LoopTimer: Sendable {
    let deadline: NIODeadline
    private let body: @Sendable () -> Void
    private let dropped: @Sendable () -> Void
    private let isOver = Atomic(false)

    /// - Parameter dropped: called in the place of `body` where the loop ends before the deadline.
    init(_ deadline: NIODeadline, dropped: @escaping @Sendable () -> Void = {}, _ body: @escaping @Sendable () -> Void)
    {
        self.deadline = deadline
        self.dropped = dropped
        self.body = body
    }

    var isCancelled: Bool { isOver.load(ordering: .relaxed) }

    func fire() {
        if !isOver.exchange(true, ordering: .relaxed) { body() }
    }

    func drop() {
        if !isOver.exchange(true, ordering: .relaxed) { dropped() }
    }

    /// Returns whether it had neither been fired nor cancelled before.
    func cancel() -> Bool { !isOver.exchange(true, ordering: .relaxed) }
}

/// The timers of a loop: a heap by their deadlines. A cancelled timer stays in it until its deadline, or until half of all are cancelled.
struct LoopTimers {
    private struct Entry: Comparable {
        let timer: LoopTimer
        /// Numbers timers in the order in which they were set, in which those of one deadline are fired.
        let number: UInt64

        static func == (left: Self, right: Self) -> Bool { left.number == right.number }

        static func < (left: Self, right: Self) -> Bool {
            (left.timer.deadline, left.number) < (right.timer.deadline, right.number)
        }
    }

    private var heap = Heap<Entry>()
    private var latest: UInt64 = 0
    private var cancelled = 0

    private static let cancelledAtLeast = 64

    var count: Int { heap.count }

    /// Complexity: O(log n).
    mutating func add(_ timer: LoopTimer) {
        latest += 1
        heap.insert(Entry(timer: timer, number: latest))
    }

    /// Notes that a timer was cancelled, and throws cancelled ones out once they are half of all. Complexity: O(1) on average.
    mutating func noteCancelled() {
        cancelled += 1
        guard cancelled >= Self.cancelledAtLeast, cancelled * 2 >= heap.count else { return }
        heap = Heap(heap.unordered.filter { !$0.timer.isCancelled })
        cancelled = 0
    }

    /// Takes all timers out, whenever they are due.
    mutating func takeAll() -> [LoopTimer] {
        defer { self = LoopTimers() }
        return heap.unordered.map(\.timer)
    }

    /// Takes timers out that are due, the earliest first, up to a number of them: the others stay due.
    mutating func due(at now: NIODeadline, atMost limit: Int = .max) -> [LoopTimer] {
        var due: [LoopTimer] = []
        while due.count < limit, let first = heap.min, first.timer.deadline <= now || first.timer.isCancelled {
            heap.removeMin()
            if first.timer.isCancelled { cancelled = max(0, cancelled - 1) } else { due.append(first.timer) }
        }
        return due
    }

    /// The milliseconds until the next timer is due, rounded up, as epoll_wait(2) takes them; -1 = there is none.
    func milliseconds(from now: NIODeadline) -> CInt {
        guard let next = heap.min?.timer.deadline else { return -1 }
        return CInt(clamping: max(0, ((next - now).nanoseconds + 999_999) / 1_000_000))
    }
}
