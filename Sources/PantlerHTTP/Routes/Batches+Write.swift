internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore
internal import Synchronization

// Batches of sets and of deletes. Each of their entries is a write by itself.

extension Router {
    func setBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().wall
        let entries = try request.body.withBytes { body throws(Problem) in try BatchEntry.readAll(body, now: now) }
        let outcomes = Outcomes<Written>(entries.map { $0.put.failure })
        if outcomes.isComplete { return exchange.respond(Response(set: entries, outcomes)) }
        var refusals: [Problem?] = []
        let namespace: Namespace
        do throws(Problem) {
            namespace = try namespaceForWriting(call) { policy throws(Problem) in
                let found = entries.map { $0.refusal(under: policy) }
                // A namespace is made for the first entry that is not refused.
                guard let first = found.first ?? nil, found.allSatisfy({ $0 != nil }) else { return }
                refusals = found
                throw first
            }
        } catch {
            if refusals.isEmpty { throw error }
            return exchange.respond(Response(set: entries, Outcomes(refusals)))
        }
        for (index, entry) in entries.enumerated() {
            guard case .success(let put) = entry.put else { continue }
            store.put(namespace, store.address(namespace, entry.key), put) { result in
                if outcomes.report(result, at: index) {
                    exchange.respondFromAnywhere { Response(set: entries, outcomes) }
                }
            }
        }
    }

    func deleteBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch.read(body) }
        let outcomes = Outcomes<Version>(Array(repeating: nil, count: keys.count))
        guard let namespace = store.namespace(call.namespace), !keys.isEmpty else {
            return exchange.respond(Response(deleted: 0))
        }
        for (index, key) in keys.enumerated() {
            store.delete(namespace, store.address(namespace, key), .none) { result in
                if outcomes.report(result, at: index) { exchange.respondFromAnywhere { Response(deleted: outcomes) } }
            }
        }
    }
}

/// One entry of a batch of sets.
struct BatchEntry: Sendable {
    /// The key as it came, a JSON string. It is told of an entry that cannot be set.
    let literal: [UInt8]
    /// Empty where `put` is a failure.
    let key: [UInt8]
    let put: Result<Put, Problem>

    private enum Member: String, Sendable {
        case entries
    }

    /// Why the entry would not be set in a namespace of this policy; `nil` where it would.
    func refusal(under policy: Policy) -> Problem? {
        do throws(Problem) {
            try put.get().check(policy)
            return nil
        } catch {
            return error
        }
    }

    /// - Throws: what is wrong with the body, and with an entry that does not even tell its key.
    static func readAll(_ body: UnsafeRawBufferPointer, now: WallTime) throws(Problem) -> [BatchEntry] {
        // Two levels more than a value may have: the array, and the entry itself.
        let members = try Members<Member>(body, allowed: [.entries], depth: Limits.jsonDepth + 2)
        try members.checkUnknown()
        guard let element = members[.entries] else {
            throw Problem(.missingMember, "'entries' is needed: an array of entries.")
        }
        var entries: [BatchEntry] = []
        try KeyBatch.each(element, member: "entries") { element throws(Problem) in
            entries.append(try BatchEntry(element, now: now))
        }
        return entries
    }

    private init(_ element: JSONElement, now: WallTime) throws(Problem) {
        guard element.type == .object else { throw Problem(.memberInvalid, "'entries' takes an array of objects.") }
        let read: Result<Members<EnvelopeMember>, Problem>
        do throws(Problem) {
            read = .success(try Members(element.bytes, allowed: EnvelopeMember.ofBatch))
        } catch {
            read = .failure(error)
        }
        // An entry that names a member twice still tells its key.
        let key: JSONElement?
        switch read {
        case .success(let members): key = members[.key]
        case .failure: key = Self.key(element.bytes)
        }
        guard let key else { throw Problem(.missingMember, "Each entry of a batch needs its 'key'.") }
        guard key.type == .string else { throw Problem(.memberInvalid, "A 'key' is a string.") }
        literal = Array(key.bytes)
        do throws(Problem) {
            let (key, put) = try Self.put(key, read, now: now)
            (self.key, self.put) = (key, .success(put))
        } catch {
            (self.key, self.put) = ([], .failure(error))
        }
    }

    private static func put(
        _ key: JSONElement,
        _ read: Result<Members<EnvelopeMember>, Problem>,
        now: WallTime
    ) throws(Problem) -> ([UInt8], Put) {
        let key = try KeyForm.read(key.bytes)
        var put = try Put(try read.get(), now: now)
        put.wantsOutcome = false
        if let members = try? read.get(), let element = members[.lease], element.type != .null {
            put.lease = try lease(element)
        }
        return (key, put)
    }

    private static func lease(_ element: JSONElement) throws(Problem) -> LeaseToken {
        guard element.type == .string, let text = try? JSON.stringBytes(element.bytes) else {
            throw Problem(.memberInvalid, "'lease' takes the token of a lease, a string.")
        }
        guard let token = LeaseToken(text) else { throw .leaseLost }
        return token
    }

    /// The key of an object that is no envelope. That the object is JSON was found out with the whole body.
    private static func key(_ object: UnsafeRawBufferPointer) -> JSONElement? {
        try? Members<EnvelopeMember>(keepingDuplicates: object, allowed: [.key])[.key]
    }
}

/// The outcomes of writes that belong together, reported in any order, on any thread.
final class Outcomes<Success: Sendable>: Sendable {
    private struct State {
        var results: [Result<Success, Problem>?]
        var pending: Int
    }

    private let state: Mutex<State>

    /// - Parameter failed: for each write its problem where it was refused beforehand; `nil` = its outcome will be reported.
    init(_ failed: [Problem?]) {
        let results = failed.map { $0.map { Result<Success, Problem>.failure($0) } }
        state = Mutex(State(results: results, pending: results.count { $0 == nil }))
    }

    var isComplete: Bool { state.withLock { $0.pending == 0 } }

    /// Takes an outcome. Returns whether it was the last one.
    func report(_ result: Result<Success, Problem>, at index: Int) -> Bool {
        state.withLock { state in
            state.results[index] = result
            state.pending -= 1
            return state.pending == 0
        }
    }

    /// The outcomes, in the order of the writes.
    var results: [Result<Success, Problem>] { state.withLock { $0.results.compactMap { $0 } } }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}

extension Response {
    /// `{"entries":[…],"errors":[…]}`
    fileprivate init(set entries: [BatchEntry], _ outcomes: Outcomes<Written>) {
        let results = outcomes.results
        var body = JSONWriter(capacity: 64 + entries.count * 48)
        body.beginObject()
        body.member("entries")
        body.beginArray()
        for case (let entry, .success(let written)) in zip(entries, results) {
            body.beginObject()
            body.member("key")
            body.string(entry.key)
            body.member("version")
            body.integer(written.version)
            body.endObject()
        }
        body.endArray()
        body.member("errors")
        body.beginArray()
        for case (let entry, .failure(let problem)) in zip(entries, results) {
            body.beginObject()
            body.member("key")
            body.raw(entry.literal)
            body.member("code")
            body.string(problem.code.rawValue)
            body.member("detail")
            body.string(problem.detail)
            body.endObject()
        }
        body.endArray()
        body.endObject()
        self.init(200, body, operation: .batchSet)
    }

    /// The answer to a batch of deletes. A key without an entry is no failure. Where the disk does not take a delete, that problem is the
    /// answer.
    fileprivate init(deleted outcomes: Outcomes<Version>) {
        var count = 0
        for result in outcomes.results {
            switch result {
            case .success: count += 1
            case .failure(let problem) where problem.code == .entryNotFound: break
            case .failure(let problem):
                self.init(problem: problem, operation: .batchDelete)
                return
            }
        }
        self.init(deleted: count)
    }

    fileprivate init(deleted count: Int) {
        var body = JSONWriter(capacity: 32)
        body.beginObject()
        body.member("deleted")
        body.integer(count)
        body.endObject()
        self.init(200, body, operation: .batchDelete)
    }
}
