import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The write queue")
struct QueueTests: QueueSuite {
    @Test("the first change wakes the writer, which then waits for more, but not for long")
    func linger() throws {
        var queue = queue()
        #expect(isWaiting(&queue, at: 0, until: nil))
        #expect(queue.add(put("a"), at: 100).wake)
        #expect(!queue.add(put("b"), at: 600).wake)
        #expect(isWaiting(&queue, at: 1099, until: 1100))
        let (batch, sync) = try batch(&queue, at: 1100)
        #expect(batch.count == 2)
        #expect(!sync)
        #expect(queue.oldestMicroseconds == 100)
        _ = queue.succeed(synced: false, rejected: [:])
        #expect(isWaiting(&queue, at: 1100, until: nil))
        #expect(queue.oldestMicroseconds == nil)
    }

    @Test("a through writer is not kept waiting, and is answered when it is synced")
    func through() throws {
        var queue = queue()
        let answers = Answers()
        let ticket = queue.add(put("a"), at: 0).ticket
        guard case .waiting(wake: true) = queue.settle(ticket, .through, answers.completion(ticket)) else {
            throw Failure("not waiting")
        }
        #expect(try batch(&queue, at: 1).sync)
        #expect(!queue.isSettled(ticket, .through) && queue.isSettled(ticket, .behind))
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(ticket) && answers.fault(ticket) == nil)
        #expect(queue.isSettled(ticket, .through))
        guard case .settled = queue.settle(ticket, .through, answers.completion(ticket)) else {
            throw Failure("waiting")
        }
    }

    @Test("who asks for a sync when the commit without one is under way or over gets another commit")
    func lateThrough() throws {
        var queue = queue()
        let answers = Answers()
        let first = queue.add(put("a"), at: 0).ticket
        #expect(try !batch(&queue, at: 1000).sync)
        _ = queue.settle(first, .through, answers.completion(first))
        answers.deliver(queue.succeed(synced: false, rejected: [:]).answers)
        #expect(!answers.isAnswered(first))
        let (empty, sync) = try batch(&queue, at: 1001)
        #expect(empty.isEmpty && sync)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(first))
    }

    @Test("several changes of a key are one, the last; unless someone waits for an earlier one")
    func coalescing() throws {
        var queue = queue()
        let answers = Answers()
        for version in 1...5 { _ = queue.add(put("a", Version(version), size: 100), at: 0) }
        _ = queue.add(put("b"), at: 0)
        #expect(queue.count == 2)
        #expect(queue.bytes == put("a", size: 100).bytes + put("b").bytes)
        #expect(queue.change(of: address("a"))?.version == 5)
        let awaited = queue.add(put("b", 2), at: 0).ticket
        _ = queue.settle(awaited, .through, answers.completion(awaited))
        _ = queue.add(delete("b", 3), at: 0)
        #expect(queue.count == 3)
        #expect(queue.change(of: address("b"))?.entry == nil)
        #expect(try batch(&queue, at: 0).batch.items.map { $0.ticket } == [5, 7, 8])
    }

    @Test("changes are seen until they are committed, the later before the earlier")
    func overlay() throws {
        var queue = queue()
        _ = queue.add(put("a", 1), at: 0)
        _ = try batch(&queue, at: 1000)
        #expect(queue.change(of: address("a"))?.version == 1)
        _ = queue.add(delete("a", 2), at: 1000)
        #expect(queue.change(of: address("a"))?.version == 2)
        #expect(queue.changes(in: 1, prefix: [])[Array("a".utf8)]?.version == 2)
        _ = queue.succeed(synced: false, rejected: [:])
        #expect(queue.change(of: address("a"))?.version == 2)
        _ = try batch(&queue, at: 5000)
        _ = queue.succeed(synced: false, rejected: [:])
        #expect(queue.change(of: address("a")) == nil)
    }

    @Test("above the bound writers wait until a commit has made room", arguments: [true, false])
    func backpressure(byBytes: Bool) throws {
        var queue = byBytes ? queue(bytes: 3 * put("a").bytes) : queue(entries: 3)
        let answers = Answers()
        for key in ["a", "b", "c"] {
            let ticket = queue.add(put(key), at: 0).ticket
            guard case .settled = queue.settle(ticket, .behind, answers.completion(ticket)) else {
                throw Failure("\(key) waits")
            }
        }
        let ticket = queue.add(put("d"), at: 0).ticket
        guard case .waiting(wake: true) = queue.settle(ticket, .behind, answers.completion(ticket)) else {
            throw Failure("d does not wait")
        }
        _ = try batch(&queue, at: 1)
        answers.deliver(queue.succeed(synced: false, rejected: [:]).answers)
        #expect(answers.isAnswered(ticket) && answers.fault(ticket) == nil)
    }

    @Test("a flush waits for all that came before it, and takes nothing back when it fails")
    func flush() throws {
        var queue = queue()
        let answers = Answers()
        guard case .settled = queue.flush(answers.completion(0)) else { throw Failure("there is nothing to flush") }
        let ticket = queue.add(put("a"), at: 0).ticket
        guard case .waiting(wake: true) = queue.flush(answers.completion(ticket)) else { throw Failure("not waiting") }
        #expect(try batch(&queue, at: 0).sync)
        answers.deliver(queue.fail(full, at: 0).answers)
        #expect(answers.fault(ticket) == full)
        #expect(queue.change(of: address("a")) != nil)
        _ = queue.flush(answers.completion(100))
        #expect(isWaiting(&queue, at: 24_999, until: 25_000))
        #expect(try batch(&queue, at: 25_000).sync)
        _ = queue.add(put("later"), at: 25_000)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(100) && answers.fault(100) == nil)
    }

    @Test("closing commits at once what is there, and refuses what comes later")
    func closing() throws {
        var queue = queue()
        let answers = Answers()
        _ = queue.add(put("a"), at: 0)
        queue.close()
        #expect(try batch(&queue, at: 0).sync)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        guard case .closed = queue.take(at: 0) else { throw Failure("not closed") }
        answers.deliver(queue.end())
        let (late, wake) = queue.add(put("b"), at: 0)
        #expect(!wake)
        guard case .failed(let fault) = queue.settle(late, .through, answers.completion(late)) else {
            throw Failure("not refused")
        }
        #expect(fault.cause == .closed)
        guard case .settled = queue.settle(late, .behind, answers.completion(late)) else { throw Failure("waits") }
    }
}
