import Foundation
import PantlerModel
import Support
import Synchronization

/// A lower tier out of a dictionary, that can be told to answer late, or with a fault.
final class FakeTier: LowerTier {
    private struct State {
        var rows: [EntryAddress: Entry] = [:]
        var persisted = PersistedState()
        var delegate: (any LowerTierDelegate)?
        var clock: (any Clock)?
        var ticket: WriteTicket = 0
        var fault: TierFault?
        var holdsReads = false
        var held: [@Sendable () -> Void] = []
        var reads = 0
        var heads = 0
        var hot: [UInt64] = []
        /// What it was told of entries that left memory.
        var lastUses: [UInt64: UInt64] = [:]
        var mutations: [Mutation] = []
        var mayBringBack = false
        var holdsSettling = false
        var settling: [@Sendable (TierFault?) -> Void] = []
    }

    private let state = Mutex(State())
    let tier = Tier.disk

    init(rows: [EntryAddress: Entry] = [:]) {
        state.withLock {
            $0.rows = rows
            $0.persisted.hashSeed = 7
        }
    }

    // MARK: What a test tells it and asks of it

    /// From now on every call fails with this; `nil` ends that.
    func fail(with fault: TierFault?) { state.withLock { $0.fault = fault } }

    /// From now on a crash would bring back what was answered as failed.
    func leaveWhatFailed() { state.withLock { $0.mayBringBack = true } }

    /// Reads, listings and the hot set are read when they are asked for, but answered only after `releaseReads`.
    func holdReads() { state.withLock { $0.holdsReads = true } }

    func releaseReads() {
        let held = state.withLock { state in
            defer { state.held = [] }
            state.holdsReads = false
            return state.held
        }
        for answer in held { answer() }
    }

    /// From now on nothing is durable before `settleHeld`.
    func holdSettling() { state.withLock { $0.holdsSettling = true } }

    /// Answers those who wait for what they have written, in their order or the other way round.
    func settleHeld(with fault: TierFault? = nil, lastFirst: Bool = false) {
        let held = state.withLock { state in
            defer { state.settling = [] }
            return state.settling
        }
        for answer in lastFirst ? held.reversed() : held { answer(fault) }
    }

    var heldReads: Int { state.withLock { $0.held.count } }
    var reads: Int { state.withLock { $0.reads } }
    /// Reads of heads alone.
    var heads: Int { state.withLock { $0.heads } }
    var mutations: [Mutation] { state.withLock { $0.mutations } }
    var rows: [EntryAddress: Entry] { state.withLock { $0.rows } }
    var hot: [UInt64] { state.withLock { $0.hot } }
    var persisted: PersistedState { state.withLock { $0.persisted } }

    /// Puts an entry straight into the tier, as if a previous run had.
    func plant(_ address: EntryAddress, _ entry: Entry) { state.withLock { $0.rows[address] = entry } }

    /// Lets an entry leave, as if it had to make room.
    func evict(_ address: EntryAddress) {
        let delegate = state.withLock { state in
            state.rows[address] = nil
            return state.delegate
        }
        delegate?.departed(address, cause: .evicted)
    }

    /// The same rows and the same memory of namespaces and versions, for the next run.
    func reopened() -> FakeTier {
        let next = FakeTier()
        let (rows, persisted, hot) = state.withLock { ($0.rows, $0.persisted, $0.hot) }
        next.state.withLock {
            $0.rows = rows
            $0.persisted = persisted
            $0.hot = hot
        }
        return next
    }

    // MARK: LowerTier

    func start(delegate: any LowerTierDelegate, clock: any Clock) {
        state.withLock { ($0.delegate, $0.clock) = (delegate, clock) }
    }

    var mayBringBack: Bool { state.withLock { $0.mayBringBack } }

    func persistedState() -> PersistedState { persisted }

    func read(_ address: EntryAddress, completion: @escaping @Sendable (Result<Entry?, TierFault>) -> Void) {
        let isHeld = state.withLock { state in
            state.reads += 1
            let answer: Result<Entry?, TierFault> = state.fault.map { .failure($0) } ?? .success(state.rows[address])
            guard state.holdsReads else { return Optional(answer) }
            state.held.append { completion(answer) }
            return nil
        }
        if let isHeld { completion(isHeld) }
    }

    func readHead(
        _ address: EntryAddress,
        completion: @escaping @Sendable (Result<EntryHead?, TierFault>) -> Void
    ) {
        let isHeld = state.withLock { state in
            state.heads += 1
            let head = state.rows[address].map { EntryHead($0) }
            let answer: Result<EntryHead?, TierFault> = state.fault.map { .failure($0) } ?? .success(head)
            guard state.holdsReads else { return Optional(answer) }
            state.held.append { completion(answer) }
            return nil
        }
        if let isHeld { completion(isHeld) }
    }

    func enqueue(_ mutation: Mutation, _ durability: Durability) -> WriteTicket {
        let (ticket, missed) = take(mutation)
        if let (delegate, address, version) = missed {
            // The delegate takes its shard's lock, which whoever enqueues may have.
            Thread.detachNewThread { delegate.isMissing(address, touched: version) }
        }
        return ticket
    }

    private func take(
        _ mutation: Mutation
    ) -> (ticket: WriteTicket, missed: (any LowerTierDelegate, EntryAddress, Version)?) {
        state.withLock { state in
            state.ticket += 1
            state.mutations.append(mutation)
            if state.fault != nil { return (state.ticket, nil) }
            switch mutation {
            case .touch(let address, let touch):
                state.rows[address] = state.rows[address].flatMap { touch.applied(to: $0) }
                if state.rows[address] == nil, let delegate = state.delegate {
                    return (state.ticket, (delegate, address, touch.head.version))
                }
            case .put(let address, let entry, _): state.rows[address] = entry
            case .delete(let address, _): state.rows[address] = nil
            case .namespace(let record):
                state.persisted.namespaces.removeAll { $0.id == record.id }
                state.persisted.namespaces.append(record)
                state.persisted.nextNamespaceID = max(state.persisted.nextNamespaceID, record.id + 1)
            case .tag(let id, let tag, let mark):
                state.persisted.tags.removeAll { $0.namespace == id && $0.tag == tag }
                state.persisted.tags.append((id, tag, mark))
            case .forgetTags(let id, let before, let kept):
                state.persisted.tags.removeAll {
                    $0.namespace == id && $0.watermark.newest < before && !kept.contains($0.tag)
                }
            case .dropNamespace(let id):
                state.persisted.namespaces.removeAll { $0.id == id }
                state.rows = state.rows.filter { $0.key.namespace != id }
            case .token(let record):
                state.persisted.tokens.removeAll { $0.id == record.id }
                state.persisted.tokens.append(record)
            case .removeToken(let id): state.persisted.tokens.removeAll { $0.id == id }
            }
            return (state.ticket, nil)
        }
    }

    func settle(
        _ ticket: WriteTicket,
        _ durability: Durability,
        completion: @escaping @Sendable (TierFault?) -> Void
    ) -> Bool {
        guard durability == .through else { return true }
        let fault: TierFault?? = state.withLock { state in
            if state.holdsSettling { state.settling.append(completion) }
            return state.holdsSettling ? nil : .some(state.fault)
        }
        guard let fault else { return false }
        guard let fault else { return true }
        completion(fault)
        return false
    }

    func settleAll(completion: @escaping @Sendable (TierFault?) -> Void) -> Bool {
        settle(0, .through, completion: completion)
    }

    func isSettled(_ ticket: WriteTicket, _ durability: Durability) -> Bool {
        durability != .through || state.withLock { $0.fault } == nil
    }

    func list(
        namespace: NamespaceID,
        prefix: [UInt8],
        after: [UInt8]?,
        limit: Int,
        completion: @escaping @Sendable (Result<[ListedEntry], TierFault>) -> Void
    ) {
        let (rows, fault, isHeld) = state.withLock { ($0.rows, $0.fault, $0.holdsReads) }
        if let fault { return completion(.failure(fault)) }
        let listed = rows.filter { address, _ in
            address.namespace == namespace && address.key.starts(with: prefix)
                && (after.map { $0.lexicographicallyPrecedes(address.key) } ?? true)
        }
        .sorted { $0.key.key.lexicographicallyPrecedes($1.key.key) }
        .prefix(limit)
        .map { address, entry in
            ListedEntry(
                key: address.key,
                version: entry.version,
                expiresAt: entry.expiresAt,
                staleTTL: entry.staleTTL,
                tags: entry.tags,
                size: Int64(entry.value.count),
                isAbsent: entry.isAbsent
            )
        }
        let page = Array(listed)
        if isHeld {
            state.withLock { $0.held.append { completion(.success(page)) } }
        } else {
            completion(.success(page))
        }
    }

    func removePrefix(
        namespace: NamespaceID,
        prefix: [UInt8],
        before: Version,
        durability: Durability,
        completion: @escaping @Sendable (Result<Int, TierFault>) -> Void
    ) {
        if let fault = state.withLock({ $0.fault }) { return completion(.failure(fault)) }
        // What could be seen is not told apart here.
        let (gone, delegate) = state.withLock { state in
            let gone = state.rows.filter { address, entry in
                address.namespace == namespace && address.key.starts(with: prefix) && entry.version < before
            }
            for address in gone.keys { state.rows[address] = nil }
            return (gone, state.delegate)
        }
        for address in gone.keys { delegate?.departed(address, cause: .invalidated) }
        completion(.success(gone.count))
    }

    func sweepInvalidated(completion: @escaping @Sendable (TierFault?) -> Void) {
        let (rows, delegate, now) = state.withLock { ($0.rows, $0.delegate, $0.clock?.now()) }
        for (address, entry) in rows {
            let end = delegate?.invalidAt(
                namespace: address.namespace,
                version: entry.version,
                staleTTL: entry.staleTTL,
                tags: entry.tags
            )
            if let end, let now, end <= now { state.withLock { $0.rows[address] = nil } }
        }
        completion(nil)
    }

    func reserveVersions(below ceiling: Version, completion: @escaping @Sendable (TierFault?) -> Void) {
        let fault = state.withLock { state in
            if state.fault == nil { state.persisted.versionCeiling = max(state.persisted.versionCeiling, ceiling) }
            return state.fault
        }
        completion(fault)
    }

    func noteLastUse(_ hash: UInt64, at moment: UInt64) { state.withLock { $0.lastUses[hash] = moment } }

    func saveHotSet(_ hashes: [UInt64]) { state.withLock { $0.hot = hashes } }

    func loadHotSet(
        _ body: @escaping @Sendable ([(EntryAddress, Entry)]) -> Bool,
        completion: @escaping @Sendable () -> Void
    ) {
        let (rows, hot, isHeld) = state.withLock { ($0.rows, $0.hot, $0.holdsReads) }
        let handOver: @Sendable () -> Void = {
            for hash in hot {
                let batch = rows.filter { $0.key.hash == hash }.map { ($0.key, $0.value) }
                if !body(batch) { break }
            }
            completion()
        }
        if isHeld { state.withLock { $0.held.append(handOver) } } else { handOver() }
    }

    func usage(of namespace: NamespaceID) -> TierUsage {
        let rows = rows.filter { $0.key.namespace == namespace }
        return TierUsage(entries: Int64(rows.count), bytes: rows.reduce(0) { $0 + Int64($1.value.value.count) })
    }

    func health() -> TierHealth {
        var health = TierHealth()
        health.fault = state.withLock { $0.fault }
        return health
    }

    func flush() {}
    func close() {}
}
