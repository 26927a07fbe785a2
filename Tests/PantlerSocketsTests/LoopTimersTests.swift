import NIOCore
import Support
import Testing

@testable import PantlerSockets

@Suite("The timers of a loop")
struct LoopTimersTests {
    private let fired = Shared<[Int]>([])

    private func moment(_ milliseconds: UInt64, nanoseconds: UInt64 = 0) -> NIODeadline {
        .uptimeNanoseconds(milliseconds * 1_000_000 + nanoseconds)
    }

    private func timer(_ number: Int, at milliseconds: UInt64) -> LoopTimer {
        LoopTimer(moment(milliseconds)) { [fired] in fired.update { $0.append(number) } }
    }

    private func fire(_ timers: inout LoopTimers, at milliseconds: UInt64) {
        for timer in timers.due(at: moment(milliseconds)) { timer.fire() }
    }

    @Test("fire in the order of their deadlines, and those of one deadline in the order in which they were set")
    func order() {
        var timers = LoopTimers()
        var generator = SeededGenerator()
        let deadlines = (0..<1000).map { _ in UInt64.random(in: 1...20, using: &generator) }
        for (number, deadline) in deadlines.enumerated() { timers.add(timer(number, at: deadline)) }
        fire(&timers, at: 20)
        let expected = deadlines.indices.sorted { (deadlines[$0], $0) < (deadlines[$1], $1) }
        #expect(fired.value == expected, "\(generator)")
        #expect(timers.count == 0)
    }

    @Test("of many that are due some are taken at a time, and the others stay due")
    func atMost() {
        var timers = LoopTimers()
        for number in 0..<10 { timers.add(timer(number, at: 5)) }
        var taken: [Int] = []
        while timers.count > 0 {
            let due = timers.due(at: moment(5), atMost: 4)
            taken.append(due.count)
            #expect(timers.count == 0 || timers.milliseconds(from: moment(5)) == 0)
            for timer in due { timer.fire() }
        }
        #expect(taken == [4, 4, 2])
        #expect(fired.value == Array(0..<10))
    }

    @Test("none fires before its time, and each fires once")
    func time() {
        var timers = LoopTimers()
        timers.add(timer(1, at: 10))
        timers.add(timer(2, at: 20))
        #expect(timers.due(at: moment(9, nanoseconds: 999_999)).isEmpty)
        fire(&timers, at: 10)
        #expect(fired.value == [1])
        fire(&timers, at: 19)
        #expect(fired.value == [1])
        fire(&timers, at: 1000)
        #expect(fired.value == [1, 2])
        fire(&timers, at: 1000)
        #expect(fired.value == [1, 2])
    }

    @Test("what is cancelled does not fire, also when it is taken already")
    func cancelled() {
        var timers = LoopTimers()
        let all = (0..<6).map { timer($0, at: 10) }
        for timer in all { timers.add(timer) }
        #expect(all[1].cancel())
        timers.noteCancelled()
        let due = timers.due(at: moment(10))
        #expect(due.count == 5)
        #expect(all[4].cancel())
        for timer in due { timer.fire() }
        #expect(fired.value == [0, 2, 3, 5])
    }

    @Test("cancelling says whether it came in time")
    func late() {
        let first = timer(1, at: 10)
        #expect(first.cancel())
        #expect(!first.cancel())
        let second = timer(2, at: 10)
        second.fire()
        #expect(!second.cancel())
        second.fire()
        #expect(fired.value == [2])
    }

    @Test("the time until the next is in whole milliseconds, rounded up, and as many as the kernel takes")
    func milliseconds() {
        var timers = LoopTimers()
        #expect(timers.milliseconds(from: moment(5)) == -1)
        timers.add(LoopTimer(.distantFuture) {})
        #expect(timers.milliseconds(from: moment(5)) == .max)
        timers.add(timer(1, at: 10))
        #expect(timers.milliseconds(from: moment(5)) == 5)
        #expect(timers.milliseconds(from: moment(5, nanoseconds: 1)) == 5)
        #expect(timers.milliseconds(from: moment(4, nanoseconds: 999_999)) == 6)
        #expect(timers.milliseconds(from: moment(9, nanoseconds: 999_999)) == 1)
        #expect(timers.milliseconds(from: moment(10)) == 0)
        #expect(timers.milliseconds(from: moment(500)) == 0)
    }

    @Test("setting and cancelling again and again keeps little")
    func churn() {
        var timers = LoopTimers()
        for number in 0..<100 { timers.add(timer(number, at: 50)) }
        var most = 0
        for number in 0..<100_000 {
            let timer = timer(number, at: 1_000_000)
            timers.add(timer)
            #expect(timer.cancel())
            timers.noteCancelled()
            most = max(most, timers.count)
        }
        #expect(most <= 200)
        fire(&timers, at: 50)
        #expect(fired.value == Array(0..<100))
    }

    @Test("what was cancelled and has been passed over is not counted again")
    func passedOver() {
        var timers = LoopTimers()
        for number in 0..<1000 {
            let timer = timer(number, at: 10)
            timers.add(timer)
            #expect(timer.cancel())
            timers.noteCancelled()
            #expect(timers.due(at: moment(10)).isEmpty)
        }
        #expect(timers.count == 0)
        #expect(timers.milliseconds(from: moment(10)) == -1)
    }
}
