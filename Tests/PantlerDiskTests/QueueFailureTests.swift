import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The write queue, when writing fails")
struct QueueFailureTests: QueueSuite {
    @Test(
        "when a commit fails, who waited is told and its change taken back; the others are tried again, later ones on top"
    )
    func failure() throws {
        var queue = queue()
        let answers = Answers()
        let awaited = queue.add(put("a", 1), at: 0).ticket
        _ = queue.add(put("b", 2), at: 0)
        _ = queue.add(put("c", 3), at: 0)
        _ = queue.settle(awaited, .through, answers.completion(awaited))
        _ = try batch(&queue, at: 0)
        _ = queue.add(put("c", 4), at: 0)
        let (given, lost) = queue.fail(full, at: 1000)
        answers.deliver(given)
        #expect(answers.fault(awaited) == full)
        #expect(lost == 0)
        #expect(queue.fault == full)
        #expect(queue.change(of: address("a")) == nil)
        #expect(queue.change(of: address("b"))?.version == 2)
        #expect(queue.change(of: address("c"))?.version == 4)
        #expect(isWaiting(&queue, at: 2000, until: 26_000))
        #expect(try batch(&queue, at: 26_000).batch.count == 2)
        _ = queue.fail(full, at: 26_000)
        #expect(isWaiting(&queue, at: 26_001, until: 76_000))
        #expect(try batch(&queue, at: 76_000).batch.count == 2)
        _ = queue.succeed(synced: false, rejected: [:])
        #expect(queue.fault == nil)
        #expect(queue.count == 0)
    }

    @Test("while writing fails, the pause between attempts grows to a second, and is short for who waits")
    func pauses() throws {
        var queue = queue()
        let answers = Answers()
        _ = queue.add(put("a"), at: 0)
        var now: UInt64 = 1000
        for _ in 0..<10 {
            _ = try batch(&queue, at: now)
            _ = queue.fail(full, at: now)
            now += 1_000_000
        }
        #expect(isWaiting(&queue, at: now - 1, until: now))
        let ticket = queue.add(put("b"), at: now - 900_000).ticket
        _ = queue.settle(ticket, .through, answers.completion(ticket))
        #expect(isWaiting(&queue, at: now - 999_000, until: now - 975_000))
        #expect(try batch(&queue, at: now - 975_000).sync)
        answers.deliver(queue.fail(full, at: now).answers)
        #expect(answers.fault(ticket) == full)
    }

    @Test("a token whose maker was told of the failure is not written any more once it is removed")
    func tokens() throws {
        var queue = queue()
        let answers = Answers()
        let id = try #require(TokenID("abcdefgh"))
        let digest = try #require(TokenDigest([UInt8](repeating: 1, count: 32)))
        let record = TokenRecord(id: id, grant: Grant(role: .admin), createdAt: 1, digest: digest)
        let made = queue.add(.control(.token(record)), .through, at: 0).ticket
        _ = queue.settle(made, .through, answers.completion(made))
        _ = try batch(&queue, at: 0)
        answers.deliver(queue.fail(full, at: 1000).answers)
        #expect(answers.fault(made)?.outcome == .kept)
        _ = queue.add(.control(.removeToken(id)), at: 2000)
        let items = try batch(&queue, at: 50_000).batch.items
        #expect(items.count == 1)
        guard case .control(.removeToken(id))? = items.first?.change else {
            throw Failure("the token is still written")
        }
    }

    @Test("marks are kept although their waiter was told")
    func controls() throws {
        var queue = queue()
        let answers = Answers()
        let ticket = queue.add(.control(.tag(1, "t", Watermark())), at: 0).ticket
        _ = queue.settle(ticket, .through, answers.completion(ticket))
        _ = try batch(&queue, at: 0)
        answers.deliver(queue.fail(full, at: 0).answers)
        #expect(answers.fault(ticket) == full.with(.kept))
        #expect(queue.count == 1)
    }

    @Test("what was done of a failed batch is answered as done, and not tried again")
    func partly() throws {
        var queue = queue()
        let answers = Answers()
        let deleted = queue.add(delete("a"), at: 0).ticket
        let marked = queue.add(.control(.tag(1, "t", Watermark())), at: 0).ticket
        let refused = queue.add(put("b"), at: 0).ticket
        for ticket in [deleted, marked, refused] { _ = queue.settle(ticket, .through, answers.completion(ticket)) }
        _ = try batch(&queue, at: 0)
        answers.deliver(queue.fail(full, done: [deleted, marked], at: 0).answers)
        #expect(answers.isAnswered(deleted) && answers.fault(deleted) == nil)
        #expect(answers.isAnswered(marked) && answers.fault(marked) == nil)
        #expect(answers.fault(refused) == full)
        #expect(queue.count == 0)
    }

    @Test("what does not fit any more: the oldest puts become deletes, then the oldest changes go; all are counted")
    func overflow() throws {
        var queue = queue(entries: 8, bytes: 8 * put("a0", size: 1000).bytes)
        let answers = Answers()
        for number in 0..<8 { _ = queue.add(put("a\(number)", size: 1000), at: 0) }
        _ = try batch(&queue, at: 1000)
        let newest = queue.add(put("b", size: 1000), at: 1000).ticket
        _ = queue.settle(newest, .behind, answers.completion(newest))
        let (given, lost) = queue.fail(full, at: 1000)
        answers.deliver(given)
        #expect(answers.isAnswered(newest) && answers.fault(newest) == nil)
        #expect(lost == 3)
        #expect(queue.count == 7, "with what is void now")
        #expect(!queue.isOverBound)
        for number in 0..<3 { #expect(queue.change(of: address("a\(number)"))?.entry == nil) }
        for key in ["a3", "a7", "b"] { #expect(queue.change(of: address(key))?.entry != nil, "\(key)") }
        // By bytes alone: keys remain, as deletes.
        var roomy = self.queue(entries: 100, bytes: 2000)
        for number in 0..<3 { _ = roomy.add(put("a\(number)", size: 1000), at: 0) }
        _ = try batch(&roomy, at: 1000)
        #expect(roomy.fail(full, at: 1000).lost == 3)
        #expect(roomy.count == 3)
        for number in 0..<3 {
            guard case .delete(version: 1) = roomy.change(of: address("a\(number)")) else { throw Failure("\(number)") }
        }
    }

    @Test("who asks for a change that was given up or refused is told so, once")
    func givenUp() throws {
        var queue = queue()
        let answers = Answers()
        let first = queue.add(put("a"), at: 0).ticket
        let second = queue.add(put("b"), at: 0).ticket
        _ = queue.settle(second, .through, answers.completion(second))
        _ = try batch(&queue, at: 0)
        let corrupt = TierFault(.corrupt, "page")
        let (given, lost) = queue.succeed(synced: true, rejected: [first: corrupt, second: corrupt])
        answers.deliver(given)
        #expect(answers.fault(second) == corrupt)
        #expect(lost == 1)
        guard case .failed(corrupt) = queue.settle(first, .through, answers.completion(first)) else {
            throw Failure("not told")
        }
    }

    @Test(
        "those given up are the ones of the smallest versions, and what they leave on disk is void at once, and until it is gone"
    )
    func voids() throws {
        var queue = queue(entries: 8)
        for (place, version) in ([5, 1, 7, 3, 6, 2, 8, 4] as [Version]).enumerated() {
            _ = queue.add(put("k\(place)", version), at: 0)
        }
        #expect(try batch(&queue, at: 1000).batch.count == 8)
        _ = queue.add(put("new", 9), at: 1000)
        #expect(queue.voidThrough(1) == 0)
        #expect(queue.fail(full, at: 1000).lost == 3)
        #expect(queue.voidThrough(1) == 3)
        #expect(queue.voidThrough(2) == 0)
        for key in ["k1", "k3", "k5"] { #expect(queue.change(of: address(key)) == nil, "\(key)") }
        #expect(
            try written(&queue, at: 100_000)
                == ["put k0", "put k2", "put k4", "put k6", "put k7", "put new", "void 1 3"]
        )
        // More of the same: one mark, the larger.
        for number in 0..<3 { _ = queue.add(put("m\(number)", Version(10 + number)), at: 100_000) }
        #expect(queue.fail(full, at: 100_000).lost == 4)
        #expect(queue.voidThrough(1) == 7)
        #expect(try written(&queue, at: 300_000) == ["put k6", "put new", "void 1 7", "put m0", "put m1", "put m2"])
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(queue.voidThrough(1) == 7, "the rows are still there")
        queue.endVoid(1, through: 3)
        #expect(queue.voidThrough(1) == 7, "the end of an earlier sweep")
        queue.endVoid(1, through: 7)
        #expect(queue.voidThrough(1) == 0)
    }

    @Test("keys alone are too many bytes: deletes go too")
    func overflowOfKeys() throws {
        let key = String(repeating: "k", count: 500)
        var queue = queue(bytes: 4 * delete(key + "0").bytes)
        for number in 0..<6 { _ = queue.add(delete("\(key)\(number)", Version(number + 1)), at: 0) }
        _ = try batch(&queue, at: 1000)
        #expect(queue.fail(full, at: 1000).lost == 3)
        #expect(queue.voidThrough(1) == 3)
    }

    @Test("a change that someone waits for keeps its key's later ones: an earlier one must not stay alone")
    func overflowAwaited() throws {
        var queue = queue(entries: 4)
        let answers = Answers()
        _ = queue.add(.control(.versionCeiling(1)), at: 0)
        _ = try batch(&queue, at: 1000)
        let awaited = queue.add(put("a", 1), at: 1000).ticket
        _ = queue.settle(awaited, .through, answers.completion(awaited))
        for (key, version) in [("a", 2), ("b", 3), ("c", 4), ("d", 5)] as [(String, Version)] {
            _ = queue.add(put(key, version), at: 1000)
        }
        #expect(queue.fail(full, at: 1000).lost == 3)
        #expect(queue.voidThrough(1) == 5)
        #expect(try written(&queue, at: 100_000) == ["control", "put a", "put a", "void 1 5"])
    }

    @Test("a change that is taken back takes with it the one whose place it had, but not to what was before that")
    func takenBackOverAnswered() throws {
        for isRejected in [false, true] {
            var queue = queue()
            let answers = Answers()
            _ = queue.add(put("a", 1), at: 0)
            _ = queue.add(put("a", 2), at: 0)
            let awaited = queue.add(put("a", 3), at: 0).ticket
            _ = queue.settle(awaited, .through, answers.completion(awaited))
            _ = try batch(&queue, at: 0)
            let (given, lost) =
                isRejected ? queue.succeed(synced: true, rejected: [awaited: full]) : queue.fail(full, at: 0)
            answers.deliver(given)
            #expect(answers.fault(awaited) == full)
            #expect(lost == 1)
            #expect(try written(&queue, at: 100_000) == ["delete a 2"])
        }
    }

    @Test("a put that is refused alone becomes a delete, and a delete that is refused makes its namespace void")
    func rejected() throws {
        var queue = queue()
        let corrupt = TierFault(.corrupt, "page")
        let first = queue.add(put("a", 5), at: 0).ticket
        _ = queue.add(put("b", 6), at: 0)
        _ = try batch(&queue, at: 1000)
        #expect(queue.succeed(synced: true, rejected: [first: corrupt]).lost == 1)
        #expect(queue.voidThrough(1) == 0)
        #expect(!queue.isPast(queue.latestTicket))
        let second = try #require(try batch(&queue, at: 2000).batch.items.first)
        #expect(word(second) == "delete a 5")
        #expect(queue.succeed(synced: true, rejected: [second.ticket: corrupt]).lost == 0)
        #expect(queue.voidThrough(1) == 5)
        #expect(try written(&queue, at: 4000) == ["void 1 5"])
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(queue.isPast(queue.latestTicket))
    }

    @Test("what came last and was taken back holds up no flush")
    func flushAfterRefusal() throws {
        var queue = queue()
        let answers = Answers()
        _ = queue.add(put("a"), at: 0)
        let awaited = queue.add(put("b"), at: 0).ticket
        _ = queue.settle(awaited, .through, answers.completion(awaited))
        _ = try batch(&queue, at: 0)
        _ = queue.fail(full, at: 0)
        #expect(try written(&queue, at: 100_000) == ["put a"])
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(queue.isPast(awaited))
        guard case .settled = queue.flush(answers.completion(0)) else { throw Failure("waits") }
    }

    @Test("closing on a full disk tries three times, each with less: without values, then with what is void alone")
    func closingOnFullDisk() throws {
        var queue = queue()
        _ = queue.add(put("a", 1), at: 0)
        _ = queue.add(delete("b", 2), at: 0)
        _ = queue.add(.control(.tag(1, "t", Watermark())), at: 0)
        queue.close()
        #expect(try written(&queue, at: 0) == ["put a", "delete b 2", "control"])
        #expect(queue.fail(full, at: 0).lost == 1)
        #expect(try written(&queue, at: 0) == ["delete a 1", "delete b 2", "control"])
        #expect(queue.fail(full, at: 0).lost == 1)
        #expect(try written(&queue, at: 0) == ["control", "void 1 2"])
        #expect(queue.fail(full, at: 0).lost == 1)
        guard case .closed = queue.take(at: 0) else { throw Failure("not closed") }
    }

    @Test("a change that will be waited for is committed with a sync, although its writer has not come yet to say so")
    func awaitedEarly() throws {
        var queue = queue()
        let answers = Answers()
        let ticket = queue.add(put("a"), .through, at: 0).ticket
        #expect(try batch(&queue, at: 1000).sync)
        answers.deliver(queue.succeed(synced: true, rejected: [:]).answers)
        guard case .settled = queue.settle(ticket, .through, answers.completion(ticket)) else {
            throw Failure("not settled")
        }
    }

    @Test(
        "a change that failed before its writer came to wait is taken back, and the writer told",
        arguments: [true, false]
    )
    func failedEarly(isUndone: Bool) throws {
        var queue = queue()
        let answers = Answers()
        let put = queue.add(put("a"), .through, at: 0).ticket
        let control = queue.add(.control(.tag(1, "t", Watermark())), .through, at: 0).ticket
        _ = try batch(&queue, at: 1000)
        answers.deliver(queue.fail(full, isUndone: isUndone, at: 1000).answers)
        #expect(queue.change(of: address("a")) == nil)
        #expect(!queue.isSettled(put, .through))
        guard case .failed(full.with(isUndone ? .takenBack : .uncertain)) = queue.settle(put, .through, { _ in }) else {
            throw Failure("the put was not told")
        }
        guard case .failed(full.with(.kept)) = queue.settle(control, .through, { _ in }) else {
            throw Failure("the mark was not told")
        }
        let (batch, sync) = try batch(&queue, at: 100_000)
        #expect(batch.items.map(word) == ["control"])
        #expect(!sync, "nobody waits any more")
    }

    @Test("who waits for a change that was committed without a sync is not told that it was taken back")
    func committedUnsynced() throws {
        var queue = queue()
        let answers = Answers()
        let ticket = queue.add(put("a"), at: 0).ticket
        #expect(try !batch(&queue, at: 1000).sync)
        _ = queue.succeed(synced: false, rejected: [:])
        _ = queue.settle(ticket, .through, answers.completion(ticket))
        #expect(try batch(&queue, at: 1000).batch.isEmpty)
        answers.deliver(queue.fail(full, at: 1000).answers)
        #expect(answers.fault(ticket) == full.with(.kept))
    }

    @Test("the part of a batch that was committed before the rest failed is answered as done")
    func halfDone() throws {
        var queue = queue()
        let answers = Answers()
        let tickets = ["a", "b"].map { queue.add(put($0), .through, at: 0).ticket }
        for ticket in tickets { _ = queue.settle(ticket, .through, answers.completion(ticket)) }
        _ = try batch(&queue, at: 0)
        answers.deliver(queue.fail(full, done: [tickets[0]], at: 0).answers)
        #expect(answers.isAnswered(tickets[0]) && answers.fault(tickets[0]) == nil)
        #expect(answers.fault(tickets[1]) == full)
    }

    @Test("a mark that is refused alone is tried again, less and less often, and its waiter told so")
    func refusedControl() throws {
        var queue = queue()
        let answers = Answers()
        let corrupt = TierFault(.corrupt, "page")
        let first = queue.add(.control(.tag(1, "t", Watermark())), .through, at: 0).ticket
        _ = queue.settle(first, .through, answers.completion(first))
        var now: UInt64 = 0
        for pause in [25_000, 50_000, 100_000] as [UInt64] {
            let item = try #require(try batch(&queue, at: now).batch.items.first)
            answers.deliver(queue.succeed(synced: true, rejected: [item.ticket: corrupt], at: now).answers)
            #expect(queue.fault == corrupt)
            #expect(isWaiting(&queue, at: now, until: now + pause))
            now += pause
        }
        #expect(answers.fault(first) == corrupt.with(.kept))
        _ = try batch(&queue, at: now)
        _ = queue.succeed(synced: true, rejected: [:], at: now)
        #expect(queue.fault == nil && queue.count == 0)
    }

    @Test("who comes to wait while the writer sleeps after a failure wakes it, if it sleeps for longer than that")
    func hurryWakes() throws {
        var queue = queue()
        _ = queue.add(put("a"), at: 0)
        // The pause has grown, and somebody hurried before.
        for now in [1000, 1_000_000, 2_000_000] as [UInt64] {
            _ = try batch(&queue, at: now)
            _ = queue.fail(full, at: now)
        }
        let (first, second) = (queue.add(put("b"), at: 2_000_000).ticket, queue.add(put("c"), at: 2_000_000).ticket)
        guard case .waiting(wake: true) = queue.settle(first, .through, { _ in }) else { throw Failure("asleep") }
        #expect(isWaiting(&queue, at: 2_000_001, until: 2_025_000))
        guard case .waiting(wake: false) = queue.settle(second, .through, { _ in }) else {
            throw Failure("awake twice")
        }
        _ = try batch(&queue, at: 2_025_000)
        _ = queue.fail(full, at: 2_025_000)
        // Nobody waits now, and the pause is long again; but the hurry of before was never used up.
        #expect(isWaiting(&queue, at: 2_025_001, until: 2_225_000))
        let third = queue.add(put("d"), at: 2_026_000).ticket
        guard case .waiting(wake: true) = queue.settle(third, .through, { _ in }) else { throw Failure("asleep") }
    }

    @Test("a flush is told of a failure although what came last was taken back, and others are tried again")
    func flushWhileFailing() throws {
        var queue = queue()
        let answers = Answers()
        _ = queue.add(put("a"), at: 0)
        let last = queue.add(put("b"), .through, at: 0).ticket
        _ = queue.settle(last, .through, answers.completion(last))
        _ = try batch(&queue, at: 0)
        answers.deliver(queue.fail(full, at: 0).answers)
        guard case .waiting = queue.flush(answers.completion(1000)) else { throw Failure("nothing to wait for") }
        #expect(try written(&queue, at: 25_000) == ["put a"])
        answers.deliver(queue.fail(full, at: 25_000).answers)
        #expect(answers.fault(1000) == full)
    }

    @Test("a change that is taken back leaves what was answered before it")
    func takenBackAlone() throws {
        var queue = queue()
        _ = queue.add(put("a", 1), at: 0)
        let awaited = queue.add(put("a", 2), .through, at: 0).ticket
        #expect(try written(&queue, at: 1000) == ["put a", "put a"])
        let (_, lost) = queue.fail(full, at: 1000)
        #expect(lost == 0)
        #expect(queue.change(of: address("a"))?.version == 1)
        guard case .failed = queue.settle(awaited, .through, { _ in }) else { throw Failure("not told") }
    }

    @Test("a fault ends by itself although nothing is left to write")
    func faultEnds() throws {
        var queue = queue()
        _ = queue.add(put("a"), .through, at: 0)
        _ = try batch(&queue, at: 1000)
        _ = queue.fail(full, at: 1000)
        #expect(queue.count == 0 && queue.fault == full)
        #expect(isWaiting(&queue, at: 1001, until: 26_000))
        var (empty, sync) = try batch(&queue, at: 26_000)
        #expect(empty.isEmpty && sync)
        _ = queue.fail(full, at: 26_000)
        #expect(isWaiting(&queue, at: 26_001, until: 76_000))
        (empty, sync) = try batch(&queue, at: 76_000)
        _ = queue.succeed(synced: true, rejected: [:])
        #expect(queue.fault == nil)
        #expect(isWaiting(&queue, at: 76_001, until: nil))
    }
}
