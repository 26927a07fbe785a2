internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// PUT, PATCH and DELETE of an entry in its envelope.

extension Router {
    func putEntry(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().wall
        var put = try request.body.withBytes { body throws(Problem) in try Put(envelope: body, now: now) }
        put.condition = call.condition
        put.lease = call.lease
        try self.put(put, call, exchange)
    }

    /// Carries out a put, of which either view has read the body.
    func put(_ put: Put, _ call: Call, _ exchange: Exchange) throws(Problem) {
        let address: EntryAddress
        let namespace: Namespace
        if put.lease != nil {
            // A lease that is held has a namespace.
            guard let found = store.namespace(call.namespace) else { throw .leaseLost }
            namespace = found
        } else if call.condition.ifMatch != nil {
            // No write that is bound to fail makes a namespace.
            guard let found = store.namespace(call.namespace) else { throw .versionMismatch(found: nil) }
            namespace = found
        } else {
            namespace = try namespaceForWriting(call) { policy throws(Problem) in try put.check(policy) }
        }
        address = store.address(namespace, call.key)
        store.put(namespace, address, put) { result in
            exchange.onLoop { exchange.respond(result, address.key, .put) }
        }
    }

    func patchEntry(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().wall
        var patch = try request.body.withBytes { body throws(Problem) in try PatchEnvelope(body, now: now).patch }
        patch.condition = call.condition
        let namespace = try namespaceWithEntry(call)
        let address = store.address(namespace, call.key)
        store.patch(namespace, address, patch) { result in
            exchange.onLoop { exchange.respond(result, address.key, .patch) }
        }
    }

    func deleteEntry(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let namespace = try namespaceWithEntry(call)
        store.delete(namespace, store.address(namespace, call.key), call.condition) { result in
            exchange.respondFromAnywhere {
                switch result {
                case .success: Response(status: 204, operation: .delete)
                case .failure(let problem): Response(problem: problem, operation: .delete)
                }
            }
        }
    }

    /// - Parameter check: throws what a write into a namespace of this policy would be refused for. No namespace is made then.
    func namespaceForWriting(
        _ call: Call,
        check: (Policy) throws(Problem) -> Void
    ) throws(Problem) -> Namespace {
        try Array(call.namespace.utf8).withBytes { name throws(Problem) in
            try store.namespaceForWriting(name, check: check)
        }
    }

    /// The namespace of an entry that is to be changed; without one there is no such entry either.
    private func namespaceWithEntry(_ call: Call) throws(Problem) -> Namespace {
        if let namespace = store.namespace(call.namespace) { return namespace }
        throw call.condition.ifMatch == nil ? .notFound(.absent) : .versionMismatch(found: nil)
    }
}

extension JSONWriter {
    /// Writes a moment, or null for never.
    mutating func moment(_ moment: WallTime) {
        if moment == .never { null() } else { string(RFC3339.string(moment)) }
    }
}
