import PantlerModel
import Support
import Testing

@testable import PantlerDisk

/// What completions said, by the ticket that they were given for.
final class Answers: Sendable {
    let given = Shared<[WriteTicket: TierFault?]>([:])

    func completion(_ ticket: WriteTicket) -> PendingWrites.Completion {
        { [given] fault in given.update { $0[ticket] = .some(fault) } }
    }

    func deliver(_ answers: [PendingWrites.Answer]) {
        for answer in answers { answer.completion(answer.fault) }
    }

    func isAnswered(_ ticket: WriteTicket) -> Bool { given.value[ticket] != nil }
    func fault(_ ticket: WriteTicket) -> TierFault? { given.value[ticket] ?? nil }
}

/// The queue by itself: no thread, no disk, and time by number.
protocol QueueSuite {}

extension QueueSuite {
    var full: TierFault { TierFault(.full, "full") }

    func queue(entries: Int = 100, bytes: Int64 = 1 << 20) -> PendingWrites {
        var limits = QueueLimits()
        limits.lingerMicroseconds = 1000
        limits.entries = entries
        limits.bytes = bytes
        return PendingWrites(limits: limits)
    }

    func address(_ key: String) -> EntryAddress {
        EntryAddress(namespace: 1, key: Array(key.utf8), hash: UInt64(truncatingIfNeeded: key.hashValue))
    }

    func put(_ key: String, _ version: Version = 1, size: Int = 1) -> Change {
        let entry = Entry(value: [UInt8](repeating: 0, count: size), kind: .json, version: version, expiresAt: .never)
        let options = PutOptions(compressionThreshold: 1, compressionLevel: 1)
        return .entry(KeyedChange(address(key), .put(entry, options)))
    }

    /// A put whose value is being deflated, until its `deflation` is told otherwise.
    func slowPut(_ key: String, _ version: Version = 1) throws -> (change: Change, deflation: Deflation) {
        let change = put(key, version, size: 4096)
        guard case .entry(let keyed) = change else { throw Failure("a put is a change of an entry") }
        let deflation = try #require(keyed.deflation)
        deflation.begin()
        return (change, deflation)
    }

    func delete(_ key: String, _ version: Version = 1) -> Change {
        .entry(KeyedChange(address(key), .delete(version: version)))
    }

    func batch(_ queue: inout PendingWrites, at now: UInt64) throws -> (batch: Batch, sync: Bool) {
        guard case .commit(let batch, let sync) = queue.take(at: now) else {
            throw Failure("nothing to commit at \(now)")
        }
        return (batch, sync)
    }

    func isWaiting(_ queue: inout PendingWrites, at now: UInt64, until: UInt64?) -> Bool {
        guard case .wait(until) = queue.take(at: now) else { return false }
        return true
    }

    /// What would be written next, in words.
    func written(_ queue: inout PendingWrites, at now: UInt64) throws -> [String] {
        try batch(&queue, at: now).batch.items.map(word)
    }

    func word(_ item: Batch.Item) -> String {
        switch item.change {
        case .entry(let keyed):
            let key = String(decoding: keyed.address.key, as: UTF8.self)
            return keyed.change.entry == nil ? "delete \(key) \(keyed.version)" : "put \(key)"
        case .control(.void(let namespace, let through)): return "void \(namespace) \(through)"
        case .control: return "control"
        }
    }
}
