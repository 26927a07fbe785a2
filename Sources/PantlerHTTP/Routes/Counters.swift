internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// What the body of a counter's POST may hold.
enum CounterMember: String, CaseIterable, Sendable {
    case by, initial, ttl
}

extension CounterAdd {
    /// - Parameter body: may be empty, which means `{}`.
    /// - Throws: what is wrong with the body.
    init(_ body: UnsafeRawBufferPointer) throws(Problem) {
        if JSON.trimmed(body).isEmpty {
            self.init()
            return
        }
        let members = try Members(body, allowed: CounterMember.allCases)
        try members.checkUnknown()
        self.init(
            by: try Self.integer(members, .by) ?? 1,
            initial: try Self.integer(members, .initial),
            lifetime: try members[.ttl].map { element throws(Problem) in try Seconds.lifetime(element) } ?? .byPolicy
        )
    }

    private static func integer(_ members: Members<CounterMember>, _ name: CounterMember) throws(Problem) -> Int64? {
        guard let element = members[name] else { return nil }
        guard let integer = element.safeInteger else {
            throw Problem(.memberInvalid, "'\(name.rawValue)' takes an integer from -(2^53 - 1) to 2^53 - 1.")
        }
        return integer
    }
}

extension Router {
    func count(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let counter = try request.body.withBytes { body throws(Problem) in try CounterAdd(body) }
        let namespace: Namespace
        if counter.initial == nil {
            guard let found = store.namespace(call.namespace) else { throw .notFound(.absent) }
            namespace = found
        } else {
            namespace = try namespaceForWriting(call) { policy throws(Problem) in try counter.check(policy) }
        }
        store.count(namespace, store.address(namespace, call.key), counter) { result in
            exchange.respondFromAnywhere { Response(counted: result) }
        }
    }
}

extension Response {
    fileprivate init(counted result: Result<Counted, Problem>) {
        switch result {
        case .failure(let problem): self.init(problem: problem, operation: .counter)
        case .success(let counted):
            var body = JSONWriter(capacity: 64)
            body.beginObject()
            body.member("value")
            body.integer(counted.value)
            body.member("version")
            body.integer(counted.version)
            body.endObject()
            self.init(counted.isNew ? 201 : 200, body, operation: .counter)
        }
    }
}
