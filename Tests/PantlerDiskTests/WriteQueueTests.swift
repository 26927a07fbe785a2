import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The write queue beside the journal's changes")
struct WriteQueueTests: QueueSuite {
    private func shared(entries: Int = 100) -> WriteQueue {
        WriteQueue(queue(entries: entries), counters: DiskCounters())
    }

    private func take(_ queue: WriteQueue) throws -> Batch {
        queue.close()
        guard case .commit(let batch, _) = queue.take() else { throw Failure("nothing to commit") }
        return batch
    }

    @Test("who writes `behind` is told without the lock that the queue is over its bound, and that it no longer is")
    func room() throws {
        let queue = shared(entries: 2)
        for key in ["a", "b"] { #expect(queue.isSettled(queue.add(put(key)), .behind)) }
        let ticket = queue.add(put("c"))
        #expect(!queue.isSettled(ticket, .behind) && !queue.isSettled(ticket, .through))
        #expect(queue.isSettled(ticket, .memory))
        _ = try take(queue)
        queue.succeed(synced: true, rejected: [:])
        #expect(queue.isSettled(ticket, .behind))
        #expect(queue.settle(ticket, .through) { _ in Issue.record("asked to wait for what is synced") })
    }

    @Test("a closed queue holds nobody")
    func closed() throws {
        let queue = shared(entries: 0)
        let ticket = queue.add(put("a"))
        #expect(!queue.isSettled(ticket, .behind))
        queue.end()
        #expect(queue.isSettled(ticket, .behind))
    }

    @Test("a change is found from the moment it comes until it is merged, but for those that were rejected")
    func passage() throws {
        let queue = shared()
        let ticket = queue.add(put("a", 1))
        let rejected = queue.add(put("b", 2))
        let batch = try take(queue)
        #expect(queue.change(of: address("a"))?.version == 1)
        let fault = TierFault(.corrupt, "page")
        queue.noteJournaled(batch.items.prefix(1))
        queue.succeed(synced: true, rejected: [rejected: fault])
        #expect(queue.change(of: address("a"))?.version == 1)
        #expect(queue.change(of: address("b"))?.entry == nil)
        #expect(queue.changes(in: 1, prefix: []).changes[Array("a".utf8)]?.version == 1)
        #expect(!queue.isMerged(ticket))
        #expect(queue.beginMerge().count == 1)
        #expect(queue.change(of: address("a"))?.version == 1)
        queue.endMerge()
        #expect(queue.change(of: address("a")) == nil)
    }

    @Test("what is in the journal is void as its row would be, and what waits is not")
    func void() throws {
        let pending = PendingWrites(limits: QueueLimits(), voids: [1: 5])
        let journaled = ["a": 5, "b": 6].map { KeyedChange(address($0.key), .delete(version: $0.value)) }
        let queue = WriteQueue(pending, journaled: JournaledChanges(journaled), counters: DiskCounters())
        _ = queue.add(put("c", 4))
        #expect(queue.change(of: address("a")) == nil)
        #expect(queue.change(of: address("b"))?.version == 6)
        #expect(queue.change(of: address("c"))?.version == 4)
        let (changes, void) = queue.changes(in: 1, prefix: [])
        #expect(changes.mapValues { $0.version } == [Array("b".utf8): 6, Array("c".utf8): 4])
        #expect(void == 5)
        #expect(queue.changes(in: 2, prefix: []).changes.isEmpty)
    }
}
