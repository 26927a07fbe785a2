import NIOCore
import Support
import Testing

@testable import PantlerSockets

@Suite("How long a loop is held")
struct LoopStaysTests {
    @Test("each event counts from the time that was read as it began, or as the one before ended")
    func stays() {
        var stay = LoopStay()
        #expect(stay.endEvent() == nil, "nothing was read")
        stay.note(100)
        #expect(stay.endEvent() == nil, "a beginning alone")
        stay.note(150)
        #expect(stay.endEvent() == 50)
        stay.note(155)
        stay.note(180)
        #expect(stay.endEvent() == 30, "what came between the two counts to the later one")
        stay.rest()
        #expect(stay.endEvent() == nil, "an event as which no time was read")
        stay.note(1000)
        stay.note(1001)
        #expect(stay.endEvent() == 1, "rest is no stay")
    }

    @Test("each stay is in the first bucket that takes it")
    func buckets() {
        let stays = LoopStays(bounds: [10, 20])
        for nanoseconds: UInt64 in [0, 10, 11, 20, 21, 1000] { stays.record(nanoseconds: nanoseconds) }
        #expect((0..<3).map { stays.count($0) } == [2, 2, 2])
        #expect(stays.sumNanoseconds == 1062)
    }

    @Test("a loop counts what it does for other threads, and its timers")
    func loop() throws {
        let stays = LoopStays(bounds: [])
        let loop = try SocketLoop(name: "stays", stays: stays)
        let done = Shared(0)
        loop.execute {
            _ = loop.now
            done.update { $0 += 1 }
        }
        try eventually("the piece is counted") { done.value == 1 && stays.count(0) >= 1 }
        let before = stays.count(0)
        _ = loop.scheduleTask(in: .milliseconds(1)) { done.update { $0 += 1 } }
        try eventually("the timer is counted") { done.value == 2 && stays.count(0) > before }
        let ended = Shared(false)
        loop.end { ended.value = true }
        try eventually("the loop ends") { ended.value }
    }
}
