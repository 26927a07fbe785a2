import PantlerModel
import Support
import Testing

@testable import PantlerDisk

/// What is committed now, and what stays behind: values that are being deflated, and more bytes than one commit may have.
@Suite("What of the queue is ready")
struct QueueReadinessTests: QueueSuite {
    private func keys(_ batch: Batch) -> [String] {
        batch.items.compactMap { item in
            if case .entry(let keyed) = item.change { String(decoding: keyed.address.key, as: UTF8.self) } else { nil }
        }
    }

    @Test("a change that is awaited is committed while values before it are being deflated")
    func overtaking() throws {
        var queue = queue()
        let answers = Answers()
        let (slow, deflation) = try slowPut("slow")
        let first = queue.add(slow, at: 0).ticket
        let second = queue.add(put("quick"), at: 0).ticket
        _ = queue.settle(second, .through, answers.completion(second))
        let (batch, sync) = try batch(&queue, at: 1)
        #expect(keys(batch) == ["quick"])
        #expect(sync)
        #expect(queue.change(of: address("slow")) != nil, "it is seen all the while")
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(second))
        #expect(answers.fault(second) == nil)
        #expect(!queue.isPast(first))
        #expect(!queue.isSettled(first, .through))
        #expect(isWaiting(&queue, at: 100_000, until: nil), "nothing is ready")
        deflation.finish(nil)
        let isTold = queue.noteReady()
        #expect(isTold, "the writer found nothing")
        let (rest, _) = try self.batch(&queue, at: 200_000)
        #expect(keys(rest) == ["slow"])
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(queue.isPast(second))
        #expect(queue.isSettled(first, .through))
    }

    @Test(
        "whoever waits for all, or for a value that is being deflated, is answered once it is committed, and not before"
    )
    func flush() throws {
        var queue = queue()
        let answers = Answers()
        let (slow, deflation) = try slowPut("slow")
        let first = queue.add(slow, at: 0).ticket
        _ = queue.settle(first, .through, answers.completion(first))
        _ = queue.add(put("quick"), at: 0)
        _ = queue.flush(answers.completion(99))
        _ = try batch(&queue, at: 1)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(!answers.isAnswered(first))
        #expect(!answers.isAnswered(99))
        #expect(isWaiting(&queue, at: 2, until: nil))
        deflation.finish([1, 2])
        let isTold = queue.noteReady()
        #expect(isTold)
        _ = try batch(&queue, at: 3)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(first))
        #expect(answers.isAnswered(99))
    }

    @Test("who comes to ask for a change that has overtaken others gets the next sync")
    func askingLate() throws {
        var queue = queue()
        let answers = Answers()
        _ = queue.add(try slowPut("slow").change, at: 0)
        let second = queue.add(put("quick"), at: 0).ticket
        _ = try batch(&queue, at: 5000)
        answers.deliver(queue.succeed(synced: false, rejected: [:]).answers)
        _ = queue.settle(second, .through, answers.completion(second))
        let (batch, sync) = try batch(&queue, at: 5001)
        #expect(batch.isEmpty)
        #expect(sync)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(second))
    }

    @Test("what is refused at the end is given up, and the end comes")
    func refusedAtTheEnd() throws {
        var queue = queue()
        let ticket = queue.add(put("a"), at: 0).ticket
        let control = queue.add(.control(.versionCeiling(7)), at: 0).ticket
        queue.close()
        var attempts = 0
        while case .commit(let batch, _) = queue.take(at: UInt64(attempts)) {
            attempts += 1
            try #require(attempts < 10)
            let fault = TierFault(.corrupt, "damaged")
            let refused = Dictionary(batch.items.map { ($0.ticket, fault) }) { first, _ in first }
            _ = queue.succeed(synced: true, rejected: refused)
        }
        #expect(attempts > 1)
        #expect(queue.isPast(ticket) && queue.isPast(control))
    }

    @Test("changes of one entry stay in their order")
    func order() throws {
        var queue = queue()
        let answers = Answers()
        let (slow, deflation) = try slowPut("a", 1)
        let first = queue.add(slow, at: 0).ticket
        _ = queue.settle(first, .through, answers.completion(first))
        let second = queue.add(delete("a", 2), at: 0).ticket
        _ = queue.settle(second, .through, answers.completion(second))
        _ = queue.add(put("b"), at: 0)
        #expect(keys(try batch(&queue, at: 1).batch) == ["b"])
        _ = queue.succeed(synced: true, rejected: [:])
        deflation.finish(nil)
        _ = queue.noteReady()
        #expect(keys(try batch(&queue, at: 2).batch) == ["a", "a"])
    }

    @Test("a commit has no more bytes than it may, what is awaited first, and at least one change")
    func limit() throws {
        var queue = queue(bytes: 1 << 30)
        for number in 0..<10 { _ = queue.add(put("k\(number)", size: 1000), at: 0) }
        let last = queue.add(put("awaited", size: 1000), at: 0).ticket
        let answers = Answers()
        _ = queue.settle(last, .through, answers.completion(last))
        func next(_ limit: Int64) throws -> [String] {
            guard case .commit(let batch, _) = queue.take(at: 1, limit: limit) else {
                throw Failure("nothing to commit")
            }
            answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
            return keys(batch)
        }
        #expect(try next(4000) == ["k0", "k1", "awaited"])
        #expect(answers.isAnswered(last))
        #expect(try next(1) == ["k2"])
        #expect(try next(4000) == ["k3", "k4", "k5"])
        #expect(try next(.max) == ["k6", "k7", "k8", "k9"])
        #expect(queue.isPast(last))
    }

    @Test(
        "many small changes are taken together where their bytes are not bound, since to choose among them takes long",
        arguments: [false, true]
    )
    func many(isBound: Bool) throws {
        var queue = queue(entries: 10_000, bytes: 1 << 30)
        for number in 0...queue.limits.ample { _ = queue.add(put("k\(number)", size: 1), at: 0) }
        guard case .commit(let batch, _) = queue.take(at: 1, limit: 4000, isBound: isBound) else {
            throw Failure("nothing to commit")
        }
        #expect((batch.count > queue.limits.ample) == !isBound)
        _ = queue.succeed(synced: true, rejected: [:])
    }

    @Test("a commit that fails tells nobody whose change was not in it")
    func failure() throws {
        var queue = queue()
        let answers = Answers()
        let (slow, deflation) = try slowPut("slow")
        let first = queue.add(slow, at: 0).ticket
        _ = queue.settle(first, .through, answers.completion(first))
        let second = queue.add(put("quick"), at: 0).ticket
        _ = queue.settle(second, .through, answers.completion(second))
        _ = try batch(&queue, at: 1)
        answers.deliver(queue.fail(full, at: 2).answers)
        #expect(answers.fault(second) != nil)
        #expect(!answers.isAnswered(first))
        deflation.finish(nil)
        _ = queue.noteReady()
        #expect(keys(try batch(&queue, at: 1_000_000).batch) == ["slow"])
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        #expect(answers.isAnswered(first))
        #expect(answers.fault(first) == nil)
    }

    @Test("at the end nothing is waited for")
    func closing() throws {
        var queue = queue()
        _ = queue.add(try slowPut("slow").change, at: 0)
        queue.close()
        #expect(keys(try batch(&queue, at: 1).batch) == ["slow"])
    }

    @Test("at the end, too, a commit has no more bytes than it may; after a failure what is left is tried as a whole")
    func closingInPieces() throws {
        var queue = queue(bytes: 1 << 30)
        for number in 0..<6 { _ = queue.add(put("k\(number)", size: 1000), at: 0) }
        queue.close()
        func next() throws -> [String] {
            guard case .commit(let batch, let sync) = queue.take(at: 1, limit: 3000) else {
                throw Failure("nothing to commit")
            }
            #expect(sync)
            return keys(batch)
        }
        #expect(try next() == ["k0", "k1"])
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(try next() == ["k2", "k3"])
        _ = queue.fail(full, at: 1)
        #expect(try next() == ["k2", "k3", "k4", "k5"])
    }
}
